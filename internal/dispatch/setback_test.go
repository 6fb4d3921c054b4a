package dispatch_test

import (
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/dispatch"
	"github.com/postrider/postrider/internal/store"
)

// A clock that is set back by an hour, as by a fail-over to a server whose clock is right, stops nothing: neither a relay that is being drained, nor the
// look at the whole spool.
func TestClockSetBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(func(r *store.DeliveryRelay) { r.Limits.MessagesPerMinute = 600 })
		var ahead atomic.Int64
		ahead.Store(int64(time.Hour))
		r := newRig(t, s, nil, func(c *dispatch.Config) {
			c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		})
		tenant := uuid.New()
		s.accept(relay, tenant, store.ClassTransactional, 10, nil)
		wait(2 * time.Second)
		ahead.Store(0)
		s.accept(relay, tenant, store.ClassTransactional, 10, nil)
		wait(5 * time.Second)
		if n := len(r.attempts()); n != 20 {
			t.Errorf("%d messages of 20 are sent 5 s after the clock was set back", n)
		}
		// Of this nothing is announced: it is found by the look.
		s.accept(s.relay(nil), tenant, store.ClassTransactional, 1, func(r *row) { r.due = time.Now().Add(20 * time.Second) })
		wait(30 * time.Second)
		if n := len(r.attempts()); n != 21 {
			t.Errorf("%d messages of 21 are sent when the last was due", n)
		}
		r.end(t)
	})
}

// What was given back is not sent by who gave it back, whatever the store said: it may have given it out again.
func TestGivenBackIsNotSentTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(func(r *store.DeliveryRelay) { r.Limits.MaxConns = 2 })
		r := newRig(t, s, func(_ store.Claimed, n int) (delivery.Verdict, time.Duration) {
			if n == 0 {
				// The relay is held for a moment, and what is in hand given back.
				return delivery.Verdict{Deferred: 1, RetryAfter: 300 * time.Millisecond}, 100 * time.Millisecond
			}
			return delivery.Verdict{Sent: 1}, 200 * time.Millisecond
		}, nil)
		s.mu.Lock()
		s.torn = fmt.Errorf("%w: %w", store.ErrUnavailable, io.ErrUnexpectedEOF)
		s.mu.Unlock()
		s.accept(relay, uuid.New(), store.ClassTransactional, 10, nil)
		wait(500 * time.Millisecond)
		s.mu.Lock()
		s.torn = nil
		s.mu.Unlock()
		wait(time.Minute)
		times := map[uuid.UUID]int{}
		for _, a := range r.attempts() {
			times[a.MessageID]++
		}
		more := 0
		for _, n := range times {
			more += n - 1
		}
		if len(times) != 10 || more != 1 { // one was deferred
			t.Errorf("%d messages of 10 were sent, %d of them once more", len(times), more)
		}
		r.end(t)
	})
}
