package dispatch_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
)

// Where the store is slow, whoever comes new to a relay that others keep busy waits for a bounded number of its answers: one question that was under way, a
// pause as long, the question after the announcement, one claim. The others announce all the time too.
func TestNewcomerBehindSlowStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const slow, took = 100 * time.Millisecond, 10 * time.Millisecond
		s := newMemory()
		shared := s.relay(func(r *store.DeliveryRelay) { r.Limits.MaxConns = 4 })
		r := newRig(t, s, sentIn(took), nil)
		for range 6 { // more than there are claims at the same time
			s.accept(shared, uuid.New(), store.ClassTransactional, 400, nil)
		}
		wait(500 * time.Millisecond)
		s.mu.Lock()
		s.slow = slow
		s.mu.Unlock()
		wait(time.Second)
		busy := uuid.New()
		came := map[uuid.UUID]time.Time{}
		for i := range 12 {
			for range 7 + i { // at another moment of the store's answers each time
				s.accept(shared, busy, store.ClassTransactional, 1, nil)
				wait(13 * time.Millisecond)
			}
			newcomer := uuid.New()
			came[newcomer] = time.Now()
			s.accept(shared, newcomer, store.ClassTransactional, 1, nil)
		}
		wait(3 * time.Second)
		worst := time.Duration(0)
		for _, m := range r.attempts() {
			if at, is := came[m.TenantID]; is {
				worst = max(worst, m.at.Sub(at))
				delete(came, m.TenantID)
			}
		}
		if len(came) > 0 || worst > 4*slow+4*took {
			t.Errorf("%d newcomers have not had their turn; the worst of the others waited %v", len(came), worst)
		}
		t.Logf("worst %v", worst)
		wait(2 * time.Minute)
		r.end(t)
	})
}
