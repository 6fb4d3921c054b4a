package dispatch_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/dispatch"
	"github.com/postrider/postrider/internal/store"
)

// A stop lets what is being sent end, gives back the rest, and starts nothing more.
func TestStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(nil)
		r := newRig(t, s, sentIn(3*time.Second), nil)
		s.accept(relay, uuid.New(), store.ClassTransactional, 100, nil)
		wait(time.Second)
		start := time.Now()
		r.end(t)
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
		if open, _ := s.left(); open != 90 || r.cutOff != 0 || len(r.attempts()) != 10 {
			t.Errorf("%d messages open, %d attempts, %d cut off", open, len(r.attempts()), r.cutOff)
		}
		s.accept(relay, uuid.New(), store.ClassTransactional, 1, nil)
		wait(time.Minute)
		if n := len(r.attempts()); n != 10 {
			t.Errorf("%d messages were sent after the stop", n-10)
		}
	})
}

// What takes too long is cut off.
func TestStopWithin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(nil)
		r := newRig(t, s, sentIn(time.Hour), func(c *dispatch.Config) { c.StopWithin = 5 * time.Second })
		s.accept(relay, uuid.New(), store.ClassTransactional, 100, nil)
		wait(time.Second)
		start := time.Now()
		r.end(t)
		if took := time.Since(start); took != 5*time.Second || r.cutOff != 10 {
			t.Errorf("it took %v, %d were cut off", took, r.cutOff)
		}
	})
}

// A stop ends also while the store is away.
func TestStopWithoutStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(nil)
		r := newRig(t, s, sentIn(100*time.Millisecond), func(c *dispatch.Config) { c.StopWithin = 5 * time.Second })
		s.accept(relay, uuid.New(), store.ClassTransactional, 100, nil)
		wait(150 * time.Millisecond)
		s.mu.Lock()
		s.down = fmt.Errorf("disk: %w", store.ErrUnavailable)
		s.mu.Unlock()
		wait(time.Second)
		r.stop()
		start := time.Now()
		if err := <-r.done; err != nil || time.Since(start) > 10*time.Second {
			t.Errorf("it took %v: %v", time.Since(start), err)
		}
		// The next process settles what this one held.
		s.mu.Lock()
		s.down = nil
		s.mu.Unlock()
		next := newRig(t, s, sentIn(100*time.Millisecond), nil)
		wait(10 * time.Second)
		if open, _ := s.left(); open > 0 {
			t.Errorf("%d messages were never sent", open)
		}
		next.end(t)
	})
}

// While the store is away nothing is started; when it is back everything goes on.
func TestStoreAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(nil)
		var mu sync.Mutex
		unrecorded := 0
		r := newRig(t, s, sentIn(100*time.Millisecond), func(c *dispatch.Config) {
			c.Unrecorded = func() int {
				mu.Lock()
				defer mu.Unlock()
				return unrecorded
			}
		})
		set := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			unrecorded = n
		}
		s.accept(relay, uuid.New(), store.ClassTransactional, 500, nil)
		wait(time.Second)
		set(3)
		wait(time.Second)
		n := len(r.attempts())
		wait(10 * time.Second)
		if m := len(r.attempts()); m > n || n > 120 {
			t.Errorf("%d messages were started while outcomes could not be recorded, %d before", m-n, n)
		}
		if r.d.Stats().StoreDown == "" {
			t.Error("nobody is told that the store is away")
		}
		set(0)
		wait(2 * time.Second)
		if m := len(r.attempts()); m == n {
			t.Error("sending does not go on")
		}
		s.mu.Lock()
		s.down = fmt.Errorf("away: %w", store.ErrUnavailable)
		s.mu.Unlock()
		wait(2 * time.Second)
		n = len(r.attempts())
		wait(10 * time.Second)
		if m := len(r.attempts()); m > n {
			t.Errorf("%d messages were started while the store was away", m-n)
		}
		s.mu.Lock()
		s.down = nil
		// Outcomes of this test's lane are lost when the store is away: another incarnation would settle them.
		for _, r := range s.rows {
			r.claim = uuid.Nil
		}
		s.mu.Unlock()
		wait(20 * time.Second)
		if open, _ := s.left(); open > 0 || r.d.Stats().StoreDown != "" {
			t.Errorf("%d messages have not left; %q", open, r.d.Stats().StoreDown)
		}
		r.end(t)
	})
}

// What a process before held is settled when the next one starts: what was not marked is sent, what was is unknown.
func TestClaimsOfTheDead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(nil)
		dead := uuid.New()
		n := 0
		s.accept(relay, uuid.New(), store.ClassTransactional, 10, func(r *row) {
			r.claim, r.marked = dead, n < 3
			n++
		})
		r := newRig(t, s, sentIn(time.Millisecond), nil)
		wait(100 * time.Millisecond)
		if sent := len(r.attempts()); sent != 7 {
			t.Errorf("%d messages were sent, want 7", sent)
		}
		r.end(t)
	})
}

// locks is a Locker whose rights can be taken away.
type locks struct {
	mu    sync.Mutex
	mine  bool
	lost  chan struct{}
	held  map[uuid.UUID]bool
	tries int
}

func (l *locks) TryLock(_ context.Context, id uuid.UUID) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries++
	if l.mine {
		l.held[id] = true
	}
	return l.mine, nil
}

func (l *locks) Unlock(_ context.Context, id uuid.UUID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, id)
	return nil
}

func (l *locks) Lost() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

func (*locks) Held() bool { return true }

// A relay that another node drains is left to it. When the rights are lost no message is started from that moment on.
func TestLocks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(nil)
		l := &locks{lost: make(chan struct{}), held: map[uuid.UUID]bool{}}
		r := newRig(t, s, sentIn(100*time.Millisecond), func(c *dispatch.Config) { c.Locks = l })
		s.accept(relay, uuid.New(), store.ClassTransactional, 1000, nil)
		wait(5 * time.Second)
		if n := len(r.attempts()); n > 0 || l.tries < 4 || l.tries > 10 {
			t.Errorf("%d messages of another node's relay were sent; tried for the lock %d times", n, l.tries)
		}
		l.mu.Lock()
		l.mine = true
		l.mu.Unlock()
		wait(2 * time.Second)
		l.mu.Lock()
		old := l.lost
		l.mine, l.lost, l.held = false, make(chan struct{}), map[uuid.UUID]bool{}
		l.mu.Unlock()
		n := len(r.attempts())
		if n == 0 || n > 250 {
			t.Errorf("%d messages were sent in two seconds", n)
		}
		close(old)
		wait(10 * time.Second)
		if m := len(r.attempts()); m > n {
			t.Errorf("%d messages were started after the lock was lost", m-n)
		}
		l.mu.Lock()
		l.mine = true
		l.mu.Unlock()
		wait(15 * time.Second)
		if open, _ := s.left(); open > 0 {
			t.Errorf("%d messages have not left", open)
		}
		r.end(t)
		if len(l.held) > 0 {
			t.Error("a lock was not given back")
		}
	})
}

// Relays share the messages that may be sent at the same time; one that hangs does not stop the others.
func TestRelaysShare(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		hangs := s.relay(func(r *store.DeliveryRelay) { r.Limits.MaxConns = 50 })
		good := []uuid.UUID{s.relay(nil), s.relay(nil), s.relay(nil)}
		r := newRig(t, s, func(m store.Claimed, _ int) (delivery.Verdict, time.Duration) {
			if m.RelayID == hangs {
				return delivery.Verdict{Sent: 1}, time.Hour
			}
			return delivery.Verdict{Sent: 1}, 20 * time.Millisecond
		}, func(c *dispatch.Config) { c.MaxConcurrent = 20; c.StopWithin = -1 })
		s.accept(hangs, uuid.New(), store.ClassTransactional, 100, nil)
		wait(time.Second)
		for _, g := range good {
			s.accept(g, uuid.New(), store.ClassTransactional, 200, nil)
		}
		wait(4 * time.Second)
		left := map[uuid.UUID]int{}
		for _, m := range s.rows {
			if !m.ended {
				left[m.RelayID]++
			}
		}
		for _, g := range good {
			if left[g] > 0 {
				t.Errorf("%d messages of a good relay have not left", left[g])
			}
		}
		if r.most > 20 {
			t.Errorf("%d messages at the same time, limit 20", r.most)
		}
		r.end(t)
	})
}

// With more relays than are drained at the same time all get their turn, also when some never run out.
func TestManyRelays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		r := newRig(t, s, sentIn(time.Second), func(c *dispatch.Config) { c.MaxRelays = 4; c.DefaultConns = 1 })
		for range 3 { // these have enough for a long time
			s.accept(s.relay(nil), uuid.New(), store.ClassTransactional, 300, nil)
		}
		synctest.Wait()
		last := map[uuid.UUID]bool{}
		for range 20 {
			id := s.relay(nil)
			last[id] = true
			s.accept(id, uuid.New(), store.ClassTransactional, 1, nil)
		}
		wait(40 * time.Second)
		for _, m := range r.attempts() {
			delete(last, m.RelayID)
		}
		if len(last) > 0 {
			t.Errorf("%d relays had no turn in 40 s", len(last))
		}
		r.end(t)
	})
}

// A relay whose settings do not work is left alone until they are changed.
func TestSettingsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(func(r *store.DeliveryRelay) { r.Host = "10.0.0.1" })
		r := newRig(t, s, func(store.Claimed, int) (delivery.Verdict, time.Duration) {
			if s.relays[relay].Host == "10.0.0.1" {
				return delivery.Verdict{Released: true, ConfigRefused: true, Reason: "not an allowed network"}, 0
			}
			return delivery.Verdict{Sent: 1}, 0
		}, nil)
		s.accept(relay, uuid.New(), store.ClassTransactional, 100, nil)
		wait(4 * time.Minute)
		if n := len(r.attempts()); n > 10 {
			t.Errorf("%d attempts in four minutes", n)
		}
		s.mu.Lock()
		if st := s.relays[relay].State; st.Reason != "the relay's settings do not work: not an allowed network" || s.relays[relay].NotBefore.IsZero() {
			t.Errorf("nobody is told: %+v", st)
		}
		s.mu.Unlock()
		s.update(relay, func(r *store.DeliveryRelay) {
			r.Host, r.NotBefore, r.State = "mail.example.com", time.Time{}, store.RelayState{}
		})
		wait(3 * time.Second)
		if open, _ := s.left(); open > 0 {
			t.Errorf("%d messages have not left", open)
		}
		r.end(t)
	})
}

// A relay that is deleted while it is drained is let go of.
func TestRelayDeleted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(nil)
		r := newRig(t, s, sentIn(100*time.Millisecond), nil)
		s.accept(relay, uuid.New(), store.ClassTransactional, 1000, nil)
		wait(time.Second)
		s.mu.Lock()
		delete(s.relays, relay)
		s.mu.Unlock()
		wait(3 * time.Second)
		if n := len(r.d.Stats().Relays); n != 0 {
			t.Error("it is still being drained")
		}
		r.end(t)
	})
}
