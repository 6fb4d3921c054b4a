package smtp_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
)

// A transaction driven by hand, command by command.
func TestCommands(t *testing.T) {
	t.Parallel()
	for mode, without := range modes() {
		s := smtptest.StartT(t, smtptest.Config{Without: without, Rules: []smtptest.Rule{on("RCPT", "carol", smtptest.Reply("550 5.1.1 no such user"))}})
		c := dial(t, config(s))
		ctx := context.Background()
		for i := range 2 {
			if err := c.Noop(ctx); err != nil {
				t.Fatal(err)
			}
			if err := c.Hello(ctx); err != nil {
				t.Fatal(err)
			}
			if r, err := c.Mail(ctx, &smtp.Envelope{MailFrom: "alice@example.com"}, 0); err != nil || r.Code != 250 {
				t.Fatal(r, err)
			}
			if _, err := c.Rcpt(ctx, smtp.Recipient{Address: "carol@example.com"}); !smtp.IsPermanent(err) || asError(t, err).Recipient != "carol@example.com" {
				t.Errorf("%s: %v", mode, err)
			}
			if _, err := c.Rcpt(ctx, smtp.Recipient{Address: "x\r\n@example.com"}); !smtp.IsPermanent(err) {
				t.Errorf("%s: %v", mode, err)
			}
			if r, err := c.Rcpt(ctx, smtp.Recipient{Address: "bob@example.com"}); err != nil || r.Enhanced.String() != "2.1.5" {
				t.Errorf("%s: %v, %v", mode, r, err)
			}
			if r, err := c.Data(ctx, text(hello)); err != nil || r.Code != 250 {
				t.Errorf("%s: %v, %v", mode, r, err)
			}
			if n := len(s.Transactions()); n != i+1 || s.Transactions()[i].Text() != hello {
				t.Errorf("%s: %d messages", mode, n)
			}
			if _, err := c.Mail(ctx, &smtp.Envelope{}, 0); err != nil {
				t.Error(err)
			}
			if err := c.Reset(ctx); err != nil {
				t.Error(err)
			}
		}
		if _, err := c.Data(ctx, nil); !smtp.IsPermanent(err) || c.Closed() {
			t.Errorf("%s: no content: %v", mode, err)
		}
		if _, err := c.Data(ctx, text(hello)); err == nil || !smtp.IsTransient(err) {
			t.Errorf("%s: content out of order: %v", mode, err)
		}
		closes(t, c) // 503
		if err := c.Noop(ctx); err == nil {
			t.Error("NOOP on a closed connection")
		}
	}
}

func TestTLSMode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]smtp.TLSMode{"": smtp.TLSStartTLS, "tls": smtp.TLSStartTLS, "STARTTLS": smtp.TLSStartTLS, "none": smtp.TLSNone, "ssl": smtp.TLSImplicit} {
		var m smtp.TLSMode
		if err := m.UnmarshalText([]byte(text)); err != nil || m != want {
			t.Errorf("%q: %q, %v", text, m, err)
		}
		if b, err := m.MarshalText(); err != nil || string(b) != string(want) {
			t.Errorf("%q: %q, %v", m, b, err)
		}
	}
	var m smtp.TLSMode
	if err := m.UnmarshalText([]byte("maybe")); err == nil || !strings.Contains(err.Error(), "starttls") && !strings.Contains(err.Error(), "STARTTLS") {
		t.Errorf("%v", err)
	}
	for mode, port := range map[smtp.TLSMode]int{"": 587, smtp.TLSNone: 25, smtp.TLSStartTLS: 587, smtp.TLSImplicit: 465} {
		if mode.DefaultPort() != port {
			t.Errorf("%q: port %d", mode, mode.DefaultPort())
		}
	}
}

func TestEnhancedCode(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "5", "5.1", "5.1.", "3.1.1", "5.01.1", "5.1.1000", "5.1.1 ", "5.1.1x", "a.b.c", "5.1.-1"} {
		if _, err := smtp.ParseEnhancedCode(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	var e smtp.EnhancedCode
	if err := e.UnmarshalText([]byte("5.7.515")); err != nil || e != (smtp.EnhancedCode{5, 7, 515}) {
		t.Errorf("%v, %v", e, err)
	}
	if b, _ := e.MarshalText(); string(b) != "5.7.515" {
		t.Errorf("%s", b)
	}
	if err := e.UnmarshalText(nil); err != nil || !e.IsZero() || e.String() != "" {
		t.Errorf("%v, %v", e, err)
	}
	if err := e.UnmarshalText([]byte("x")); err == nil {
		t.Error("x is taken")
	}
}

// A Unix socket is as good as TCP.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{})
	dir, err := os.MkdirTemp("", "smtp")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := config(s)
	cfg.LocalName = ""
	cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		go func() {
			if nc, err := l.Accept(); err == nil {
				s.ServeConn(nc)
			}
		}()
		return new(net.Dialer).DialContext(ctx, "unix", l.Addr().String())
	}
	mustSend(t, dial(t, cfg), bob(), text(hello))
}
