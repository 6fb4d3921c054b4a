package relaytest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/postrider/postrider/internal/relaytest"
)

const letter = "From: Alice <alice@example.com>\r\nTo: bob@example.com\r\nBcc: secret@example.com\r\n" +
	"Subject: Hello\r\n\r\nOne line.\r\n.dot\r\n"

// mailServer is what the real servers have in common.
type mailServer interface {
	TLSConfig() *tls.Config
	Messages(mailbox string) [][]byte
	WaitMessages(ctx context.Context, mailbox string, n int) ([][]byte, error)
	Log() string
	Stop()
	Kill()
	Restart()
}

// server is a running server with its addresses.
type server struct {
	mailServer
	addr, tlsAddr, plainAddr string
}

// settings are the part of the two configurations that is the same.
type settings struct {
	users            map[string]string
	mechanisms       []string
	size             int64
	reject, deferred []string
	replies          map[string]string
	discard          []string
}

// onEach runs a test on a server of each kind.
func onEach(t *testing.T, s settings, test func(t *testing.T, srv server)) {
	t.Helper()
	t.Run("postfix", func(t *testing.T) {
		p := relaytest.StartPostfix(t, relaytest.PostfixConfig{
			Users: s.users, Mechanisms: s.mechanisms, MessageSizeLimit: s.size,
			RejectRecipients: s.reject, DeferRecipients: s.deferred, RecipientReplies: s.replies,
			DiscardEHLO: s.discard,
		})
		test(t, server{p, p.Addr, p.TLSAddr, p.PlainAddr})
	})
	t.Run("exim", func(t *testing.T) {
		e := relaytest.StartExim(t, relaytest.EximConfig{
			Users: s.users, Mechanisms: s.mechanisms, MessageSizeLimit: s.size,
			RejectRecipients: s.reject, DeferRecipients: s.deferred, RecipientReplies: s.replies,
			DiscardEHLO: s.discard,
		})
		test(t, server{e, e.Addr, e.TLSAddr, e.PlainAddr})
	})
}

func waitContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// one waits for the first message of a mailbox.
func (s server) one(t *testing.T, mailbox string) []byte {
	t.Helper()
	got, err := s.WaitMessages(waitContext(t), mailbox, 1)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.Log())
	}
	return got[0]
}

func (s server) plain(t *testing.T) *smtp.Client {
	t.Helper()
	c, err := smtp.Dial(s.plainAddr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (s server) startTLS(t *testing.T) *smtp.Client {
	t.Helper()
	c, err := smtp.DialStartTLS(s.addr, s.TLSConfig())
	if err != nil {
		t.Fatalf("%v\n%s", err, s.Log())
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// wantCode checks the reply code and enhanced code of an error.
func wantCode(t *testing.T, err error, code int, enhanced smtp.EnhancedCode) {
	t.Helper()
	reply, ok := errors.AsType[*smtp.SMTPError](err)
	if !ok || reply.Code != code || reply.EnhancedCode != enhanced {
		t.Errorf("got %v, want %d %v", err, code, enhanced)
	}
}

func TestSubmission(t *testing.T) {
	onEach(t, settings{users: map[string]string{"alice": " geheim: \"x\" "}}, func(t *testing.T, srv server) {
		c := srv.startTLS(t)
		if err := c.SendMail("alice@example.com", []string{"bob@example.com"}, strings.NewReader(letter)); err == nil {
			t.Error("mail without AUTH was taken")
		}
		if err := c.Reset(); err != nil {
			t.Fatal(err)
		}
		err := srv.startTLS(t).Auth(sasl.NewPlainClient("", "alice", "wrong"))
		if reply, ok := errors.AsType[*smtp.SMTPError](err); !ok || reply.Code != 535 {
			t.Errorf("wrong password: %v, want 535", err)
		}
		if err := c.Auth(sasl.NewPlainClient("", "alice", " geheim: \"x\" ")); err != nil {
			t.Fatalf("auth: %v\n%s", err, srv.Log())
		}
		for _, ext := range []string{"CHUNKING", "PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE"} {
			if ok, _ := c.Extension(ext); !ok {
				t.Errorf("%s is not announced", ext)
			}
		}
		if err := c.SendMail("alice@example.com", []string{"bob@example.com"}, strings.NewReader(letter)); err != nil {
			t.Fatal(err)
		}
		// What arrives is what was sent: no field added, changed or removed.
		if text := string(relaytest.WithoutTrace(srv.one(t, "Bob@Example.com"))); text != letter {
			t.Errorf("arrived %q, sent %q", text, letter)
		}
		if got := srv.Messages("nobody@example.com"); got != nil {
			t.Errorf("messages for an unused mailbox: %q", got)
		}
	})
}

func TestNoAuthBeforeTLS(t *testing.T) {
	onEach(t, settings{users: map[string]string{"alice": "geheim"}}, func(t *testing.T, srv server) {
		c, err := smtp.Dial(srv.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if ok, _ := c.Extension("AUTH"); ok {
			t.Error("AUTH is announced without TLS")
		}
		if ok, _ := c.Extension("STARTTLS"); !ok {
			t.Error("STARTTLS is not announced")
		}
		if ok, _ := srv.plain(t).Extension("STARTTLS"); ok {
			t.Error("STARTTLS is announced on the plain port")
		}
		if ok, _ := srv.plain(t).Extension("AUTH"); !ok {
			t.Error("AUTH is not announced on the plain port")
		}
	})
}

func TestImplicitTLS(t *testing.T) {
	onEach(t, settings{users: map[string]string{"alice": "geheim"}}, func(t *testing.T, srv server) {
		c, err := smtp.DialTLS(srv.tlsAddr, srv.TLSConfig())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Auth(sasl.NewLoginClient("alice", "geheim")); err != nil {
			t.Fatalf("auth: %v\n%s", err, srv.Log())
		}
		if err := c.SendMail("alice@example.com", []string{"bob@localhost"}, strings.NewReader(letter)); err != nil {
			t.Fatal(err)
		}
		srv.one(t, "bob@localhost")

		// The authority is its own: nobody else's roots vouch for it.
		if _, err := smtp.DialTLS(srv.tlsAddr, &tls.Config{ServerName: "localhost"}); err == nil {
			t.Error("the certificate is trusted by the system's roots")
		}
		byAddress := srv.TLSConfig()
		byAddress.ServerName = "127.0.0.1"
		other, err := smtp.DialTLS(srv.tlsAddr, byAddress)
		if err != nil {
			t.Fatalf("certificate for 127.0.0.1: %v", err)
		}
		other.Close()
	})
}

func TestRefusedRecipients(t *testing.T) {
	s := settings{
		reject:   []string{"No@example.com"},
		deferred: []string{"later@example.com"},
		replies:  map[string]string{"full@example.com": "452 4.2.2 Mailbox full", "gone@example.com": "551 5.1.6 Moved away"},
	}
	onEach(t, s, func(t *testing.T, srv server) {
		c := srv.plain(t)
		if err := c.Mail("alice@example.com", nil); err != nil {
			t.Fatal(err)
		}
		wantCode(t, c.Rcpt("no@example.com", nil), 550, smtp.EnhancedCode{5, 1, 1})
		wantCode(t, c.Rcpt("later@example.com", nil), 451, smtp.EnhancedCode{4, 7, 1})
		wantCode(t, c.Rcpt("full@example.com", nil), 452, smtp.EnhancedCode{4, 2, 2})
		wantCode(t, c.Rcpt("gone@example.com", nil), 551, smtp.EnhancedCode{5, 1, 6})
		for _, rcpt := range []string{"yes@example.com", "yes@elsewhere.test"} {
			if err := c.Rcpt(rcpt, nil); err != nil {
				t.Fatal(err)
			}
		}
		w, err := c.Data()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(letter)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		srv.one(t, "yes@example.com")
		srv.one(t, "yes@elsewhere.test")
		if got := srv.Messages("no@example.com"); got != nil {
			t.Errorf("a refused recipient got %q", got)
		}
	})
}

func TestMessageSizeLimit(t *testing.T) {
	onEach(t, settings{size: 50_000}, func(t *testing.T, srv server) {
		c := srv.plain(t)
		if size, ok := c.MaxMessageSize(); size != 50_000 || !ok {
			t.Errorf("announced size %d, %v", size, ok)
		}
		err := c.Mail("alice@example.com", &smtp.MailOptions{Size: 60_000})
		reply, ok := errors.AsType[*smtp.SMTPError](err)
		if !ok || reply.Code != 552 {
			t.Errorf("MAIL with SIZE=60000: %v, want 552", err)
		}
		big := letter + strings.Repeat("0123456789 0123456789\r\n", 3000)
		err = c.SendMail("alice@example.com", []string{"bob@example.com"}, strings.NewReader(big))
		if reply, ok := errors.AsType[*smtp.SMTPError](err); !ok || reply.Code != 552 {
			t.Errorf("DATA with %d octets: %v, want 552", len(big), err)
		}
	})
}

func TestDiscardEHLO(t *testing.T) {
	keywords := []string{"chunking", "pipelining", "8bitmime", "smtputf8", "dsn", "auth"}
	s := settings{users: map[string]string{"alice": "geheim"}, discard: append(keywords, "starttls")}
	onEach(t, s, func(t *testing.T, srv server) {
		c := srv.plain(t)
		submission, err := smtp.Dial(srv.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer submission.Close()
		for _, keyword := range keywords {
			if ok, _ := c.Extension(strings.ToUpper(keyword)); ok {
				t.Errorf("%s is announced", keyword)
			}
		}
		if ok, _ := submission.Extension("STARTTLS"); ok {
			t.Error("STARTTLS is announced")
		}
	})
}

func TestRestartKeepsMailAndPorts(t *testing.T) {
	onEach(t, settings{}, func(t *testing.T, srv server) {
		send := func() {
			t.Helper()
			c := srv.plain(t)
			if err := c.SendMail("", []string{"bob@example.com"}, strings.NewReader(letter)); err != nil {
				t.Fatal(err)
			}
		}
		send()
		// Taken mail survives a crash, delivered yet or not.
		srv.Kill()
		if c, err := net.Dial("tcp", srv.plainAddr); err == nil {
			c.Close()
			t.Error("a killed server takes connections")
		}
		srv.Restart()
		srv.one(t, "bob@example.com")
		srv.Stop()
		srv.Stop()
		srv.Restart()
		send()
		got, err := srv.WaitMessages(waitContext(t), "bob@example.com", 2)
		if err != nil || len(got) != 2 {
			t.Fatalf("%d messages, %v\n%s", len(got), err, srv.Log())
		}
	})
}

func TestWhatArrivesParses(t *testing.T) {
	data := bytes.Repeat([]byte{0, 0xff, '\r', '\n', '.', 7}, 50_000)
	encoded := base64.StdEncoding.EncodeToString(data)
	var body strings.Builder
	for len(encoded) > 76 {
		body.WriteString(encoded[:76] + "\r\n")
		encoded = encoded[76:]
	}
	body.WriteString(encoded)
	sent := crlf(
		"From: Jürgen <jürgen@bücher.example>",
		"To: zoë@bücher.example",
		"Subject: Grüße",
		"MIME-Version: 1.0",
		"Content-Type: multipart/mixed; boundary=b",
		"",
		"--b",
		"Content-Type: text/plain; charset=utf-8",
		"Content-Transfer-Encoding: 8bit",
		"",
		".Straße",
		"",
		"--b",
		"Content-Type: application/octet-stream",
		"Content-Disposition: attachment; filename=a.bin",
		"Content-Transfer-Encoding: base64",
		"",
		body.String(),
		"--b--",
	)
	onEach(t, settings{}, func(t *testing.T, srv server) {
		c := srv.plain(t)
		opts := &smtp.MailOptions{UTF8: true, Body: smtp.Body8BitMIME}
		if err := c.Mail("jürgen@bücher.example", opts); err != nil {
			t.Fatal(err)
		}
		if err := c.Rcpt("zoë@bücher.example", nil); err != nil {
			t.Fatal(err)
		}
		w, err := c.Data()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(sent); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		raw := srv.one(t, "zoë@bücher.example")
		if !bytes.Equal(relaytest.WithoutTrace(raw), sent) {
			t.Error("what arrived is not what was sent")
		}
		p := relaytest.ParseWithPython(t, raw)
		if len(p.Defects) != 0 {
			t.Errorf("defects: %q", p.Defects)
		}
		if p.Subject != "Grüße" || p.From[0].Name != "Jürgen" || p.From[0].Address != "jürgen@bücher.example" {
			t.Errorf("subject %q, from %v", p.Subject, p.From)
		}
		leaves := p.Leaves()
		sum := sha256.Sum256(data)
		if leaves[0].Text != ".Straße\n" || leaves[1].SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("text %q, sha256 %s", leaves[0].Text, leaves[1].SHA256)
		}
	})
}

func TestWaitMessagesEndsWithContext(t *testing.T) {
	onEach(t, settings{}, func(t *testing.T, srv server) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := srv.WaitMessages(ctx, "bob@example.com", 1); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}
