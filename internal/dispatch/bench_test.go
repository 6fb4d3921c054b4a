package dispatch_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/dispatch"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
	"github.com/postrider/postrider/smtp/smtptest"
)

// databases are those that a benchmark runs on.
func databases(b *testing.B, run func(b *testing.B, s *store.Store)) {
	b.Run("sqlite", func(b *testing.B) { run(b, storetest.SQLite(b)) })
	b.Run("postgresql", func(b *testing.B) { run(b, storetest.Postgres(b)) })
}

// BenchmarkDrain empties a spool over SMTP: from the claim to the recorded outcome, with the server in the same process. One
// operation is one message of 2 KB.
func BenchmarkDrain(b *testing.B) {
	for _, relays := range []int{1, 10} {
		b.Run(fmt.Sprintf("relays=%d", relays), func(b *testing.B) {
			databases(b, func(b *testing.B, s *store.Store) {
				w := newLive(b, s, 1)
				srv := w.receiver(smtptest.Config{})
				for i := range relays {
					w.accept(0, w.relay(0, srv, nil), b.N/relays+min(1, b.N%relays*relays/(i+1)), nil)
				}
				b.ResetTimer()
				_, stop := w.run(nil)
				w.until("all have arrived and are recorded", func() bool { return w.count(-1) >= b.N && w.idle() })
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
				stop()
			})
		})
	}
}

// BenchmarkNewcomer measures from the acceptance of a message to its arrival while another tenant has 20 000 messages queued.
func BenchmarkNewcomer(b *testing.B) {
	for _, where := range []string{"own", "shared"} {
		b.Run(where, func(b *testing.B) {
			databases(b, func(b *testing.B, s *store.Store) {
				w := newLive(b, s, 2)
				srv := w.receiver(smtptest.Config{})
				shared := w.relay(-1, srv, nil)
				relay := shared
				if where == "own" {
					relay = w.relay(1, srv, nil)
				}
				queued := 20_000
				w.accept(0, shared, queued, nil)
				_, stop := w.run(nil)
				var took []time.Duration
				for b.Loop() {
					if w.count(0) > queued-5000 {
						b.StopTimer()
						w.accept(0, shared, 10_000, nil)
						queued += 10_000
						b.StartTimer()
					}
					had := w.count(1)
					start := time.Now()
					w.accept(1, relay, 1, nil)
					w.until("it arrives", func() bool { return w.count(1) > had })
					took = append(took, time.Since(start))
				}
				b.StopTimer()
				stop()
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-median")
				b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "ms-worst")
			})
		})
	}
}

// nowhere is a lane that takes everything at once, and stock a store that has as many messages as asked for: what remains is
// the work of dispatch itself.
type nowhere struct{ done func() }

func (n nowhere) Deliver(_ context.Context, m store.Claimed, over func(delivery.Verdict)) (delivery.Verdict, error) {
	v := delivery.Verdict{Sent: 1}
	over(v)
	n.done()
	return v, nil
}
func (nowhere) Close(context.Context) error { return nil }

type stock struct {
	*memory
	left    int
	tenants []uuid.UUID
}

func (s *stock) DueRelays(context.Context, time.Time, int) ([]store.DueRelay, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 {
		return nil, nil
	}
	for id := range s.relays {
		return []store.DueRelay{{ID: id}}, nil
	}
	return nil, nil
}

func (s *stock) DueTenants(context.Context, uuid.UUID, time.Time) (list []store.DueTenant, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left > 0 {
		for _, t := range s.tenants {
			list = append(list, store.DueTenant{Tenant: t})
		}
	}
	return list, nil
}

func (s *stock) Claim(_ context.Context, q store.ClaimRequest) ([]store.Claimed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := make([]store.Claimed, min(q.Limit, s.left))
	s.left -= len(got)
	for i := range got {
		got[i] = store.Claimed{MessageID: q.Tenant, TenantID: q.Tenant, RelayID: q.Relay, Recipients: make([]store.ClaimedRecipient, 1)}
	}
	return got, nil
}

// BenchmarkOverhead is what dispatch itself costs a message: its turn, limits, tokens, goroutine, and its part of claims.
func BenchmarkOverhead(b *testing.B) {
	for _, tenants := range []int{1, 100} {
		b.Run(fmt.Sprintf("tenants=%d", tenants), func(b *testing.B) {
			s := &stock{memory: newMemory(), left: b.N}
			for range tenants {
				s.tenants = append(s.tenants, uuid.New())
			}
			s.relay(func(r *store.DeliveryRelay) { r.Limits.MaxConns = 10 })
			done := make(chan struct{}, b.N)
			d, err := dispatch.New(dispatch.Config{
				Store: s, Node: uuid.New(),
				Lane: func(context.Context, store.DeliveryRelay, func() bool) dispatch.Lane {
					return nowhere{func() { done <- struct{}{} }}
				},
			})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			end := make(chan error, 1)
			b.ReportAllocs()
			b.ResetTimer()
			go func() { end <- d.Run(ctx) }()
			for range b.N {
				<-done
			}
			b.StopTimer()
			cancel()
			if err := <-end; err != nil {
				b.Error(err)
			}
		})
	}
}
