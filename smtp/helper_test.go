package smtp_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
)

const hello = "Subject: hello\r\n\r\nHello.\r\n.\r\n..dots\r\n"

// config is how to reach s without TLS.
func config(s *smtptest.Server) smtp.Config {
	return smtp.Config{Host: s.Host(), Port: s.Port(), TLSMode: smtp.TLSNone, LocalName: "client.example.com"}
}

// pipeConfig is how to reach s by net.Pipe.
func pipeConfig(s *smtptest.Server) smtp.Config {
	return smtp.Config{Host: "localhost", TLSMode: smtp.TLSNone, LocalName: "client.example.com", Dial: s.PipeDial}
}

// dial opens a session that is closed at the end of the test.
func dial(t testing.TB, cfg smtp.Config) *smtp.Conn {
	t.Helper()
	c, err := newDialer(t, cfg).Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func newDialer(t testing.TB, cfg smtp.Config) *smtp.Dialer {
	t.Helper()
	d, err := smtp.NewDialer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func envelope(rcpt ...string) *smtp.Envelope {
	e := &smtp.Envelope{MailFrom: "alice@example.com"}
	for _, r := range rcpt {
		e.RcptTo = append(e.RcptTo, smtp.Recipient{Address: r})
	}
	return e
}

func bob() *smtp.Envelope { return envelope("bob@example.com") }

func text(s string) smtp.Content { return smtp.Bytes([]byte(s)) }

// long is content of about size octets, with a dot before each line.
func long(size int) smtp.Content {
	return text("Subject: long\r\n\r\n" + strings.Repeat(".a line of content that is somewhat longer than nothing\r\n", size/56+1))
}

// mustSend sends what must not fail.
func mustSend(t testing.TB, c *smtp.Conn, env *smtp.Envelope, content smtp.Content) *smtp.Outcome {
	t.Helper()
	out, err := c.Send(context.Background(), env, content)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func asError(t testing.TB, err error) *smtp.Error {
	t.Helper()
	e, ok := errors.AsType[*smtp.Error](err)
	if !ok {
		t.Fatalf("%v (%T) is not an *smtp.Error", err, err)
	}
	return e
}

// closes fails the test unless c ends soon.
func closes(t testing.TB, c *smtp.Conn) {
	t.Helper()
	done := make(chan struct{})
	c.AfterClose(func() { close(done) })
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the connection stays open")
	}
	if !c.Closed() {
		t.Fatal("Closed is false after AfterClose")
	}
}

// rest lets time pass. It is for the bubbles of testing/synctest.
func rest(d time.Duration) { <-time.After(d) }

// class is that of an *smtp.Error, "" for no error.
func class(err error) smtp.Class {
	if e, ok := errors.AsType[*smtp.Error](err); ok {
		return e.Class
	}
	return ""
}
