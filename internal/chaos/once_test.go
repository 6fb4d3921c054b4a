package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/smtp/smtptest"
)

// onEach runs a test on a service of its own on each database, and on three nodes that callers reach through a load balancer. The
// service is killed in these tests, the database is not.
func onEach(t *testing.T, test func(t *testing.T, w *world)) {
	program(t) // or skip
	t.Run(sqlite, func(t *testing.T) { test(t, newWorld(t, sqlite, nil)) })
	t.Run(postgresql, func(t *testing.T) { test(t, newWorld(t, postgresql, pgtest.Shared(t))) })
	t.Run(cluster, func(t *testing.T) { test(t, newBalanced(t)) })
}

// TestOneKey: a thousand requests at the same time with one Idempotency-Key, and two kill -9 in between, make one message.
func TestOneKey(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		const requests = 1000
		e := w.ledger.add(true)
		body := letter(e, w.relays[0], 2000)
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		defer cancel()
		var group sync.WaitGroup
		var done atomic.Int64
		wrong := make(chan error, requests)
		begin := make(chan struct{})
		for range requests {
			group.Go(func() {
				<-begin
				for { // as a caller does that must know
					err := w.caller.post(ctx, e, "order-4711", body, w.ledger)
					if err == nil {
						done.Add(1)
						return
					}
					if !later(err) || !pause(ctx, 100*time.Millisecond) {
						wrong <- err
						return
					}
				}
			})
		}
		close(begin)
		// The first one dies at once, most likely before it has answered anybody, the second one between answers.
		for life, answers := range []int64{0, 30} {
			within(t, fmt.Sprintf("%d requests are answered", answers), func() bool { return done.Load() >= answers })
			n := w.nodes[life%len(w.nodes)]
			n.kill(t)
			n.start(t)
		}
		group.Wait()
		close(wrong)
		for err := range wrong {
			t.Errorf("a request was not answered as it should be: %v", err)
		}
		if done.Load() != requests {
			t.Errorf("%d requests were answered, want %d", done.Load(), requests)
		}
		entries := w.ledger.all()
		w.settle(t, entries)
		w.judge(t, entries, nil)
		states, err := w.states(t.Context(), 10)
		if err != nil || len(states) != 1 {
			t.Errorf("there are %d messages, %v, want 1: %v", len(states), err, states)
		}
		// The same key with another message is refused, also by the third life.
		other := letter(w.ledger.add(true), w.relays[0], 100)
		err = w.caller.ask(t.Context(), http.MethodPost, "/v1/messages", "order-4711", other, nil)
		if refused, ok := errors.AsType[*refusedError](err); !ok || refused.status != http.StatusUnprocessableEntity {
			t.Errorf("another message under the key: %v, want 422", err)
		}
	})
}

// TestFinalReplyDropped: a relay takes a message and the reply that says so is lost. Under hold that is the end; under retry
// the message waits at least ten minutes for its second try.
func TestFinalReplyDropped(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.receiver.behave(smtptest.Rule{Command: smtptest.CommandContent, Action: acceptAndDrop()})
		hold, retry := w.ledger.add(true), w.ledger.add(false)
		for _, e := range []*entry{hold, retry} {
			if err := w.caller.insist(t.Context(), e, letter(e, w.relays[0], 1000), w.ledger); err != nil {
				t.Fatal(err)
			}
		}
		w.settle(t, w.ledger.all())
		w.receiver.behave()
		// Further messages leave, and another life of the service changes nothing.
		for range 2 {
			e := w.ledger.add(true)
			if err := w.caller.insist(t.Context(), e, letter(e, w.relays[0], 1000), w.ledger); err != nil {
				t.Fatal(err)
			}
			within(t, "another message arrives", func() bool { return w.receiver.count(e.id) == 1 })
			w.nodes[0].kill(t)
			w.nodes[0].start(t)
			w.nodes[0].ready(t)
		}
		w.settle(t, w.ledger.all())
		w.judge(t, w.ledger.all(), nil)

		m := w.story(t, hold.message)
		if m.State != stateUnknown || len(m.Recipients) != 1 || m.Recipients[0].State != stateUnknown || m.NextDue != nil || m.Attempts != 1 {
			t.Errorf("under hold: %+v, want unknown, after one attempt, for ever", m)
		}
		m = w.story(t, retry.message)
		if len(m.History) != 1 || m.History[0].Status != stateUnknown || m.NextDue == nil {
			t.Fatalf("under retry: %+v, want one attempt that is unknown, and a time for the next", m)
		}
		if wait := m.NextDue.Sub(m.History[0].EndedAt); wait < 10*time.Minute {
			t.Errorf("under retry the second try is %v after the first, want 10 minutes at least", wait)
		}
		for _, e := range []*entry{hold, retry} {
			if n := w.receiver.count(e.id); n != 1 {
				t.Errorf("%d copies arrived, hold %v, want 1", n, e.hold)
			}
		}
	})
}
