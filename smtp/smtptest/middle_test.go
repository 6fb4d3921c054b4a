package smtptest_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/smtp/smtptest"
)

// TestReplyInTheMiddle answers before the content has arrived.
func TestReplyInTheMiddle(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	srv.On(smtptest.Rule{Command: smtptest.CommandContent, Times: 1, Action: smtptest.AtOctet(2, smtptest.Reply("552 5.3.4 enough"))})
	srv.On(smtptest.Rule{Command: "BDAT", Times: 1, Action: smtptest.AtOctet(2, smtptest.Reply("452 4.3.1 full"))})
	srv.On(smtptest.Rule{Command: "DATA", Nth: 2, Action: smtptest.AtOctet(2, smtptest.Delay(time.Nanosecond, smtptest.Action{}))})
	x := hello(t, srv)
	x.send(envelope + "DATA\r\n")
	x.expect("250", "250", "354")
	x.talk("hello", "552 5.3.4")
	x.send(".\r\n" + envelope + "BDAT 4\r\nabcdBDAT 2 LAST\r\nxyRSET\r\n")
	x.expect("250", "250", "452 4.3.1", "503", "250")
	x.send(envelope + "DATA\r\n")
	x.expect("250", "250", "354")
	x.talk("hello\r\n.", "250")
	got := srv.Attempts()
	if len(got) != 3 || got[0].Accepted || !got[0].Complete || got[0].Reply.Code != 552 || got[1].Accepted || !got[2].Accepted {
		t.Errorf("got %+v", got)
	}
}

// TestOnlyDelay has a delay with nothing behind it.
func TestOnlyDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewT(t, smtptest.Config{})
		srv.On(smtptest.Rule{Command: "NOOP", Action: smtptest.Delay(time.Minute, smtptest.Action{})})
		srv.On(smtptest.Rule{Command: "VRFY", Action: smtptest.ReplyInPieces(time.Minute, "2", "52", " x")})
		c, err := srv.PipeDial(t.Context(), "tcp", "localhost:465")
		if err != nil {
			t.Fatal(err)
		}
		x := wrap(t, tls.Client(c, srv.TLSClientConfig()))
		if err := c.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		x.expect("220")
		x.talk("NOOP", "250")
		x.talk("VRFY a", "252 x")
		if d := time.Since(began); d != 3*time.Minute {
			t.Errorf("took %v", d)
		}
	})
}

// TestFlightOverTLS counts one flight though its content takes many records.
func TestFlightOverTLS(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	x := hello(t, srv)
	x.startTLS(srv)
	x.talk("EHLO x", "250")
	content := strings.Repeat(strings.Repeat("x", 62)+"\r\n", 1024)
	x.send(envelope + "BDAT " + itoa(len(content)) + " LAST\r\n" + content)
	x.expect("250", "250", "250")
	if got := srv.Transactions()[0]; got.Flights != 1 || got.Text() != content || len(got.Lint) != 0 {
		t.Errorf("%d flights, %d octets, lint %v", got.Flights, got.Size, got.Lint)
	}
}

// TestAddresses gives what a program under test is configured with.
func TestAddresses(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{TLSAddr: "-"})
	if srv.Addr() != net.JoinHostPort(srv.Host(), itoa(srv.Port())) || srv.TLSAddr() != "" || srv.TLSPort() != 0 {
		t.Errorf("addresses %q %q %d, %q %d", srv.Addr(), srv.Host(), srv.Port(), srv.TLSAddr(), srv.TLSPort())
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(srv.CAPEM()) || !pool.Equal(srv.CA()) {
		t.Error("CAPEM and CA differ")
	}
	if _, err := smtptest.Start(smtptest.Config{Addr: srv.Addr()}); err == nil || !strings.Contains(err.Error(), "Config.Addr") {
		t.Errorf("an address in use: %v", err)
	}
}

// TestStats counts attempts that came to nothing.
func TestStats(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	x := hello(t, srv)
	x.send(envelope + "RSET\r\n")
	x.expect("250", "250", "250")
	x.send(envelope)
	x.expect("250", "250")
	if st := srv.Stats(); st.Open != 1 || st.Attempts != 1 || st.Accepted != 0 {
		t.Errorf("stats %+v", st)
	}
	_ = x.c.Close()
	got, err := srv.WaitAttempts(t.Context(), 2)
	if err != nil || got[1].Command != "" || got[1].Complete || len(got[1].RcptTo) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	session := srv.Sessions()[0]
	<-session.Done()
	if err := session.WaitIdle(t.Context()); err == nil {
		t.Error("a closed session is idle")
	}
	if name, extended := session.Hello(); name != "client.example" || !extended || session.RemoteAddr() == nil || session.Opened().IsZero() {
		t.Errorf("hello %q %v", name, extended)
	}
	if log := session.Dialogue(); !strings.Contains(log, "MAIL FROM:<a@example.com> → 250 2.1.0 sender ok") {
		t.Error(log)
	}
}

// TestLateConnection comes to a server that is closed.
func TestLateConnection(t *testing.T) {
	srv := smtptest.NewT(t, smtptest.Config{})
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	srv.ServeTLSConn(server)
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}
