package smtp_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
)

// warm sends so many messages one right after the other that the sender reads
// its replies for itself, and returns when the server waits for the next.
func warm(t *testing.T, s *smtptest.Server, c *smtp.Conn) *smtptest.Session {
	t.Helper()
	for range 4 {
		mustSend(t, c, bob(), text(hello))
	}
	sessions := s.Sessions()
	session := sessions[len(sessions)-1]
	if err := session.WaitIdle(t.Context()); err != nil {
		t.Fatal(err)
	}
	return session
}

// However closely messages follow each other, what the server did between them
// is seen before the next is written: nothing is in doubt, and it may move.
func TestEndBetweenMessages(t *testing.T) {
	for _, mode := range []smtp.TLSMode{smtp.TLSNone, smtp.TLSStartTLS} {
		for name, end := range map[string]func(*smtptest.Server, *smtptest.Session) error{
			"closed": func(s *smtptest.Server, session *smtptest.Session) error {
				session.CloseIdle()
				return s.WaitSessionsClosed(context.Background(), 1)
			},
			"421": func(_ *smtptest.Server, session *smtptest.Session) error {
				return session.Write("421 4.4.2 idle for too long\r\n")
			},
		} {
			t.Run(fmt.Sprintf("%s over %s", name, mode), func(t *testing.T) {
				t.Parallel()
				for range 20 {
					s := smtptest.StartT(t, smtptest.Config{})
					cfg := config(s)
					cfg.TLSMode, cfg.TLSConfig = mode, s.TLSClientConfig()
					c := dial(t, cfg)
					session := warm(t, s, c)
					if err := end(s, session); err != nil {
						t.Fatal(err)
					}
					_, err := c.Send(t.Context(), bob(), text(hello))
					if !smtp.Stale(err) || smtp.MaybeAccepted(err) {
						t.Fatalf("class %q, stale %t: %v", class(err), smtp.Stale(err), err)
					}
					if n := len(s.Transactions()); n != 4 {
						t.Fatalf("the server has %d messages, want 4", n)
					}
				}
			})
		}
	}
}

// A session that dies while nobody reads tells those who asked to be told.
func TestAfterCloseWhileNobodyReads(t *testing.T) {
	s := smtptest.StartT(t, smtptest.Config{})
	for range 20 {
		c := dial(t, config(s))
		told := make(chan struct{})
		c.AfterClose(func() { close(told) })
		warm(t, s, c)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		<-told
	}
}

// The context ends the reading of a sender that reads for itself.
func TestContextEndsOwnReading(t *testing.T) {
	s := smtptest.StartT(t, smtptest.Config{})
	s.On(smtptest.Rule{Command: smtptest.CommandContent, Nth: 5, Action: smtptest.Silence()})
	c := dial(t, config(s))
	told := make(chan struct{})
	c.AfterClose(func() { close(told) })
	warm(t, s, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = s.WaitCommand(ctx, smtptest.CommandContent, 5)
		cancel()
	}()
	if _, err := c.Send(ctx, bob(), text(hello)); !smtp.MaybeAccepted(err) {
		t.Errorf("class %q: %v", class(err), err)
	}
	<-told
	closes(t, c)
}

// A server that refuses content early is heard although the sender began by
// reading for itself: a long write has a reader beside it.
func TestEarlyRefusalWhileSenderReads(t *testing.T) {
	s := smtptest.StartT(t, smtptest.Config{Without: []string{"CHUNKING"}})
	s.On(smtptest.Rule{Command: smtptest.CommandContent, Nth: 5, Action: smtptest.AtOctet(100_000, smtptest.ReplyThenDrop("552 5.3.4 too much"))})
	c := dial(t, config(s))
	warm(t, s, c)
	_, err := c.Send(t.Context(), bob(), long(50<<20))
	if smtp.MaybeAccepted(err) || err == nil {
		t.Errorf("class %q: %v", class(err), err)
	}
	closes(t, c)
}
