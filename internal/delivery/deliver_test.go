package delivery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/smtp/smtptest"
)

// TestTestKey: everything but the last step.
func TestTestKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewT(t, smtptest.Config{})
		b := newBench(t, srv, nil)
		defer b.close(t)
		c := claim("bob@example.com", "eve@example.com")
		c.Test = true
		o, v := b.deliver(t, c)
		wantStates(t, o, store.Sent, store.Sent)
		if r := o.Recipients[1]; r.Code != 250 || r.Enhanced != "2.0.0" || r.Text != "kept in the test inbox" || o.Attempt.Text != r.Text ||
			o.Attempt.Status != "success" || o.Attempt.Phase != "done" || v.Sent != 2 {
			t.Errorf("%+v, %+v", o, v)
		}
		if len(srv.Sessions()) != 0 {
			t.Error("the relay was asked")
		}
	})
}

// TestSchedule: the relay's waits, then the last of them for ever, until the give-up time.
func TestSchedule(t *testing.T) {
	tests := []struct {
		name     string
		schedule []time.Duration
		attempt  int
		giveUp   time.Duration // from now; 0: never
		wait     time.Duration
		text     string
	}{
		{name: "the service's own, first", attempt: 1, wait: time.Second},
		{name: "the service's own, third", attempt: 3, wait: 30 * time.Second},
		{name: "the service's own, fourth", attempt: 4, wait: 2 * time.Minute},
		{name: "the service's own, twentieth", attempt: 20, wait: time.Hour},
		{name: "the relay's, second", schedule: []time.Duration{time.Minute, time.Hour}, attempt: 2, wait: time.Hour},
		{name: "the relay's, ninth", schedule: []time.Duration{time.Minute, time.Hour}, attempt: 9, wait: time.Hour},
		{name: "zeros end in a second", schedule: []time.Duration{0}, attempt: 2, wait: time.Second},
		{name: "just in time", attempt: 20, giveUp: time.Hour, wait: time.Hour},
		{name: "too late", attempt: 20, giveUp: 59 * time.Minute, text: "given up after 71h1m0s: later"},
		{name: "long past", attempt: 2, giveUp: -time.Hour, text: "given up after 73h0m0s: later"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := smtptest.NewT(t, smtptest.Config{})
				srv.On(smtptest.Rule{Command: "RCPT", Match: "bob@", Action: smtptest.Reply("451 4.3.0 later")})
				b := newBench(t, srv, func(_ *delivery.Config, row *store.DeliveryRelay) { row.RetrySchedule = tt.schedule })
				defer b.close(t)
				c := claim()
				c.Attempt, c.GiveUpAt = tt.attempt, time.Time{}
				if tt.giveUp != 0 {
					c.GiveUpAt = time.Now().Add(tt.giveUp)
					c.CreatedAt = c.GiveUpAt.Add(-72 * time.Hour)
				}
				o, _ := b.deliver(t, c)
				r := o.Recipients[0]
				if tt.text != "" {
					if r.State != store.Failed || r.Text != tt.text || r.Code != 451 || !o.NextDue.IsZero() || o.Attempt.Status != "temp_failed" {
						t.Errorf("%+v, due %v, %s", r, o.NextDue, o.Attempt.Status)
					}
				} else if wait := time.Until(o.NextDue); r.State != store.Deferred || wait != tt.wait {
					t.Errorf("%s, due in %v, want %v", r.State, wait, tt.wait)
				}
			})
		})
	}
}

// TestRecordingIsTriedAgain: Deliver returns when the outcome is recorded, and it is known meanwhile that one is not.
func TestRecordingIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, smtptest.NewT(t, smtptest.Config{}), nil)
		defer b.close(t)
		b.store.failing = 20
		b.store.onFail = func() {
			if b.store.tries > 1 && b.d.Unrecorded() != 1 {
				t.Errorf("%d unrecorded", b.d.Unrecorded())
			}
		}
		o, v := b.deliver(t, claim())
		wantStates(t, o, store.Sent)
		if b.store.tries != 21 || len(b.store.outcomes) != 1 || v.Sent != 1 || b.d.Unrecorded() != 0 {
			t.Errorf("%d tries, %d outcomes, %d unrecorded", b.store.tries, len(b.store.outcomes), b.d.Unrecorded())
		}
	})
}

func TestRecordingAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, smtptest.NewT(t, smtptest.Config{}), nil)
		defer b.close(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		b.store.failing = -1
		c := claim()
		v, err := b.lane.Deliver(ctx, c, nil)
		if !errors.Is(err, errAway) || !strings.Contains(err.Error(), c.MessageID.String()) || v.Sent != 1 || b.seen[0].Recorded {
			t.Errorf("%+v, %v", v, err)
		}

		// The last try comes after the end and can succeed.
		ctx, cancel = context.WithCancel(t.Context())
		b.store.failing, b.store.onFail = 1, cancel
		if v, err := b.lane.Deliver(ctx, claim(), nil); err != nil || v.Sent != 1 || len(b.store.outcomes) != 1 {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

// TestARowThatIsRefused does not keep the node from claiming for ever.
func TestARowThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, smtptest.NewT(t, smtptest.Config{}), nil)
		defer b.close(t)
		b.store.failing, b.store.failWith = -1, errors.New("no such column")
		begun := time.Now()
		over := time.Time{}
		_, err := b.lane.Deliver(t.Context(), claim(), func(v delivery.Verdict) {
			if over = time.Now(); v.Sent != 1 {
				t.Errorf("verdict %+v", v)
			}
		})
		if !errors.Is(err, b.store.failWith) || b.store.tries != 11 || b.d.Unrecorded() != 0 || over != begun || time.Since(begun) > time.Minute {
			t.Errorf("%v after %d tries in %v", err, b.store.tries, time.Since(begun))
		}
	})
}

// TestRefusedWords: a message does not stay claimed since the store does not take what its relay said.
func TestRefusedWords(t *testing.T) {
	reject := smtptest.Config{Rules: []smtptest.Rule{{Command: "RCPT", Action: smtptest.Reply("550 5.1.1 no such user")}}}
	for _, tt := range []struct {
		name    string
		cfg     smtptest.Config
		refuse  func(store.Outcome) bool
		state   store.RecipientState // empty: released
		refused bool
	}{
		{"sent", smtptest.Config{}, func(o store.Outcome) bool {
			return strings.Contains(o.Attempt.Text, "250") || o.Attempt.Transcript != "" || !strings.Contains(o.Attempt.Text, "could not be recorded")
		}, store.Sent, false},
		{"failed", reject, func(o store.Outcome) bool { return strings.Contains(o.Recipients[0].Text, "no such user") }, store.Failed, false},
		{"failed, and nothing of it is taken", reject, func(o store.Outcome) bool { return !o.Release }, "", false},
		{"sent, and nothing of it is taken", smtptest.Config{}, func(o store.Outcome) bool { return !o.Release }, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, smtptest.NewT(t, tt.cfg), nil)
				defer b.close(t)
				b.store.refuse = tt.refuse
				_, err := b.lane.Deliver(t.Context(), claim(), nil)
				switch got := b.store.outcomes; {
				case tt.refused:
					if err == nil || len(got) != 0 { // what was sent never goes back
						t.Errorf("%v, %+v", err, got)
					}
				case err != nil || len(got) != 1:
					t.Errorf("%v, %d outcomes", err, len(got))
				case tt.state == "":
					if wait := time.Until(got[0].NextDue); !got[0].Release || wait <= 0 {
						t.Errorf("%+v", got[0])
					}
				default:
					wantStates(t, got[0], tt.state)
				}
			})
		})
	}
}

// TestLargeContent: what did not come with the claim is read from the store, once a transaction.
func TestLargeContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewT(t, smtptest.Config{})
		b := newBench(t, srv, nil)
		defer b.close(t)
		c := claim()
		body := "Subject: long\r\n\r\n" + strings.Repeat("a line of some length\r\n", 100_000)
		c.Content, c.Size = nil, int64(len(body))
		o, _ := b.deliver(t, c) // the store does not have it
		wantStates(t, o, store.Deferred)
		if !strings.Contains(o.Recipients[0].Text, "content could not be read: the database is away") {
			t.Errorf("%+v", o.Recipients[0])
		}
		b.store.contents[c.ContentID] = []byte(body)
		o, _ = b.deliver(t, c)
		wantStates(t, o, store.Sent)
		if got := srv.Transactions(); len(got) != 1 || got[0].Text() != body || b.store.opened != 2 {
			t.Errorf("%d messages, opened %d times", len(got), b.store.opened)
		}
		b.store.openErr = store.ErrContentGone
		o, _ = b.deliver(t, c)
		wantStates(t, o, store.Failed)
		b.store.openErr = nil
		b.store.contents[c.ContentID] = []byte(body[:1000])
		o, _ = b.deliver(t, c)
		wantStates(t, o, store.Failed) // a content that was cut off stays so
	})
}

func TestEnvelope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewT(t, smtptest.Config{})
		b := newBench(t, srv, nil)
		defer b.close(t)
		c := claim("bob@example.com", "eve@example.com")
		c.MailFrom = ""
		c.DSN = json.RawMessage(`{"return": "hdrs", "envelope_id": "id-7"}`)
		c.Recipients[0].Notify, c.Recipients[0].ORcpt = "SUCCESS, FAILURE", "rob@example.com"
		c.Recipients[1].Notify = "NEVER"
		o, _ := b.deliver(t, c)
		wantStates(t, o, store.Sent, store.Sent)
		for _, line := range []string{
			"C: MAIL FROM:<> SIZE=49 RET=HDRS ENVID=id-7",
			"C: RCPT TO:<bob@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;rob@example.com",
			"C: RCPT TO:<eve@example.com> NOTIFY=NEVER",
		} {
			if !strings.Contains(o.Attempt.Transcript, line+"\n") {
				t.Errorf("no line %q in\n%s", line, o.Attempt.Transcript)
			}
		}
	})
}

// TestTranscript: the opening belongs to the first message of a connection only, and it is bounded.
func TestTranscript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, smtptest.NewT(t, smtptest.Config{}), nil)
		defer b.close(t)
		first, _ := b.deliver(t, claim())
		second, _ := b.deliver(t, claim())
		if s := first.Attempt.Transcript; !strings.HasPrefix(s, "*: connected to pipe\nS: 220 ") || strings.Count(s, "C: MAIL") != 1 {
			t.Errorf("the first:\n%s", s)
		}
		want := "C: MAIL FROM:<ann@example.com> SIZE=49\nC: RCPT TO:<bob@example.com>\nC: BDAT 49 LAST\nC: (49 octets of content)\n" +
			"S: 250 2.1.0 sender ok\nS: 250 2.1.5 recipient ok\nS: 250 2.0.0 accepted, session 1 message 2\n"
		if second.Attempt.Transcript != want {
			t.Errorf("the second:\n%s", second.Attempt.Transcript)
		}
		var many []string
		for i := range 1000 {
			many = append(many, fmt.Sprintf("recipient-%d@example.com", i))
		}
		o, _ := b.deliver(t, claim(many...))
		s := o.Attempt.Transcript
		if len(s) > 16<<10 || len(s) < 15<<10 || !strings.HasPrefix(s, "C: MAIL") || !strings.Contains(s, " lines left out\n") || !strings.HasSuffix(s, "S: 250 2.0.0 accepted, session 1 message 3\n") {
			t.Errorf("%d octets, the end is\n%s", len(s), s[len(s)-200:])
		}
	})
}

// TestManyAtOnce: one lane, many messages, each recorded once.
func TestManyAtOnce(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	b := newBench(t, srv, func(cfg *delivery.Config, row *store.DeliveryRelay) {
		cfg.Observe = nil
		row.Limits.MaxConns, row.Limits.MessagesPerConn = 4, 7
	})
	defer b.close(t)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 25 {
				c := claim()
				if v, err := b.lane.Deliver(t.Context(), c, nil); err != nil || v.Sent != 1 {
					t.Errorf("%+v, %v", v, err)
				}
			}
		})
	}
	all.Wait()
	seen := map[uuid.UUID]bool{}
	for _, o := range b.store.outcomes {
		seen[o.MessageID] = true
		if n := strings.Count(o.Attempt.Transcript, "C: MAIL"); n != 1 {
			t.Errorf("a transcript of %d messages:\n%s", n, o.Attempt.Transcript)
		}
	}
	if len(seen) != 400 || len(b.store.outcomes) != 400 || len(srv.Transactions()) != 400 {
		t.Errorf("%d messages, %d outcomes, %d sent", len(seen), len(b.store.outcomes), len(srv.Transactions()))
	}
}
