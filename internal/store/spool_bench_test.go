package store_test

import (
	"bytes"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// processor is the time that this process has computed: wall-clock figures of a shared machine say little.
func processor() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // cannot fail for ourselves
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report tells the rate and the processor time of this process (without PostgreSQL's) for each message.
func report(b *testing.B, before time.Duration) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64((processor()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// benchmarks run on both databases: go test -run '^$' -bench . -benchtime 20000x ./internal/store

type benchWorld struct {
	s       *store.Store
	tenants []store.Tenant
	users   []uuid.UUID
	relays  []uuid.UUID
}

func onBoth(b *testing.B, fn func(b *testing.B, s *store.Store)) {
	b.Run("sqlite", func(b *testing.B) { fn(b, storetest.SQLite(b)) })
	b.Run("postgresql", func(b *testing.B) { fn(b, storetest.Postgres(b)) })
}

func newBenchWorld(b *testing.B, s *store.Store, tenants int) *benchWorld {
	b.Helper()
	w := &benchWorld{s: s}
	for i := range tenants {
		record, admin, err := s.Operator().CreateTenant(b.Context(), store.NewTenant{
			Name: fmt.Sprintf("t%d", i), Admin: store.NewUser{Email: "a@example.com"},
		}, by())
		if err != nil {
			b.Fatal(err)
		}
		tenant := s.Tenant(record.ID)
		relay, err := tenant.CreateRelay(b.Context(), relayNamed("main"), by())
		if err != nil {
			b.Fatal(err)
		}
		w.tenants, w.users, w.relays = append(w.tenants, tenant), append(w.users, admin.ID), append(w.relays, relay.ID)
	}
	return w
}

var benchContent = bytes.Repeat([]byte("0123456789abcde\n"), 128) // 2 KB

func (w *benchWorld) accept(b *testing.B, i int) {
	k := i % len(w.tenants)
	_, err := w.tenants[k].Accept(b.Context(), []store.NewMessage{{
		UserID: w.users[k], RelayID: w.relays[k], MailFrom: "ann@example.com", HeaderFrom: "Ann <ann@example.com>", Subject: "Hello",
		MessageID: "<1@example.com>", GiveUpAt: time.Now().Add(time.Hour), Content: benchContent,
		Recipients: []store.NewRecipient{{Address: fmt.Sprintf("bob%d@example.net", i*7919%1000003), Field: "to"}},
	}}, nil)
	if err != nil {
		b.Error(err)
	}
}

// fill accepts b.N messages from 64 callers.
func (w *benchWorld) fill(b *testing.B, n int) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range 64 {
		wg.Go(func() {
			for i := range next {
				w.accept(b, i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

func BenchmarkAccept(b *testing.B) {
	for _, tenants := range []int{1, 100} {
		b.Run(fmt.Sprintf("tenants=%d", tenants), func(b *testing.B) {
			onBoth(b, func(b *testing.B, s *store.Store) {
				w := newBenchWorld(b, s, tenants)
				b.ReportAllocs()
				b.ResetTimer()
				before := processor()
				w.fill(b, b.N)
				report(b, before)
			})
		})
	}
}

// drain claims and records everything of one turn, 64 messages at a time under way.
func (w *benchWorld) drain(b *testing.B, k, claims int) {
	node := store.NewID()
	sem := make(chan struct{}, 256)
	var wg sync.WaitGroup
	for {
		list, err := w.s.Claim(b.Context(), store.ClaimRequest{Relay: w.relays[k], Tenant: w.tenants[k].ID(), Limit: claims, Node: node})
		if err != nil {
			b.Error(err)
			break
		}
		if len(list) == 0 {
			break
		}
		for _, c := range list {
			sem <- struct{}{}
			wg.Go(func() {
				defer func() { <-sem }()
				err := w.s.Record(b.Context(), store.Outcome{
					Node: node, MessageID: c.MessageID, TenantID: c.TenantID,
					Attempt:    store.AttemptRecord{N: c.Attempt, StartedAt: time.Now(), EndedAt: time.Now(), Phase: "done", Status: "success", Code: 250, Text: "ok queued"},
					Recipients: []store.RecipientOutcome{{N: 1, State: store.Sent, Code: 250, Enhanced: "2.0.0", Text: "ok queued as 1"}},
				})
				if err != nil {
					b.Error(err)
				}
			})
		}
	}
	wg.Wait()
}

func BenchmarkClaimRecord(b *testing.B) {
	for _, tenants := range []int{1, 100} {
		b.Run(fmt.Sprintf("tenants=%d", tenants), func(b *testing.B) {
			onBoth(b, func(b *testing.B, s *store.Store) {
				w := newBenchWorld(b, s, tenants)
				w.fill(b, b.N)
				runtime.GC()
				b.ReportAllocs()
				b.ResetTimer()
				before := processor()
				var wg sync.WaitGroup
				for k := range tenants {
					wg.Go(func() { w.drain(b, k, 100) })
				}
				wg.Wait()
				report(b, before)
			})
		})
	}
}

// BenchmarkDueTenants shows that a look costs by turns and not by messages.
func BenchmarkDueTenants(b *testing.B) {
	for _, c := range []struct{ tenants, messages int }{{1, 20000}, {1000, 1000}} {
		b.Run(fmt.Sprintf("tenants=%d/messages=%d", c.tenants, c.messages), func(b *testing.B) {
			onBoth(b, func(b *testing.B, s *store.Store) {
				w := newBenchWorld(b, s, c.tenants)
				w.fill(b, c.messages)
				for b.Loop() {
					if _, err := s.DueRelays(b.Context(), time.Now(), 0); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
