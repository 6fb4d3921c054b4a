package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

type states = []store.RecipientState

func TestOutcomes(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		for _, c := range []struct {
			name    string
			to      int
			states  states
			again   bool
			next    time.Duration // zero: finished
			want    states
			message store.MessageState
		}{
			{"sent", 1, states{store.Sent}, false, 0, states{store.Sent}, "sent"},
			{"failed", 1, states{store.Failed}, false, 0, states{store.Failed}, "failed"},
			{"partial", 2, states{store.Sent, store.Failed}, false, 0, states{store.Sent, store.Failed}, store.MessagePartial},
			{"deferred", 1, states{store.Deferred}, false, time.Minute, states{store.Deferred}, "deferred"},
			{"given up", 1, states{store.Deferred}, false, 0, states{store.Failed}, "failed"},
			{"unknown held", 1, states{store.Unknown}, false, 0, states{store.Unknown}, "unknown"},
			{"unknown once more", 1, states{store.Unknown}, true, 10 * time.Minute, states{store.Unknown}, "deferred"},
			{"unknown beats failed", 2, states{store.Unknown, store.Failed}, false, 0, states{store.Unknown, store.Failed}, "unknown"},
			{"some left out", 3, states{store.Sent}, false, 0, states{store.Sent, store.Failed, store.Failed}, store.MessagePartial},
			{"some left open", 3, states{store.Sent}, false, time.Minute, states{store.Sent, store.Queued, store.Queued}, "queued"},
			{"canceled", 1, states{store.Canceled}, false, 0, states{store.Canceled}, "canceled"},
		} {
			t.Run(c.name, func(t *testing.T) {
				m := w.message([]string{"a@example.net", "b@example.net", "c@example.net"}[:c.to]...)
				w.accept(t, m)
				claimed := w.one(t)
				o := w.outcome(claimed, c.states...)
				o.Recipients = o.Recipients[:len(c.states)]
				for i := range o.Recipients {
					o.Recipients[i].Again = c.again
				}
				if c.next > 0 {
					o.NextDue = w.clock.now().Add(c.next)
				}
				w.record(t, o)
				if got := w.states(t, m.ID); !slices.Equal(got, c.want) {
					t.Errorf("recipients are %v, want %v", got, c.want)
				}
				d := w.detail(t, m.ID)
				if d.State != c.message || d.FinishedAt.IsZero() != (c.next > 0) || !d.NextDue.Equal(o.NextDue) {
					t.Errorf("message is %s, finished %v, due %v; want %s", d.State, d.FinishedAt, d.NextDue, c.message)
				}
				if c.next > 0 {
					if err := w.tenant.Cancel(t.Context(), m.ID, by()); err != nil {
						t.Fatal(err)
					}
				}
				if left := w.claim(t, 1); len(left) != 0 {
					t.Errorf("left in the spool: %+v", left)
				}
			})
		}
	})
}

// A relay's words may be any octets: they must not stop the outcome from being recorded.
func TestReplyOfAnyOctets(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		m := w.message()
		w.accept(t, m)
		o := w.outcome(w.one(t), store.Failed)
		o.Recipients[0].Text, o.Attempt.Transcript = "caf\xe9 \x00 full", "S: \xff\x00"
		w.record(t, o)
		if d := w.detail(t, m.ID); d.Recipients[0].Text != "caf\uFFFD \uFFFD full" {
			t.Errorf("text is %q", d.Recipients[0].Text)
		}
	})
}

func TestLateResults(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		m := w.message("a@example.net", "b@example.net")
		w.accept(t, m)
		old := w.one(t)

		// Another node takes the relay over.
		next := store.NewID()
		if due, unknown, err := w.ResolveClaims(t.Context(), w.relay.ID, next); err != nil || due != 1 || unknown != 0 {
			t.Fatalf("resolved %d due, %d unknown, %v", due, unknown, err)
		}
		if err := w.Record(t.Context(), w.outcome(old, store.Failed)); !errors.Is(err, store.ErrNotMine) {
			t.Fatalf("a refusal that comes late: %v", err)
		}
		if err := w.Mark(t.Context(), w.node, w.tenant.ID(), m.ID); !errors.Is(err, store.ErrNotMine) {
			t.Fatalf("a mark that comes late: %v", err)
		}
		// What the relay took is recorded all the same, and not sent again.
		w.record(t, w.outcome(old, store.Sent, store.Failed))
		if got := w.states(t, m.ID); !slices.Equal(got, states{store.Sent, store.Queued}) {
			t.Fatalf("after a late 250: %v", got)
		}
		first := w.node
		w.node = next
		c := w.one(t)
		if len(c.Recipients) != 1 || c.Recipients[0].N != 2 || !c.UnknownBefore {
			t.Fatalf("claimed %+v", c)
		}
		// It comes for the other recipient too, while the second node is sending.
		late := w.outcome(old, store.Sent)
		late.Node = first
		w.record(t, late)
		if err := w.Mark(t.Context(), next, w.tenant.ID(), m.ID); !errors.Is(err, store.ErrNotMine) {
			t.Fatalf("mark of what is sent: %v", err)
		}
		if err := w.Record(t.Context(), w.outcome(c, store.Failed)); !errors.Is(err, store.ErrNotMine) {
			t.Fatalf("refusal of what is sent: %v", err)
		}
		if d := w.detail(t, m.ID); d.State != store.MessageState(store.Sent) || d.FinishedAt.IsZero() {
			t.Fatalf("at the end: %+v", d)
		}
		if list := w.claim(t, 1); len(list) != 0 {
			t.Fatalf("left in the spool: %+v", list)
		}
	})
}

func TestResolveClaims(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		for _, c := range []struct {
			name         string
			hold, marked bool
			before       bool // a crash before left it in doubt
			want         store.RecipientState
			due          time.Duration // until the next attempt; negative: none
		}{
			{"hold", true, false, false, store.Queued, 0},
			{"hold, marked", true, true, false, store.Unknown, -1},
			{"retry", false, false, false, store.Queued, 0},
			{"retry, marked", false, true, false, store.Unknown, 10 * time.Minute},
			{"retry, a second time", false, false, true, store.Queued, 0},
			{"retry, marked, a second time", false, true, true, store.Unknown, -1},
		} {
			t.Run(c.name, func(t *testing.T) {
				m := w.message()
				if c.hold {
					m.OnUnknown = store.OnUnknownHold
				}
				w.accept(t, m)
				if c.before {
					w.one(t)
					w.resolve(t)
				}
				w.one(t)
				if c.marked {
					if err := w.Mark(t.Context(), w.node, w.tenant.ID(), m.ID); err != nil {
						t.Fatal(err)
					}
				}
				w.resolve(t)
				d := w.detail(t, m.ID)
				if d.Recipients[0].State != c.want {
					t.Errorf("recipient is %s, want %s", d.Recipients[0].State, c.want)
				}
				if d.FinishedAt.IsZero() != (c.due >= 0) {
					t.Errorf("finished at %v", d.FinishedAt)
				}
				if c.due >= 0 {
					if want := w.clock.now().Add(c.due); !d.NextDue.Equal(want) {
						t.Errorf("due at %v, want %v", d.NextDue, want)
					}
					if err := w.tenant.Cancel(t.Context(), m.ID, by()); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	})
}

// resolve ends the world's node: another process opens the database and takes the relay.
func (w *world) resolve(t *testing.T) {
	t.Helper()
	other := w.again()
	w.node = store.NewID()
	if list, err := other.ForeignClaims(t.Context(), w.node); err != nil || !slices.Contains(list, w.relay.ID) {
		t.Fatalf("foreign claims: %v, %v", list, err)
	}
	if _, _, err := other.ResolveClaims(t.Context(), w.relay.ID, w.node); err != nil {
		t.Fatal(err)
	}
	if list, err := other.ForeignClaims(t.Context(), w.node); err != nil || len(list) != 0 {
		t.Fatalf("foreign claims afterwards: %v, %v", list, err)
	}
}

func TestReleaseClaims(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		w.accept(t, w.message(), w.message(), w.message())
		list := w.claim(t, 10)
		// One is given back untried, one is marked, one is released with the rest.
		later := w.clock.now().Add(time.Minute)
		w.record(t, store.Outcome{Node: w.node, TenantID: w.tenant.ID(), MessageID: list[0].MessageID, Release: true, NextDue: later})
		if d := w.detail(t, list[0].MessageID); d.Message.Attempts != 0 || !d.NextDue.Equal(later) {
			t.Errorf("released: %+v", d.Message)
		}
		if err := w.Mark(t.Context(), w.node, w.tenant.ID(), list[1].MessageID); err != nil {
			t.Fatal(err)
		}
		if n, err := w.ReleaseClaims(t.Context(), w.node); err != nil || n != 1 {
			t.Fatalf("released %d, %v", n, err)
		}
		if again := w.claim(t, 10); len(again) != 1 || again[0].MessageID != list[2].MessageID || again[0].Attempt != 1 {
			t.Fatalf("claimed again: %+v", again)
		}
	})
}

// What a node that stops could not give back itself may have been sent: under retry there is one more copy at most.
func TestReleaseClaimsMayHaveBeenSent(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		retry, hold := w.message(), w.message()
		retry.OnUnknown, hold.OnUnknown = store.OnUnknownRetry, store.OnUnknownHold
		w.accept(t, retry, hold)
		w.claim(t, 10)
		if n, err := w.ReleaseClaims(t.Context(), w.node); err != nil || n != 2 {
			t.Fatalf("released %d, %v", n, err)
		}
		for _, c := range w.claim(t, 10) {
			if c.UnknownBefore != (c.OnUnknown == store.OnUnknownRetry) {
				t.Errorf("%s: unknown before: %v", c.OnUnknown, c.UnknownBefore)
			}
		}
	})
}

// A claim that is given back late does not end the claim of the same message that the same node has made since.
func TestReleaseOfAnEarlierClaim(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		w.accept(t, w.message())
		back := func(c store.Claimed) error {
			return w.Record(t.Context(), store.Outcome{Node: w.node, TenantID: c.TenantID, MessageID: c.MessageID, Release: true, ClaimedAt: c.ClaimedAt})
		}
		first := w.one(t)
		if err := back(first); err != nil {
			t.Fatal(err)
		}
		w.clock.pass(time.Second)
		second := w.one(t)
		if err := back(first); !errors.Is(err, store.ErrNotMine) {
			t.Errorf("the earlier claim was given back: %v", err)
		}
		if err := back(second); err != nil {
			t.Errorf("the claim could not be given back: %v", err)
		}
	})
}
