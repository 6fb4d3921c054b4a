package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

func TestLife(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		m := w.message("a@example.net", "b@example.net", "c@example.net")
		m.Recipients[2].State = store.Suppressed
		m.Tags, m.Metadata, m.DSN = []string{"x", "y"}, []byte(`{"k":1}`), []byte(`{"return":"HDRS"}`)
		w.accept(t, m)

		due := must[[]store.DueRelay](t)(w.DueRelays(t.Context(), w.clock.now(), 0))
		if len(due) != 1 || due[0].ID != w.relay.ID || !due[0].OldestDue.Equal(w.clock.now()) {
			t.Fatalf("due relays: %+v", due)
		}
		turns := must[[]store.DueTenant](t)(w.DueTenants(t.Context(), w.relay.ID, w.clock.now()))
		if len(turns) != 1 || turns[0].Tenant != w.tenant.ID() {
			t.Fatalf("due tenants: %+v", turns)
		}

		c := w.one(t)
		if c.MessageID != m.ID || c.Attempt != 1 || string(c.Content) != string(m.Content) || len(c.Recipients) != 2 || c.Recipients[1].Address != "b@example.net" {
			t.Fatalf("claimed %+v", c)
		}
		if d := w.detail(t, m.ID); d.State != store.MessageState(store.Sending) || d.Recipients[0].State != store.Sending || d.Recipients[2].State != store.Suppressed {
			t.Fatalf("while it is sent: %+v", d)
		}
		if again := w.claim(t, 10); len(again) != 0 {
			t.Fatalf("claimed twice: %+v", again)
		}

		o := w.outcome(c, store.Sent, store.Deferred)
		o.NextDue = w.clock.now().Add(time.Minute)
		w.record(t, o)
		if got := w.states(t, m.ID); !slices.Equal(got, []store.RecipientState{store.Sent, store.Deferred, store.Suppressed}) {
			t.Fatalf("after the first attempt: %v", got)
		}
		if list := w.claim(t, 10); len(list) != 0 {
			t.Fatal("claimed before it is due")
		}
		if next := must[time.Time](t)(w.NextDue(t.Context())); !next.Equal(o.NextDue) {
			t.Fatalf("next due %v, want %v", next, o.NextDue)
		}

		w.clock.pass(time.Minute)
		c = w.one(t)
		if c.Attempt != 2 || len(c.Recipients) != 1 || c.Recipients[0].N != 2 || c.Recipients[0].State != store.Deferred {
			t.Fatalf("second claim %+v", c)
		}
		w.record(t, w.outcome(c, store.Sent))
		d := w.detail(t, m.ID)
		if d.State != store.MessageState(store.Sent) || !d.FinishedAt.Equal(w.clock.now()) || d.Message.Attempts != 2 || len(d.Attempts) != 2 {
			t.Fatalf("at the end: %+v", d)
		}
		if d.Attempts[0].Transcript != "" || d.Attempts[1].Transcript == "" {
			t.Fatalf("transcripts: %+v", d.Attempts)
		}
		if next := must[time.Time](t)(w.NextDue(t.Context())); !next.IsZero() {
			t.Fatalf("next due %v of an empty spool", next)
		}
		if err := w.Record(t.Context(), w.outcome(c, store.Sent)); !errors.Is(err, store.ErrNotMine) {
			t.Fatalf("recorded twice: %v", err)
		}
	})
}
