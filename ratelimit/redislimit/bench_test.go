package redislimit_test

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/redistest"
	"github.com/postrider/postrider/ratelimit"
	"github.com/postrider/postrider/ratelimit/redislimit"
)

// BenchmarkRedis compares a decision with a PING on the same client, which is what any
// round trip costs.
func BenchmarkRedis(b *testing.B) {
	client := open(b, redistest.Start(b).URL(), 0)
	b.Run("ping", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := client.Ping(b.Context()).Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, bench := range map[string]struct {
		refuse bool
		policy ratelimit.Policy
	}{
		// About 50 requests are in a window.
		"allowed":           {false, ratelimit.Policy{Name: "a", Limit: 1000, Window: 3 * time.Millisecond}},
		"allowed/no memory": {true, ratelimit.Policy{Name: "b", Limit: 1000, Window: 3 * time.Millisecond}},
		"refused/no memory": {true, ratelimit.Policy{Name: "c", Limit: 50, Window: time.Hour}},
		"refused":           {false, ratelimit.Policy{Name: "d", Limit: 50, Window: time.Hour}},
	} {
		b.Run(name, func(b *testing.B) {
			l := newLimiter(b, redislimit.Config{Client: client, Refuse: bench.refuse})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Allow(b.Context(), "somebody", bench.policy); err != nil {
					b.Fatal(err)
				}
			}
			if s := l.Stats(); s.Failures > 0 {
				b.Errorf("stats %+v", s)
			}
		})
	}
}
