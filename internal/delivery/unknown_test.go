package delivery_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/smtp/smtptest"
)

// again is the claim for the next attempt at what o left open.
func again(c store.Claimed, o store.Outcome) store.Claimed {
	c.Attempt++
	var open []store.ClaimedRecipient
	for i, r := range o.Recipients {
		if r.State == store.Deferred || r.Again {
			next := c.Recipients[i]
			next.State = r.State
			open = append(open, next)
			c.UnknownBefore = c.UnknownBefore || r.State == store.Unknown
		}
	}
	c.Recipients = open
	return c
}

// TestDroppedFinalReply: the relay takes the message and never says so. Under retry the
// whole deadline is waited for, then ten minutes, then there is one more copy and that is all; under hold there is
// one copy.
func TestDroppedFinalReply(t *testing.T) {
	for _, onUnknown := range []string{store.OnUnknownRetry, store.OnUnknownHold} {
		t.Run(onUnknown, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := smtptest.NewT(t, smtptest.Config{})
				srv.On(smtptest.Rule{Command: smtptest.CommandContent, Action: smtptest.Sequence(smtptest.Accept(), smtptest.Silence())})
				b := newBench(t, srv, nil)
				defer b.close(t)
				c := claim()
				c.OnUnknown = onUnknown
				begun := time.Now()
				o, v := b.deliver(t, c)
				if waited := time.Since(begun); waited != 10*time.Minute {
					t.Errorf("waited %v for the final reply, want RFC 5321's 10 minutes", waited)
				}
				wantStates(t, o, store.Unknown)
				if v.Unknown != 1 || o.Attempt.Status != "unknown" {
					t.Errorf("verdict %+v, attempt %+v", v, o.Attempt)
				}
				if onUnknown == store.OnUnknownHold {
					if o.Recipients[0].Again || !o.NextDue.IsZero() || b.store.marks != 1 || len(srv.Transactions()) != 1 {
						t.Errorf("%+v; %d marks, %d copies", o, b.store.marks, len(srv.Transactions()))
					}
					return
				}
				if !o.Recipients[0].Again || time.Until(o.NextDue) != 10*time.Minute || b.store.marks != 0 {
					t.Errorf("%+v; %d marks", o, b.store.marks)
				}
				o, _ = b.deliver(t, again(c, o))
				wantStates(t, o, store.Unknown)
				if o.Recipients[0].Again || !o.NextDue.IsZero() || len(srv.Transactions()) != 2 || b.store.marks != 1 {
					t.Errorf("after the further attempt: %+v; %d copies, %d marks", o, len(srv.Transactions()), b.store.marks)
				}
			})
		})
	}
}

// TestFurtherAttempt: what the one further attempt after an unknown end can lead to.
func TestFurtherAttempt(t *testing.T) {
	tests := []struct {
		name   string
		action smtptest.Action
		state  store.RecipientState
	}{
		{"accepted", smtptest.Proceed(), store.Sent},
		{"refused for good", smtptest.Reply("550 5.1.1 no such user"), store.Unknown},
		{"refused for now", smtptest.Reply("451 4.3.0 later"), store.Unknown},
		{"connection lost", smtptest.Drop(), store.Unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := smtptest.NewT(t, smtptest.Config{Without: []string{"CHUNKING"}})
				srv.On(smtptest.Rule{Command: "RCPT", Match: "bob@", Action: tt.action})
				b := newBench(t, srv, nil)
				defer b.close(t)
				c := claim("bob@example.com")
				c.Attempt, c.UnknownBefore, c.Recipients[0].State = 2, true, store.Unknown
				o, _ := b.deliver(t, c)
				wantStates(t, o, tt.state)
				if r := o.Recipients[0]; r.Again || !o.NextDue.IsZero() || r.State == store.Unknown && !strings.HasPrefix(r.Text, "it may have been accepted before; the further attempt: ") {
					t.Errorf("%+v, due %v", r, o.NextDue)
				}
			})
		})
	}
}

// TestUnknownBesideDeferred: the deferred one waits for the other's ten minutes and is tried further after it.
func TestUnknownBesideDeferred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewT(t, smtptest.Config{Without: []string{"CHUNKING"}})
		srv.On(smtptest.Rule{Command: "RCPT", Match: "grey@", Action: smtptest.Reply("451 4.7.1 come back")})
		srv.On(smtptest.Rule{Command: smtptest.CommandContent, Action: smtptest.Drop()})
		b := newBench(t, srv, nil)
		defer b.close(t)
		c := claim("bob@example.com", "grey@example.com")
		o, _ := b.deliver(t, c)
		wantStates(t, o, store.Unknown, store.Deferred)
		if time.Until(o.NextDue) != 10*time.Minute {
			t.Errorf("due in %v", time.Until(o.NextDue))
		}
		c = again(c, o)
		o, _ = b.deliver(t, c)
		wantStates(t, o, store.Unknown, store.Deferred)
		if o.Recipients[0].Again || time.Until(o.NextDue) != 5*time.Second {
			t.Errorf("%+v, due in %v", o.Recipients[0], time.Until(o.NextDue))
		}
	})
}

func TestNoFurtherAttemptAfterTheGiveUpTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewT(t, smtptest.Config{})
		srv.On(smtptest.Rule{Command: smtptest.CommandContent, Action: smtptest.Drop()})
		b := newBench(t, srv, nil)
		defer b.close(t)
		c := claim()
		c.GiveUpAt = time.Now().Add(9 * time.Minute)
		o, _ := b.deliver(t, c)
		wantStates(t, o, store.Unknown)
		if o.Recipients[0].Again || !o.NextDue.IsZero() {
			t.Errorf("%+v, due %v", o.Recipients[0], o.NextDue)
		}
	})
}

// TestMark: under hold nothing can have been accepted before the mark is there.
func TestMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewT(t, smtptest.Config{})
		b := newBench(t, srv, nil)
		defer b.close(t)
		b.store.onMark = func() {
			if n := srv.Stats().Commands[smtptest.CommandContent]; n != 0 {
				t.Errorf("the mark came after the content")
			}
		}
		c := claim()
		c.OnUnknown = store.OnUnknownHold
		o, v := b.deliver(t, c)
		wantStates(t, o, store.Sent)
		if b.store.marks != 1 || v.Sent != 1 {
			t.Errorf("%d marks, %+v", b.store.marks, v)
		}
	})
}

func TestMarkThatFails(t *testing.T) {
	tests := []struct {
		name string
		err  error
	}{
		{"the store is away", errAway},
		{"the claim is another's", store.ErrNotMine},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := smtptest.NewT(t, smtptest.Config{})
				b := newBench(t, srv, nil)
				defer b.close(t)
				b.store.markErr = tt.err
				c := claim()
				c.OnUnknown = store.OnUnknownHold
				v, err := b.lane.Deliver(t.Context(), c, nil)
				if !v.Released || v.Deferred != 0 {
					t.Errorf("verdict %+v", v)
				}
				if errors.Is(tt.err, store.ErrNotMine) {
					if !errors.Is(err, store.ErrNotMine) || len(b.store.outcomes) != 0 {
						t.Errorf("error %v, %d outcomes", err, len(b.store.outcomes))
					}
				} else if o := b.store.last(t); err != nil || !o.Release || !o.NextDue.After(time.Now()) {
					t.Errorf("error %v, outcome %+v", err, o)
				}
				if len(srv.Transactions()) != 0 {
					t.Error("it was sent all the same")
				}
			})
		})
	}
}

// TestInterrupted: the end of the context is not the message's fault.
func TestInterrupted(t *testing.T) {
	tests := []struct {
		name     string
		command  string
		released bool
	}{
		{"while connecting", smtptest.CommandGreeting, true},
		{"before the content", "MAIL", true},
		{"after the content", smtptest.CommandContent, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := smtptest.NewT(t, smtptest.Config{Without: []string{"CHUNKING"}})
				srv.On(smtptest.Rule{Command: tt.command, Action: smtptest.Silence()})
				b := newBench(t, srv, nil)
				defer b.close(t)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				v, err := b.lane.Deliver(ctx, claim(), nil)
				if err != nil {
					t.Fatal(err)
				}
				if v.Released != tt.released || v.RelayDown || v.SlowDown {
					t.Errorf("verdict %+v", v)
				}
				if o := b.store.last(t); !tt.released {
					wantStates(t, o, store.Unknown)
				} else if !o.NextDue.IsZero() {
					t.Errorf("due in %v, want at once", time.Until(o.NextDue))
				}
			})
		})
	}
}

func TestObservations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewT(t, smtptest.Config{})
		srv.On(smtptest.Rule{Command: "MAIL", Action: smtptest.Delay(3*time.Second, smtptest.Proceed())})
		b := newBench(t, srv, nil)
		defer b.close(t)
		c := claim()
		b.deliver(t, c)
		want := delivery.Observation{
			Relay: b.row.ID, Tenant: c.TenantID, Verdict: delivery.Verdict{Sent: 1}, Phase: "done", Duration: 3 * time.Second, Recorded: true,
		}
		if len(b.seen) != 1 || b.seen[0] != want {
			t.Errorf("%+v, want %+v", b.seen, want)
		}
	})
}
