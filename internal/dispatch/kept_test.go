package dispatch_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/store"
)

// A message of a test key says nothing of the relay: it does not end the pause of one that refuses the password.
func TestKeptIsNoProbeOfThePassword(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(nil)
		r := newRig(t, s, func(m store.Claimed, _ int) (delivery.Verdict, time.Duration) {
			if m.Test {
				return delivery.Verdict{Sent: 1, Kept: true}, time.Millisecond
			}
			return delivery.Verdict{Released: true, AuthRefused: true, Reason: "535 authentication failed"}, time.Millisecond
		}, nil)
		tenant := uuid.New()
		s.accept(relay, tenant, store.ClassTransactional, 3, nil)
		wait(time.Minute)
		s.accept(relay, tenant, store.ClassTransactional, 5, func(r *row) { r.Test, r.due = true, time.Now().Add(-time.Hour) })
		tried := len(r.attempts())
		wait(150 * time.Minute)
		probes := 0
		for _, a := range r.attempts()[tried:] {
			if !a.Test {
				probes++
			}
		}
		if s.mu.Lock(); len(s.resumes) > 0 {
			t.Errorf("the relay was resumed %d times without having been asked", len(s.resumes))
		}
		s.mu.Unlock()
		if probes != 2 {
			t.Errorf("%d probes of the password in two and a half hours", probes)
		}
		r.end(t)
	})
}

// Nor does it close the circuit of a relay that cannot be reached, or use up its limits.
func TestKeptDoesNotCloseTheCircuit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newMemory()
		relay := s.relay(func(r *store.DeliveryRelay) { r.Limits.RecipientsPerDay = 1000 })
		r := newRig(t, s, func(m store.Claimed, _ int) (delivery.Verdict, time.Duration) {
			if m.Test {
				return delivery.Verdict{Sent: 1, Kept: true}, time.Millisecond
			}
			return delivery.Verdict{Deferred: 1, RelayDown: true, Reason: "connection refused"}, time.Millisecond
		}, nil)
		tenant := uuid.New()
		s.accept(relay, tenant, store.ClassTransactional, 300, nil)
		for range 40 {
			s.accept(relay, tenant, store.ClassTransactional, 1, func(r *row) { r.Test, r.due = true, time.Now().Add(-time.Hour) })
			wait(15 * time.Second)
		}
		dials := 0
		for _, a := range r.attempts() {
			if !a.Test {
				dials++
			}
		}
		if dials > 25 {
			t.Errorf("%d attempts in ten minutes at a relay that is down", dials)
		}
		r.end(t)
	})
}
