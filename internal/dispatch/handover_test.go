package dispatch_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
)

// A relay's limit of messages a minute holds in any 60 seconds while the relay goes from node to node: because they are killed, at whatever moment, or leave in order.
func TestLimitsHoldOverHandOvers(t *testing.T) {
	for _, killed := range []bool{true, false} {
		t.Run(fmt.Sprintf("killed=%v", killed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				const limit = 60
				c := newCluster()
				relay := c.relay(func(r *store.DeliveryRelay) { r.Limits.MaxConns, r.Limits.MessagesPerMinute = 5, limit })
				c.accept(relay, uuid.New(), store.ClassTransactional, 2000, nil)
				var all []*member
				var at []time.Time
				for _, life := range []time.Duration{300 * time.Millisecond, 20 * time.Second, time.Second, 45 * time.Second, 70 * time.Second, 90 * time.Second} {
					m := c.join(t, 50*time.Millisecond, nil)
					all = append(all, m)
					wait(life)
					if killed {
						m.die()
						if err := <-m.done; err != nil {
							t.Error(err)
						}
					} else {
						m.end(t)
						m.leave()
					}
				}
				for _, m := range all {
					for _, a := range m.attempts() {
						at = append(at, a.at)
					}
				}
				slices.SortFunc(at, time.Time.Compare)
				most := 0
				for i, first := range at {
					n, _ := slices.BinarySearchFunc(at, first.Add(time.Minute), time.Time.Compare)
					most = max(most, n-i)
				}
				if most > limit || len(at) < 2*limit {
					t.Errorf("%d messages in 60 s, limit %d; %d in all", most, limit, len(at))
				}
				t.Logf("at most %d messages in 60 s, %d in all", most, len(at))
			})
		})
	}
}
