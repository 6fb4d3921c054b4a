package smtppool_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
	"github.com/postrider/postrider/smtppool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs f with fake time, a server behind net.Pipe and a pool of its own; both are closed afterwards.
func bubble(t *testing.T, server smtptest.Config, client smtp.Config, cfg smtppool.Config, f func(t *testing.T, s *smtptest.Server, p *smtppool.Pool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := smtptest.NewT(t, server)
		client.Host = "localhost"
		if client.TLSMode == "" {
			client.TLSMode = smtp.TLSNone
		}
		if client.Dial == nil {
			client.Dial = s.PipeDial
		}
		p := newPool(t, client, cfg)
		f(t, s, p)
	})
}

func newPool(t testing.TB, client smtp.Config, cfg smtppool.Config) *smtppool.Pool {
	t.Helper()
	client.LocalName = "client.example.com"
	d, err := smtp.NewDialer(client)
	if err != nil {
		t.Fatal(err)
	}
	p, err := smtppool.New(d, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Close(ctx); err != nil && !strings.Contains(err.Error(), "by force") {
			t.Error(err)
		}
		if s := p.Stats(); s.Open+s.Dialing+s.Waiting+s.Idle+s.InUse != 0 {
			t.Errorf("after Close: %+v", s)
		}
	})
	return p
}

// pass lets time pass in a bubble, and everything happen that is due.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func get(t *testing.T, p *smtppool.Pool) *smtppool.Conn {
	t.Helper()
	c, err := p.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func envelope(rcpt ...string) *smtp.Envelope {
	env := &smtp.Envelope{MailFrom: "ann@example.com"}
	for _, r := range rcpt {
		env.RcptTo = append(env.RcptTo, smtp.Recipient{Address: r})
	}
	return env
}

func content(id string) smtp.Content {
	return smtp.Bytes([]byte("Subject: " + id + "\r\n\r\nbody\r\n"))
}

func send(t *testing.T, p *smtppool.Pool, id string) {
	t.Helper()
	if _, err := p.Send(t.Context(), envelope("bob@example.com"), content(id)); err != nil {
		t.Fatal(err)
	}
}

// numbers compares the fields of interest.
func numbers(t *testing.T, p *smtppool.Pool, want string) {
	t.Helper()
	s := p.Stats()
	got := fmt.Sprintf("open %d idle %d in use %d dialing %d waiting %d dialled %d reused %d closed %v",
		s.Open, s.Idle, s.InUse, s.Dialing, s.Waiting, s.Dialled, s.Reused, s.Closed)
	if got != want {
		t.Helper()
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
