package dispatch_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/store"
)

// A relay that one node cannot reach goes to another, which can; one that none can reach is tried as rarely as by one node.
func TestUnreachedRelayGoesElsewhere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		down := func(store.Claimed, int) (delivery.Verdict, time.Duration) {
			return delivery.Verdict{Deferred: 1, RelayDown: true, Reason: "connection refused"}, time.Millisecond
		}
		c := newCluster()
		a := c.join(t, time.Millisecond, nil)
		a.answer = down
		relay := c.relay(nil)
		b := c.join(t, time.Millisecond, nil)
		wait(2 * time.Second)
		c.mu.Lock()
		c.owner[relay] = b // so that the first to drain it is the one that cannot reach it
		c.mu.Unlock()
		c.accept(relay, uuid.New(), store.ClassTransactional, 500, nil)
		b.leave()
		wait(time.Second)
		if a.drains() != 1 || len(a.attempts()) < 3 {
			t.Fatalf("the node drains %d relays after %d attempts", a.drains(), len(a.attempts()))
		}
		third := c.join(t, time.Millisecond, nil)
		wait(time.Minute)
		if n := len(third.attempts()); n < 400 {
			t.Errorf("the node that reaches the relay has sent %d messages in a minute", n)
		}

		third.answer = down
		nobody := c.relay(nil)
		before := len(a.attempts()) + len(third.attempts())
		c.accept(nobody, uuid.New(), store.ClassTransactional, 500, nil)
		wait(10 * time.Minute)
		if n := len(a.attempts()) + len(third.attempts()) - before; n < 8 || n > 25 {
			t.Errorf("%d attempts of two nodes in ten minutes", n)
		}
		a.end(t)
		a.leave()
		third.end(t)
	})
}
