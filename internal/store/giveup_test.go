package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

const giveUpAfter = 72 * time.Hour

// down makes the world's relay one that cannot be used for a day, for a reason.
func (w *world) down(t *testing.T, reason string) {
	t.Helper()
	state := store.RelayState{NotBefore: w.clock.now().Add(24 * time.Hour), Reason: reason, Failures: 9}
	if err := w.SaveRelayState(t.Context(), w.relay.ID, state, w.node); err != nil {
		t.Fatal(err)
	}
}

func (w *world) giveUp(t *testing.T, failed, kept int) {
	t.Helper()
	done := must[store.GivenUp](t)(w.GiveUp(t.Context()))
	if done.Failed != failed || done.Kept != kept || done.More {
		t.Fatalf("gave up %+v, want %d failed and %d kept", done, failed, kept)
	}
}

// deferOne makes one attempt for a message, which every open recipient but the first survives: that one is sent.
func (w *world) deferOne(t *testing.T, states ...store.RecipientState) {
	t.Helper()
	o := w.outcome(w.one(t), states...)
	o.NextDue = w.clock.now().Add(time.Minute)
	w.record(t, o)
}

func TestGiveUp(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		tried, untried := w.message("a@example.net", "b@example.net", "c@example.net"), w.message()
		w.accept(t, tried)
		w.deferOne(t, store.Sent, store.Deferred, store.Failed)
		w.accept(t, untried)
		w.clock.pass(giveUpAfter - time.Hour)
		w.down(t, "the relay cannot be reached: connection refused")
		w.giveUp(t, 0, 0)
		w.clock.pass(2 * time.Hour)
		depth := must[store.SpoolDepth](t)(w.SpoolDepth(t.Context()))
		if !depth.OldestDue.IsZero() || w.clock.now().Sub(depth.OldestWaiting) < giveUpAfter || depth.Messages != 2 {
			t.Fatalf("spool %+v", depth)
		}
		w.giveUp(t, 2, 0)
		w.giveUp(t, 0, 0)

		d := w.detail(t, tried.ID)
		if got := w.states(t, tried.ID); !slices.Equal(got, []store.RecipientState{store.Sent, store.Failed, store.Failed}) {
			t.Fatalf("states %v", got)
		}
		if d.State != store.MessagePartial || d.Message.Attempts != 1 || len(d.Attempts) != 1 || d.FinishedAt.IsZero() || d.Recipients[1].Code != 451 {
			t.Fatalf("tried once: %+v", d)
		}
		if got := d.Recipients[1].Text; got != "given up after 73h0m0s: deferred" {
			t.Fatalf("text %q", got)
		}
		if got := d.Recipients[2].Text; got != "failed" {
			t.Fatalf("text of one that had failed before: %q", got)
		}
		d = w.detail(t, untried.ID)
		if d.State != store.MessageState(store.Failed) || d.Message.Attempts != 0 || len(d.Attempts) != 0 {
			t.Fatalf("never tried: %+v", d)
		}
		if got := d.Recipients[0].Text; got != "given up after 73h0m0s: the relay cannot be reached: connection refused" {
			t.Fatalf("text %q", got)
		}
		events := must[[]store.Event](t)(w.tenant.Events(t.Context(), store.EventFilter{}, 0, 100))
		last := events[len(events)-2:]
		for _, e := range last {
			if e.Kind != store.EventKind(store.Failed) || !strings.HasPrefix(e.Text, "given up after 73h0m0s: ") {
				t.Fatalf("event %+v", e)
			}
		}
		if depth := must[store.SpoolDepth](t)(w.SpoolDepth(t.Context())); depth.Messages != 0 {
			t.Fatalf("%d messages wait", depth.Messages)
		}
		if stats := must[store.Stats](t)(w.tenant.Stats(t.Context(), time.Time{}, time.Time{})); stats.Total.Recipients[store.Failed] != 2 {
			t.Fatalf("stats %+v", stats.Total)
		}
	})
}

// An auth pause does not stop the clock.
func TestGiveUpBehindRefusedPassword(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		m := w.message()
		w.accept(t, m)
		if err := w.PauseAuth(t.Context(), w.relay.ID, "535 5.7.8 no", w.clock.now().Add(giveUpAfter+2*time.Hour)); err != nil {
			t.Fatal(err)
		}
		w.clock.pass(giveUpAfter + time.Minute)
		w.giveUp(t, 1, 0)
		if d := w.detail(t, m.ID); d.Recipients[0].State != store.Failed || !strings.HasSuffix(d.Recipients[0].Text, ": 535 5.7.8 no") {
			t.Fatalf("%+v", d.Recipients)
		}
	})
}

// holds are the ways to hold messages on purpose.
var holds = map[string]struct {
	stop, goOn func(t *testing.T, w *world) error
}{
	"relay": {
		func(t *testing.T, w *world) error {
			_, err := w.tenant.PauseRelay(t.Context(), w.relay.ID, "maintenance", by())
			return err
		},
		func(t *testing.T, w *world) error {
			_, err := w.tenant.ResumeRelay(t.Context(), w.relay.ID, by())
			return err
		},
	},
	"all": {
		func(t *testing.T, w *world) error { return w.Operator().PauseAll(t.Context(), "maintenance", by()) },
		func(t *testing.T, w *world) error { return w.Operator().ResumeAll(t.Context(), by()) },
	},
	"tenant": {
		func(t *testing.T, w *world) error {
			return w.Operator().SetTenantState(t.Context(), w.tenant.ID(), store.StateSuspended, by())
		},
		func(t *testing.T, w *world) error {
			return w.Operator().SetTenantState(t.Context(), w.tenant.ID(), store.StateActive, by())
		},
	},
}

// Who holds a message on purpose stops the clock, and there is time left when it goes on.
func TestHeldOnPurposeIsNotGivenUp(t *testing.T) {
	t.Parallel()
	for name, hold := range holds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, open storetest.Open) {
				w := newWorld(t, open)
				w.accept(t, w.message())
				w.deferOne(t, store.Deferred)
				if err := hold.stop(t, w); err != nil {
					t.Fatal(err)
				}
				w.clock.pass(giveUpAfter + time.Minute)
				w.giveUp(t, 0, 1)
				w.giveUp(t, 0, 0)
				w.clock.pass(2 * time.Hour)
				w.giveUp(t, 0, 1)
				if err := hold.goOn(t, w); err != nil {
					t.Fatal(err)
				}
				if c := w.one(t); c.Attempt != 2 || c.GiveUpAt.Sub(w.clock.now()) != time.Hour {
					t.Fatalf("claimed %+v", c)
				}
			})
		})
	}
}

// Past its give-up time a message is not claimed if it was tried, and has its one attempt if it was not.
func TestClaimPastGiveUp(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		tried, untried := w.message(), w.message()
		w.accept(t, tried)
		w.deferOne(t, store.Deferred)
		w.accept(t, untried)
		w.clock.pass(giveUpAfter + 2*time.Minute)
		if c := w.one(t); c.MessageID != untried.ID {
			t.Fatal("a message that was tried is tried again after its give-up time")
		}
		w.giveUp(t, 1, 0) // and what is claimed is left alone
		if got := w.states(t, untried.ID); !slices.Equal(got, []store.RecipientState{store.Sending}) {
			t.Fatalf("the claimed one: %v", got)
		}
		if got := w.states(t, tried.ID); !slices.Equal(got, []store.RecipientState{store.Failed}) {
			t.Fatalf("the other: %v", got)
		}
	})
}

// What may have been accepted stays unknown.
func TestGiveUpUnknown(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		m := w.message("a@example.net", "b@example.net")
		w.accept(t, m)
		o := w.outcome(w.one(t), store.Unknown, store.Deferred)
		o.Recipients[0].Again, o.NextDue = true, w.clock.now().Add(10*time.Minute)
		w.record(t, o)
		w.clock.pass(giveUpAfter + time.Minute)
		w.giveUp(t, 1, 0)
		if got := w.states(t, m.ID); !slices.Equal(got, []store.RecipientState{store.Unknown, store.Failed}) {
			t.Fatalf("%v", got)
		}
		if d := w.detail(t, m.ID); d.State != store.MessageState(store.Unknown) || d.FinishedAt.IsZero() {
			t.Fatalf("%+v", d)
		}
	})
}

func TestGiveUpMany(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		other, admin := newTenant(t, w.Store, "other")
		theirs := newRelay(t, other, "theirs")
		const each = 700 // more than one transaction takes
		for tenant, user := range map[store.Tenant]uuid.UUID{w.tenant: w.user, other: admin.ID} {
			var list []store.NewMessage
			for range each {
				m := w.message()
				m.UserID = user
				if tenant == other {
					m.RelayID = theirs.ID
				}
				list = append(list, m)
			}
			if _, err := tenant.Accept(t.Context(), list, nil); err != nil {
				t.Fatal(err)
			}
		}
		w.clock.pass(giveUpAfter)
		w.down(t, "down")
		if err := w.SaveRelayState(t.Context(), theirs.ID, store.RelayState{NotBefore: w.clock.now().Add(time.Hour)}, w.node); err != nil {
			t.Fatal(err)
		}
		w.giveUp(t, 2*each, 0)
		if depth := must[store.SpoolDepth](t)(w.SpoolDepth(t.Context())); depth.Messages != 0 {
			t.Fatalf("%d messages wait", depth.Messages)
		}
		list, _, err := other.Messages(t.Context(), store.MessageFilter{State: store.MessageState(store.Failed)}, store.Page{Limit: 1})
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		d := must[store.MessageDetail](t)(other.Message(t.Context(), list[0].ID))
		if d.Recipients[0].Text != "given up after 72h0m0s: it could not be tried" {
			t.Fatalf("%+v", d.Recipients)
		}
	})
}
