package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

func TestCancel(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		m := w.message("a@example.net", "b@example.net")
		w.accept(t, m)
		c := w.one(t)
		if err := w.tenant.Cancel(t.Context(), m.ID, by()); !errors.Is(err, store.ErrClaimed) {
			t.Fatalf("while it is sent: %v", err)
		}
		o := w.outcome(c, store.Sent, store.Deferred)
		o.NextDue = w.clock.now()
		w.record(t, o)
		if err := w.tenant.Cancel(t.Context(), m.ID, by()); err != nil {
			t.Fatal(err)
		}
		if got := w.states(t, m.ID); !slices.Equal(got, states{store.Sent, store.Canceled}) {
			t.Errorf("recipients are %v", got)
		}
		if d := w.detail(t, m.ID); d.State != store.MessageState(store.Sent) || d.FinishedAt.IsZero() {
			t.Errorf("message is %s, finished %v", d.State, d.FinishedAt)
		}
		if err := w.tenant.Cancel(t.Context(), m.ID, by()); !errors.Is(err, store.ErrFinished) {
			t.Errorf("a second time: %v", err)
		}
		if err := w.tenant.Cancel(t.Context(), store.NewID(), by()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("what does not exist: %v", err)
		}
		if list := w.claim(t, 1); len(list) != 0 {
			t.Errorf("left in the spool: %+v", list)
		}
	})
}

func TestReschedule(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		m := w.message()
		m.SendAt = w.clock.now().Add(time.Hour)
		w.accept(t, m)
		if list := w.claim(t, 1); len(list) != 0 {
			t.Fatal("claimed before its time")
		}
		later := w.clock.now().Add(100 * time.Hour)
		if err := w.tenant.Reschedule(t.Context(), m.ID, later, by()); err != nil {
			t.Fatal(err)
		}
		if d := w.detail(t, m.ID); !d.NextDue.Equal(later) || !d.SendAt.Equal(later) || !d.GiveUpAt.After(later) {
			t.Errorf("rescheduled: %+v", d.Message)
		}
		var told []uuid.UUID
		w.OnAccepted(func(relays []uuid.UUID) { told = relays })
		if err := w.tenant.Reschedule(t.Context(), m.ID, time.Time{}, by()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(told, []uuid.UUID{w.relay.ID}) {
			t.Errorf("announced %v", told)
		}
		w.record(t, w.outcome(w.one(t), store.Sent))
		if err := w.tenant.Reschedule(t.Context(), m.ID, later, by()); !errors.Is(err, store.ErrFinished) {
			t.Errorf("a finished one: %v", err)
		}
	})
}

func TestRetry(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		m := w.message("a@example.net", "b@example.net", "c@example.net")
		w.accept(t, m)
		w.record(t, w.outcome(w.one(t), store.Sent, store.Failed, store.Unknown))
		w.clock.pass(100 * time.Hour) // longer than it would have been tried
		if err := w.tenant.Retry(t.Context(), m.ID, by()); err != nil {
			t.Fatal(err)
		}
		if d := w.detail(t, m.ID); !d.FinishedAt.IsZero() || !d.GiveUpAt.After(w.clock.now()) || d.State != store.MessageState(store.Queued) {
			t.Errorf("retried: %+v", d.Message)
		}
		c := w.one(t)
		if c.Attempt != 2 || len(c.Recipients) != 2 || c.Recipients[0].N != 2 {
			t.Fatalf("claimed %+v", c)
		}
		if err := w.tenant.Retry(t.Context(), m.ID, by()); !errors.Is(err, store.ErrClaimed) {
			t.Errorf("while it is sent: %v", err)
		}
		w.record(t, w.outcome(c, store.Sent))
		if err := w.tenant.Retry(t.Context(), m.ID, by()); !errors.Is(err, store.ErrFinished) {
			t.Errorf("when all is sent: %v", err)
		}
		stats := must[store.Stats](t)(w.tenant.Stats(t.Context(), time.Time{}, time.Time{}))
		if stats.Waiting != 0 {
			t.Errorf("%d wait", stats.Waiting)
		}
	})
}

func TestDelete(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		open1, sent := w.message(), w.message()
		sent.Tags = []string{"x"}
		w.accept(t, sent)
		c := w.one(t)
		if err := w.tenant.Delete(t.Context(), sent.ID, by()); !errors.Is(err, store.ErrClaimed) {
			t.Errorf("while it is sent: %v", err)
		}
		w.record(t, w.outcome(c, store.Sent))
		w.accept(t, open1)
		for _, m := range []store.NewMessage{open1, sent} {
			if err := w.tenant.Delete(t.Context(), m.ID, by()); err != nil {
				t.Fatal(err)
			}
			if _, err := w.tenant.Message(t.Context(), m.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("read after deletion: %v", err)
			}
			if _, err := w.OpenContent(t.Context(), w.tenant.ID(), m.ID); !errors.Is(err, store.ErrContentGone) {
				t.Errorf("content after deletion: %v", err)
			}
		}
		for _, table := range []string{"messages", "recipients", "attempts", "contents", "spool"} {
			var n int
			err := w.Run(t.Context(), uuid.Nil, store.ReadOnly, func(q store.TestTx) error {
				return q.Row(t.Context(), "select count(*) from "+table, nil, &n)
			})
			if err != nil || n != 0 {
				t.Errorf("%d rows of %s are left: %v", n, table, err)
			}
		}
		if d := must[store.SpoolDepth](t)(w.SpoolDepth(t.Context())); d.Messages != 0 {
			t.Errorf("%d wait", d.Messages)
		}
		for _, e := range must[[]store.Event](t)(w.tenant.Events(t.Context(), store.EventFilter{}, 0, 0)) {
			if e.Recipient != "" {
				t.Errorf("an address is left: %+v", e)
			}
		}
	})
}

func TestMessageLists(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		second := newRelay(t, w.tenant, "second")
		user := newUser(t, w.tenant, "u@example.com", "user")
		begin := w.clock.now()
		made := map[string]uuid.UUID{}
		for i, c := range []struct {
			name   string
			state  store.RecipientState
			change func(*store.NewMessage)
		}{
			{"sent", store.Sent, func(m *store.NewMessage) { m.Tags = []string{"x"} }},
			{"failed", store.Failed, func(m *store.NewMessage) { m.UserID = user.ID }},
			{"unknown", store.Unknown, func(m *store.NewMessage) { m.Recipients[0].Address = "Carol@Example.net" }},
			{"deferred", store.Deferred, func(*store.NewMessage) {}},
			{"test", store.Sent, func(m *store.NewMessage) { m.Test = true }},
			{"queued", "", func(m *store.NewMessage) { m.RelayID = second.ID }},
			{"scheduled", "", func(m *store.NewMessage) { m.SendAt = begin.Add(time.Hour) }},
		} {
			w.clock.pass(time.Second)
			m := w.message()
			c.change(&m)
			made[c.name] = m.ID
			w.accept(t, m)
			if c.state == "" {
				continue
			}
			o := w.outcome(w.one(t), c.state)
			if c.state == store.Deferred {
				o.NextDue = begin.Add(time.Hour)
			}
			w.record(t, o)
			if got := w.detail(t, m.ID).CreatedAt; !got.Equal(begin.Add(time.Duration(i+1) * time.Second)) {
				t.Errorf("accepted at %v", got)
			}
		}
		yes, no := true, false
		for name, c := range map[string]struct {
			filter store.MessageFilter
			want   []string // the newest first
		}{
			"all":        {store.MessageFilter{}, []string{"scheduled", "queued", "test", "deferred", "unknown", "failed", "sent"}},
			"sent":       {store.MessageFilter{State: "sent"}, []string{"test", "sent"}},
			"failed":     {store.MessageFilter{State: "failed"}, []string{"failed"}},
			"unknown":    {store.MessageFilter{State: "unknown"}, []string{"unknown"}},
			"deferred":   {store.MessageFilter{State: "deferred"}, []string{"deferred"}},
			"queued":     {store.MessageFilter{State: "queued"}, []string{"scheduled", "queued"}},
			"sending":    {store.MessageFilter{State: "sending"}, nil},
			"no state":   {store.MessageFilter{State: "delivered"}, nil},
			"user":       {store.MessageFilter{UserID: user.ID}, []string{"failed"}},
			"relay":      {store.MessageFilter{RelayID: second.ID}, []string{"queued"}},
			"tag":        {store.MessageFilter{Tag: "x"}, []string{"sent"}},
			"recipient":  {store.MessageFilter{Recipient: "carol@example.NET"}, []string{"unknown"}},
			"NUL":        {store.MessageFilter{Recipient: "a\x00"}, nil},
			"test":       {store.MessageFilter{Test: &yes}, []string{"test"}},
			"not test":   {store.MessageFilter{Test: &no, State: "sent"}, []string{"sent"}},
			"time":       {store.MessageFilter{From: begin.Add(2 * time.Second), To: begin.Add(4 * time.Second)}, []string{"unknown", "failed"}},
			"everything": {store.MessageFilter{State: "sent", Tag: "x", RelayID: w.relay.ID, UserID: w.user, Recipient: "bob@example.net", From: begin}, []string{"sent"}},
		} {
			var want []uuid.UUID
			for _, n := range c.want {
				want = append(want, made[n])
			}
			var got []uuid.UUID
			for _, m := range listAll(t, w.tenant, c.filter) {
				got = append(got, m.ID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: got %v, want %v (%v)", name, got, want, c.want)
			}
		}
		// Whichever filters come together, each takes its share: on SQLite one of them says which index is read.
		all := listAll(t, w.tenant, store.MessageFilter{})
		for _, f := range filtersTogether(user.ID, second.ID, &yes, &no) {
			want := slices.DeleteFunc(slices.Clone(all), func(m store.Message) bool {
				return f.UserID != uuid.Nil && m.UserID != f.UserID || f.RelayID != uuid.Nil && m.RelayID != f.RelayID ||
					f.State != "" && m.State != f.State || f.Test != nil && m.Test != *f.Test
			})
			if got := listAll(t, w.tenant, f); len(got) != len(want) {
				t.Errorf("%+v: %d messages, want %d", f, len(got), len(want))
			}
		}
		if list, _, err := w.tenant.Inbox(t.Context(), uuid.Nil, store.Page{}); err != nil || len(list) != 1 || list[0].ID != made["test"] {
			t.Errorf("inbox: %+v, %v", list, err)
		}
		if _, _, err := w.tenant.Messages(t.Context(), store.MessageFilter{}, store.Page{After: "nonsense"}); err == nil {
			t.Error("a bad cursor was taken")
		}
		stats := must[store.Stats](t)(w.tenant.Stats(t.Context(), begin, time.Time{}))
		if stats.Total.Accepted != 7 || stats.Total.Recipients[store.Sent] != 2 || stats.Relays[second.ID].Accepted != 1 || stats.Waiting != 3 {
			t.Errorf("stats: %+v", stats)
		}
		other, _ := newTenant(t, w.Store, "other")
		if list := listAll(t, other, store.MessageFilter{}); len(list) != 0 {
			t.Errorf("another tenant sees %+v", list)
		}
	})
}

// filtersTogether are all combinations of a user, a relay, a state and whether it is a test.
func filtersTogether(user, relay uuid.UUID, tests ...*bool) []store.MessageFilter {
	var all []store.MessageFilter
	for _, u := range []uuid.UUID{uuid.Nil, user} {
		for _, r := range []uuid.UUID{uuid.Nil, relay} {
			for _, s := range []store.MessageState{"", "queued", "sending", "deferred", "failed", "unknown", "sent", store.MessagePartial} {
				for _, test := range append([]*bool{nil}, tests...) {
					all = append(all, store.MessageFilter{UserID: u, RelayID: r, State: s, Test: test})
				}
			}
		}
	}
	return all
}
