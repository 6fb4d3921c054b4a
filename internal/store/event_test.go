package store_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		user := newUser(t, w.tenant, "u@example.com", "user")
		m := w.message("a@example.net", "b@example.net", "s@example.net")
		m.Recipients[2].State = store.Suppressed
		w.accept(t, m)
		o := w.outcome(w.one(t), store.Sent, store.Unknown)
		o.Recipients[1].Again, o.NextDue = true, w.clock.now()
		w.record(t, o)
		w.record(t, w.outcome(w.one(t), store.Failed))
		theirs := w.message()
		theirs.UserID = user.ID
		w.accept(t, theirs)
		if _, err := w.tenant.PauseRelay(t.Context(), w.relay.ID, "holidays", by()); err != nil {
			t.Fatal(err)
		}

		type seen struct {
			kind store.EventKind
			n    int
			to   string
		}
		all := must[[]store.Event](t)(w.tenant.Events(t.Context(), store.EventFilter{}, 0, 0))
		var got []seen
		for i, e := range all {
			if e.Seq != int64(i+1) {
				t.Errorf("event %d has number %d", i, e.Seq)
			}
			got = append(got, seen{e.Kind, e.N, e.Recipient})
		}
		want := []seen{
			{"queued", 0, ""},
			{"suppressed", 3, "s@example.net"},
			{"sent", 1, "a@example.net"},
			{"unknown", 2, "b@example.net"},
			{"failed", 2, "b@example.net"},
			{"queued", 0, ""},
			{store.EventRelayPaused, 0, ""},
		}
		if !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
		if e := all[4]; e.Attempt != 2 || e.Code != 550 || e.MessageID != m.ID || e.UserID != w.user || e.RelayID != w.relay.ID {
			t.Errorf("event: %+v", e)
		}
		for name, c := range map[string]struct {
			filter store.EventFilter
			after  int64
			limit  int
			want   []int64
		}{
			"after":   {store.EventFilter{}, 5, 0, []int64{6, 7}},
			"limit":   {store.EventFilter{}, 2, 3, []int64{3, 4, 5}},
			"user":    {store.EventFilter{UserID: user.ID}, 0, 0, []int64{6}},
			"message": {store.EventFilter{MessageID: theirs.ID}, 0, 0, []int64{6}},
			"kind":    {store.EventFilter{Kind: "queued"}, 0, 0, []int64{1, 6}},
		} {
			var seqs []int64
			for _, e := range must[[]store.Event](t)(w.tenant.Events(t.Context(), c.filter, c.after, c.limit)) {
				seqs = append(seqs, e.Seq)
			}
			if !slices.Equal(seqs, c.want) {
				t.Errorf("%s: %v, want %v", name, seqs, c.want)
			}
		}
		if last := must[int64](t)(w.tenant.LastEvent(t.Context())); last != 7 {
			t.Errorf("last event %d", last)
		}
	})
}

// Whoever follows the numbers while several processes commit for several tenants sees each event once and none twice: no number
// appears later below one that was read.
func TestEventsInCommitOrder(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		second, admin := newTenant(t, w.Store, "second")
		relay := newRelay(t, second, "main")
		stores := []*store.Store{w.Store, w.again()}
		const each = 60
		var writers, reader sync.WaitGroup
		finished := make(chan struct{})
		for i, s := range stores {
			writers.Go(func() {
				for k := range each {
					m, tenant := w.message(), s.Tenant(w.tenant.ID())
					if k%3 == 0 {
						m.UserID, m.RelayID, tenant = admin.ID, relay.ID, s.Tenant(second.ID())
					}
					if _, err := tenant.Accept(t.Context(), []store.NewMessage{m}, nil); err != nil {
						t.Error(err)
					}
				}
			})
			writers.Go(func() { // outcomes of another role, at the same counters
				for range each / 4 {
					list, err := s.Claim(t.Context(), store.ClaimRequest{Relay: w.relay.ID, Tenant: w.tenant.ID(), Limit: 2, Node: w.node})
					if err != nil {
						t.Error(err)
					}
					for _, c := range list {
						if err := stores[1-i].Record(t.Context(), w.outcome(c, store.Sent)); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		for _, tenant := range []uuid.UUID{w.tenant.ID(), second.ID()} {
			reader.Go(func() {
				after, over := int64(0), false
				for {
					events, err := w.Tenant(tenant).Events(t.Context(), store.EventFilter{}, after, 10)
					if err != nil {
						t.Error(err)
						return
					}
					for _, e := range events {
						if e.Seq != after+1 {
							t.Errorf("event %d after %d", e.Seq, after)
						}
						after = e.Seq
					}
					if len(events) == 0 && over {
						return
					}
					select {
					case <-finished:
						over = true
					default:
					}
				}
			})
		}
		writers.Wait()
		close(finished)
		reader.Wait()
		if last := must[int64](t)(second.LastEvent(t.Context())); last != 2*each/3 {
			t.Errorf("the second tenant has %d events", last)
		}
	})
}
