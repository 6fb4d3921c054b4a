package smtp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/postrider/postrider/smtp"
)

// backend is a server by other people, to keep us and smtptest from being
// wrong in the same way.
type backend struct {
	mu  sync.Mutex
	got []string
}

func (b *backend) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &peerSession{b: b}, nil }

type peerSession struct {
	b    *backend
	rcpt []string
}

func (s *peerSession) Mail(string, *gosmtp.MailOptions) error { return nil }

func (s *peerSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if strings.HasPrefix(to, "carol@") {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	s.rcpt = append(s.rcpt, to)
	return nil
}

func (s *peerSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if bytes.Contains(b, []byte("SPAM")) {
		return &gosmtp.SMTPError{Code: 554, EnhancedCode: gosmtp.EnhancedCode{5, 7, 1}, Message: "spam"}
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.got = append(s.b.got, strings.Join(s.rcpt, ",")+"\n"+string(b))
	return nil
}

func (s *peerSession) Reset()        { s.rcpt = nil }
func (s *peerSession) Logout() error { return nil }

func TestPeer(t *testing.T) {
	t.Parallel()
	for _, mode := range []smtp.TLSMode{smtp.TLSNone, smtp.TLSStartTLS} {
		b := &backend{}
		srv := gosmtp.NewServer(b)
		srv.Domain, srv.EnableSMTPUTF8, srv.EnableDSN = "peer.example.com", true, true
		srv.MaxMessageBytes = 8 << 20
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := srv.Serve(l); err != nil && !errors.Is(err, gosmtp.ErrServerClosed) {
				t.Error(err)
			}
		})
		c := dial(t, smtp.Config{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, TLSMode: mode, DangerouslySkipTLSVerify: true})
		large := strings.Repeat(".line of content\r\n", 150_000)
		var want []string
		for range 2 {
			out := mustSend(t, c, envelope("bob@example.com", "carol@example.com", "zoë@example.com"), text(hello))
			if out.RoundTrips != 1 || out.Sent() != 2 || !smtp.IsPermanent(out.Recipients[1].Err) {
				t.Errorf("%d round trips, %+v", out.RoundTrips, out.Recipients)
			}
			want = append(want, "bob@example.com,zoë@example.com\n"+hello)
			if _, err := c.Send(context.Background(), envelope("carol@example.com"), text(hello)); !smtp.IsPermanent(err) {
				t.Errorf("every recipient refused: %v", err)
			}
			mustSend(t, c, bob(), text(large))
			want = append(want, "bob@example.com\n"+large)
			if _, err := c.Send(context.Background(), bob(), text("SPAM\r\n")); !smtp.IsPermanent(err) || !smtp.IsPolicy(err) {
				t.Errorf("content refused: %v", err)
			}
		}
		if err := c.Quit(context.Background()); err != nil {
			t.Error(err)
		}
		if len(b.got) != len(want) {
			t.Fatalf("%d messages arrived, want %d", len(b.got), len(want))
		}
		for i := range want {
			if b.got[i] != want[i] {
				t.Errorf("message %d differs (%d octets, want %d)", i, len(b.got[i]), len(want[i]))
			}
		}
		srv.Close()
		wg.Wait()
	}
}
