package dispatch_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/dispatch"
	"github.com/postrider/postrider/internal/store"
)

// bubble runs f with a clock of its own.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

// wait lets time pass in the bubble.
func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func sentIn(took time.Duration) func(store.Claimed, int) (delivery.Verdict, time.Duration) {
	return func(m store.Claimed, _ int) (delivery.Verdict, time.Duration) {
		return delivery.Verdict{Sent: len(m.Recipients)}, took
	}
}

// Everything that is accepted is sent, as many at the same time as the relay takes.
func TestSendsAll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(func(r *store.DeliveryRelay) { r.Limits.MaxConns = 7 })
		r := newRig(t, s, sentIn(20*time.Millisecond), nil)
		s.accept(relay, uuid.New(), store.ClassTransactional, 1000, nil)
		wait(3 * time.Second) // 1000 messages of 20 ms over 7 connections are 2.86 s
		if open, _ := s.left(); open > 0 {
			t.Errorf("%d messages have not left", open)
		}
		if r.most != 7 {
			t.Errorf("%d at the same time, want 7", r.most)
		}
		if s.claimed > 60 {
			t.Errorf("%d were claimed at the same time; 35 leave in 100 ms", s.claimed)
		}
		wait(10 * time.Second)
		if n := len(r.d.Stats().Relays); n != 0 || r.closed != 1 {
			t.Errorf("an idle relay was not let go of: %d drained, %d lanes closed", n, r.closed)
		}
		r.end(t)
	})
}

// One message is sent at once, not at the next look; one that is due in 30 ms, then; one that is deferred, when it is due again.
func TestAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(nil)
		r := newRig(t, s, func(m store.Claimed, n int) (delivery.Verdict, time.Duration) {
			if n == 2 {
				return delivery.Verdict{Deferred: 1}, 0
			}
			return delivery.Verdict{Sent: 1}, 0
		}, nil)
		r.retryIn = 70 * time.Millisecond
		wait(1500 * time.Millisecond)
		start := time.Now()
		s.accept(relay, uuid.New(), store.ClassTransactional, 1, nil)
		synctest.Wait()
		s.accept(relay, uuid.New(), store.ClassTransactional, 1, func(r *row) { r.due = r.due.Add(30 * time.Millisecond) })
		wait(300 * time.Millisecond)
		s.accept(relay, uuid.New(), store.ClassTransactional, 1, nil)
		wait(300 * time.Millisecond)
		var got []time.Duration
		for _, m := range r.attempts() {
			got = append(got, m.at.Sub(start))
		}
		want := []time.Duration{0, 30 * time.Millisecond, 300 * time.Millisecond, 370 * time.Millisecond}
		if len(got) != len(want) {
			t.Fatalf("attempts after %v, want %v", got, want)
		}
		for i := range want {
			if late := got[i] - want[i]; late < 0 || late > 10*time.Millisecond {
				t.Errorf("attempts after %v, want %v", got, want)
				break
			}
		}
		r.end(t)
	})
}

// However much another tenant has queued, on its own relay or the same one, a message leaves after a bounded number of the other's.
func TestNewcomerLeavesSoon(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, took := range []time.Duration{time.Millisecond, 50 * time.Millisecond, time.Second} {
			s := newMemory()
			shared := s.relay(func(r *store.DeliveryRelay) { r.Limits.MaxConns = 10 })
			r := newRig(t, s, sentIn(took), nil)
			a, b := uuid.New(), uuid.New()
			s.accept(shared, a, store.ClassTransactional, 1500, nil)
			wait(10*took + 3*time.Millisecond)
			before := len(r.attempts())
			s.accept(shared, b, store.ClassTransactional, 1, nil)
			wait(3*took + 10*time.Millisecond)
			between := -1
			later := r.attempts()[before:]
			for _, m := range later {
				if m.TenantID == b {
					between = 0
					for _, o := range later {
						if o.at.Before(m.at) {
							between++
						}
					}
				}
			}
			// What is started before the store is asked, which is up to 10 ms later.
			if most := int(10*time.Millisecond/took) * 10; between < 0 || between > most {
				t.Errorf("sends of %v: %d messages of the other left before, want at most %d", took, between, most)
			}
			r.end(t)
		}
	})
}

// That holds, in messages, also when the store takes a second to answer.
func TestNewcomerWithSlowStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		s.slow = time.Second
		shared := s.relay(func(r *store.DeliveryRelay) { r.Limits.MaxConns = 10 })
		r := newRig(t, s, sentIn(10*time.Millisecond), nil)
		a, b := uuid.New(), uuid.New()
		s.accept(shared, a, store.ClassTransactional, 3000, nil)
		wait(10 * time.Second)
		for range 3 {
			before := len(r.attempts())
			s.accept(shared, b, store.ClassTransactional, 1, nil)
			// How long it takes depends on how many answers of the store, a second each, it falls behind; what counts is the others.
			seen := func() bool {
				return slices.ContainsFunc(r.attempts()[before:], func(m sending) bool { return m.TenantID == b })
			}
			for range 20 {
				if wait(time.Second); seen() {
					break
				}
			}
			between := -1
			for i, m := range r.attempts()[before:] {
				if m.TenantID == b {
					between = i
				}
			}
			if between < 0 || between > 420 { // twice 200, and what is under way
				t.Errorf("%d messages of the other left before", between)
			}
		}
		if open, _ := s.left(); open == 0 {
			t.Error("nothing was left of the backlog: nothing is proven")
		}
		wait(time.Minute)
		r.end(t)
	})
}

// The order of classes: transactional first, one bulk message in ten.
func TestClasses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(func(r *store.DeliveryRelay) { r.Limits.MaxConns = 2 })
		r := newRig(t, s, sentIn(10*time.Millisecond), nil)
		a, b := uuid.New(), uuid.New()
		s.accept(relay, a, store.ClassBulk, 300, nil)
		wait(200 * time.Millisecond)
		s.accept(relay, b, store.ClassTransactional, 200, nil)
		wait(20 * time.Millisecond)
		before := len(r.attempts())
		wait(500 * time.Millisecond)
		bulk := 0
		for _, m := range r.attempts()[before:] {
			if m.Class == store.ClassBulk {
				bulk++
			}
		}
		if n := len(r.attempts()) - before; n != 100 || bulk < 9 || bulk > 11 {
			t.Errorf("%d of %d messages were bulk, want 10 of 100", bulk, n)
		}
		r.end(t)
	})
}

// The relay never sees more messages in a minute than its limit, also when the dispatcher is stopped and another goes on.
func TestMinuteLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(func(r *store.DeliveryRelay) { r.Limits.MessagesPerMinute = 30 })
		s.accept(relay, uuid.New(), store.ClassTransactional, 200, nil)
		var all []sending
		for range 5 {
			r := newRig(t, s, sentIn(20*time.Millisecond), nil)
			wait(45 * time.Second)
			r.end(t)
			all = append(all, r.attempts()...)
		}
		for i := range all {
			n := 0
			for _, m := range all[i:] {
				if m.at.Sub(all[i].at) < time.Minute {
					n++
				}
			}
			if n > 30 {
				t.Fatalf("%d messages within a minute from message %d on", n, i)
			}
		}
		if len(all) < 100 { // 225 s
			t.Errorf("only %d messages left in 225 s with 30 a minute", len(all))
		}
	})
}

// A relay that asks to slow down gets fewer messages at the same time, and all again when it no longer does.
func TestSlowsDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(func(r *store.DeliveryRelay) { r.Limits.MaxConns = 8 })
		slow := true
		r := newRig(t, s, func(store.Claimed, int) (delivery.Verdict, time.Duration) {
			if slow {
				return delivery.Verdict{Deferred: 1, SlowDown: true, Reason: "451 busy"}, 50 * time.Millisecond
			}
			return delivery.Verdict{Sent: 1}, 50 * time.Millisecond
		}, nil)
		s.accept(relay, uuid.New(), store.ClassTransactional, 4000, nil)
		wait(5 * time.Second)
		stats := r.d.Stats().Relays
		if len(stats) != 1 || stats[0].Slots > 2 {
			t.Errorf("after 5 s of complaints: %+v", stats)
		}
		s.mu.Lock()
		if st := s.relays[relay].State; st.Window == 0 || st.Reason == "" {
			t.Errorf("nobody is told of the slow-down: %+v", st)
		}
		slow = false
		s.mu.Unlock()
		wait(80 * time.Second)
		if stats := r.d.Stats().Relays; len(stats) > 0 && stats[0].Slots != 8 {
			t.Errorf("80 s later: %+v", stats)
		}
		if open, _ := s.left(); open > 0 {
			t.Errorf("%d messages have not left", open)
		}
		r.end(t)
	})
}

// A relay that cannot be reached is tried less and less often, with one message; the others use up no attempts, and leave once it is back.
func TestCircuitOpens(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(nil)
		up := false
		r := newRig(t, s, func(store.Claimed, int) (delivery.Verdict, time.Duration) {
			if !up {
				return delivery.Verdict{Deferred: 1, RelayDown: true, Reason: "connection refused"}, time.Millisecond
			}
			return delivery.Verdict{Sent: 1}, time.Millisecond
		}, nil)
		s.accept(relay, uuid.New(), store.ClassTransactional, 500, nil)
		wait(10 * time.Minute)
		n := len(r.attempts())
		// Ten at once, then after 1, 2, 4, … 256 s and every five minutes.
		if n < 15 || n > 25 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		s.mu.Lock()
		st := s.relays[relay]
		if !st.NotBefore.After(time.Now()) || st.State.Reason != "the relay cannot be reached: connection refused" {
			t.Errorf("nobody is told: %+v", st.State)
		}
		up = true
		s.mu.Unlock()
		wait(6 * time.Minute)
		if open, _ := s.left(); open > 0 {
			t.Errorf("%d messages have not left", open)
		}
		if d := r.attempts()[n+1:]; len(d) > 0 && d[len(d)-1].at.Sub(d[0].at) > 10*time.Second {
			t.Errorf("it took %v to send the rest", d[len(d)-1].at.Sub(d[0].at))
		}
		r.end(t)
	})
}

// While connections are not even tried, messages are not claimed one after the other only to come back.
func TestRetryAfterHolds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(nil)
		r := newRig(t, s, func(_ store.Claimed, n int) (delivery.Verdict, time.Duration) {
			if n%10 == 0 {
				return delivery.Verdict{Deferred: 1, RelayDown: true, RetryAfter: 250 * time.Millisecond}, time.Millisecond
			}
			return delivery.Verdict{Released: true, RetryAfter: 250 * time.Millisecond}, time.Millisecond
		}, nil)
		s.accept(relay, uuid.New(), store.ClassTransactional, 1000, nil)
		wait(500 * time.Millisecond)
		if n := len(r.attempts()); n > 30 {
			t.Errorf("%d messages were tried within two pauses of the connections", n)
		}
		r.end(t)
	})
}

// A refused password pauses the relay at once, in sight of everybody; an hour later one message tries again, and if that works all go.
func TestAuthRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(nil)
		good := false
		r := newRig(t, s, func(store.Claimed, int) (delivery.Verdict, time.Duration) {
			if !good {
				return delivery.Verdict{Released: true, AuthRefused: true, Reason: "535 authentication failed"}, 30 * time.Millisecond
			}
			return delivery.Verdict{Sent: 1}, time.Millisecond
		}, nil)
		s.accept(relay, uuid.New(), store.ClassTransactional, 100, nil)
		wait(time.Minute)
		if n := len(r.attempts()); n > 10 {
			t.Errorf("%d messages were tried with a refused password", n)
		}
		s.mu.Lock()
		if p := s.relays[relay].Pause; p.Kind != store.PauseAuth || p.Reason != "535 authentication failed" || len(s.pauses) != 1 {
			t.Errorf("paused %d times: %+v", len(s.pauses), p)
		}
		s.mu.Unlock()
		tried := len(r.attempts())
		wait(150 * time.Minute)
		if n := len(r.attempts()) - tried; n != 2 {
			t.Errorf("%d probes in two and a half hours", n)
		}
		s.mu.Lock()
		good = true
		s.mu.Unlock()
		wait(time.Hour)
		if open, _ := s.left(); open > 0 || len(s.resumes) != 1 {
			t.Errorf("%d messages have not left, resumed %d times", open, len(s.resumes))
		}
		r.end(t)
	})
}

// New credentials end the pause at once.
func TestAuthMended(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(func(r *store.DeliveryRelay) { r.Username = "wrong" })
		r := newRig(t, s, func(store.Claimed, int) (delivery.Verdict, time.Duration) {
			if s.relays[relay].Username == "wrong" {
				return delivery.Verdict{Released: true, AuthRefused: true, Reason: "535 no"}, 30 * time.Millisecond
			}
			return delivery.Verdict{Sent: 1}, time.Millisecond
		}, nil)
		s.accept(relay, uuid.New(), store.ClassTransactional, 100, nil)
		wait(time.Minute)
		s.update(relay, func(r *store.DeliveryRelay) { r.Username = "right" })
		wait(3 * time.Second)
		if open, _ := s.left(); open > 0 {
			t.Errorf("%d messages have not left", open)
		}
		r.end(t)
	})
}

// A pause takes effect while the relay is drained, what was claimed goes back, and its end is seen too.
func TestPause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(nil)
		r := newRig(t, s, sentIn(100*time.Millisecond), nil)
		s.accept(relay, uuid.New(), store.ClassTransactional, 1000, nil)
		wait(time.Second)
		s.mu.Lock()
		s.relays[relay].Pause = store.Pause{Kind: store.PauseTenant, Reason: "holidays"}
		s.mu.Unlock()
		wait(2 * time.Second)
		n := len(r.attempts())
		if _, claimed := s.left(); claimed > 0 {
			t.Errorf("%d messages are claimed of a paused relay", claimed)
		}
		wait(time.Minute)
		if m := len(r.attempts()); m != n || n > 250 {
			t.Errorf("%d messages, then %d were sent over a paused relay", n, m)
		}
		s.mu.Lock()
		s.relays[relay].Pause = store.Pause{}
		s.mu.Unlock()
		wait(15 * time.Second)
		if open, _ := s.left(); open > 0 {
			t.Errorf("%d messages have not left", open)
		}
		r.end(t)
	})
}

// Faults of the configuration are told all at once.
func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := dispatch.New(dispatch.Config{MaxConcurrent: -1})
	want := "dispatch: Config.Store is missing\ndispatch: Config.Lane is missing\n" +
		"dispatch: Config.Node is missing: a UUID made when the process starts\ndispatch: Config.MaxConcurrent is negative"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}
