package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// book is what a Denials writes to.
type book struct {
	mu      sync.Mutex
	entries map[uuid.UUID]store.AuditEntry
	away    bool // the database is
	halfway bool // it is when everything has been written
}

func (b *book) write(_ context.Context, list []store.AuditEntry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return store.ErrUnavailable
	}
	for _, e := range list {
		if b.entries == nil {
			b.entries = map[uuid.UUID]store.AuditEntry{}
		}
		b.entries[e.ID] = e
	}
	if b.halfway {
		return store.ErrUnavailable
	}
	return nil
}

// counts sums the attempts by action.
func (b *book) counts() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	sums := map[string]int{}
	for _, e := range b.entries {
		sums[e.Action] += e.Count
	}
	return sums
}

func denied(action string, minute int) store.AuditEntry {
	return store.AuditEntry{At: at(minute), Action: action, Detail: map[string]string{"reason": "no_role"}}
}

func TestEqualDenialsOfAMinuteAreOneEntry(t *testing.T) {
	var b book
	d := store.NewDenials(store.DenialsConfig{Write: b.write})
	tenant, user := store.NewID(), store.NewID()
	base := store.AuditEntry{
		TenantID: tenant, At: at(1), Action: "access.role", TargetKind: "operation", TargetID: "listUsers", Detail: map[string]string{"reason": "no_role"},
		Actor: store.Actor{Kind: store.ActorToken, UserID: user, TokenID: "t", Role: "user", Addr: netip.MustParseAddr("192.0.2.1"), RequestID: "first"},
	}
	variants := []func(e *store.AuditEntry){
		func(*store.AuditEntry) {},
		func(e *store.AuditEntry) { e.At = at(2) },
		func(e *store.AuditEntry) { e.TenantID = uuid.Nil },
		func(e *store.AuditEntry) { e.Actor.UserID = uuid.Nil },
		func(e *store.AuditEntry) { e.Actor.Kind = store.ActorAPIKey },
		func(e *store.AuditEntry) { e.Actor.TokenID = "u" },
		func(e *store.AuditEntry) { e.Actor.Addr = netip.MustParseAddr("192.0.2.2") },
		func(e *store.AuditEntry) { e.Action = "access.scope" },
		func(e *store.AuditEntry) { e.TargetID = "listKeys" },
		func(e *store.AuditEntry) { e.Detail = map[string]string{"reason": "suspended"} },
	}
	for i, vary := range variants {
		for n := range i + 1 {
			e := base
			vary(&e)
			e.At = e.At.Add(time.Duration(n) * time.Second)
			if n > 0 {
				e.Actor.RequestID = "later"
			}
			d.Add(e)
		}
	}
	if err := d.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var counts []int
	for _, e := range b.entries {
		counts = append(counts, e.Count)
		if e.Actor.RequestID != "first" || e.Outcome != store.AuditDenied || e.At.Second() != 0 {
			t.Errorf("not that of the first: %+v", e)
		}
	}
	slices.Sort(counts)
	if want := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}; !slices.Equal(counts, want) {
		t.Errorf("counts are %v", counts)
	}
}

func TestDenialsKeepWhatCannotBeWritten(t *testing.T) {
	b := book{away: true}
	d := store.NewDenials(store.DenialsConfig{Write: b.write, Most: 10, Now: func() time.Time { return at(9) }})
	for minute := range 8 {
		for _, action := range []string{"a", "b"} {
			d.Add(denied(action, minute))
			d.Add(denied(action, minute))
		}
		if err := d.Flush(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("flushed: %v", err)
		}
	}
	b.away, b.halfway = false, true
	if err := d.Flush(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("flushed: %v", err)
	}
	b.halfway = false
	for range 2 { // the first makes room for the count of the others
		if err := d.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := b.counts(), map[string]int{"a": 10, "b": 10, "audit.overflow": 12}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestNoDenialIsLostUncounted(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var b book
		most := rapid.IntRange(1, 20).Draw(r, "most")
		d := store.NewDenials(store.DenialsConfig{Write: b.write, Most: most, Now: func() time.Time { return at(0) }})
		tenants := []uuid.UUID{uuid.Nil, store.NewID(), store.NewID()}
		total := 0
		for range rapid.IntRange(0, 200).Draw(r, "steps") {
			switch rapid.IntRange(0, 9).Draw(r, "step") {
			case 0:
				b.away = !b.away
			case 1:
				b.halfway = !b.halfway
			case 2:
				_ = d.Flush(t.Context())
			default:
				e := denied(fmt.Sprint(rapid.IntRange(0, 30).Draw(r, "action")), rapid.IntRange(0, 3).Draw(r, "minute"))
				e.TenantID = rapid.SampledFrom(tenants).Draw(r, "tenant")
				d.Add(e)
				total++
			}
		}
		b.away, b.halfway = false, false
		for range 3 {
			if err := d.Flush(t.Context()); err != nil {
				r.Fatal(err)
			}
		}
		got := 0
		for _, n := range b.counts() {
			got += n
		}
		if got != total {
			r.Fatalf("%d attempts, %d are told of", total, got)
		}
	})
}

func TestOneTenantDoesNotHideOthers(t *testing.T) {
	var b book
	d := store.NewDenials(store.DenialsConfig{Write: b.write, Most: 100})
	loud, quiet := store.NewID(), store.NewID()
	for i := range 1000 {
		e := denied(fmt.Sprint("loud", i), 0)
		e.TenantID = loud
		d.Add(e)
	}
	e := denied("quiet", 0)
	e.TenantID = quiet
	d.Add(e)
	if err := d.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.counts(); got["quiet"] != 1 || got["audit.overflow"] != 950 || len(got) != 52 {
		t.Errorf("got %v", got)
	}
	for _, e := range b.entries {
		if e.Action == "audit.overflow" && e.TenantID != loud {
			t.Errorf("the overflow is told to %s", e.TenantID)
		}
	}
}

func TestDenialsAreWrittenEachMinuteAndAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b book
		d := store.NewDenials(store.DenialsConfig{Write: b.write})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- d.Run(ctx) }()
		for i := range 3 {
			d.Add(store.AuditEntry{Action: "a"})
			synctest.Wait()
			if got := b.counts()["a"]; got != i {
				t.Errorf("before minute %d has passed %d are written", i+1, got)
			}
			<-time.After(time.Minute) // the bubble's time
			synctest.Wait()
		}
		d.Add(store.AuditEntry{Action: "a"})
		cancel()
		if err := <-ended; err != nil || b.counts()["a"] != 4 {
			t.Errorf("in the end: %v, %v", b.counts(), err)
		}
	})
}

func TestDenialsOfManyAtOnceReachTheLog(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		s := open()
		d := store.NewDenials(store.DenialsConfig{Write: s.AddAudit, Every: time.Millisecond})
		ctx, cancel := context.WithCancel(t.Context())
		tenant := store.NewID()
		var running, adding sync.WaitGroup
		running.Go(func() { _ = d.Run(ctx) })
		for range 4 {
			adding.Go(func() {
				for i := range 200 {
					e := denied(fmt.Sprint("a", i%7), 0)
					e.TenantID = tenant
					d.Add(e)
				}
			})
		}
		adding.Wait()
		cancel()
		running.Wait()
		total, page := 0, store.Page{Limit: 200}
		for {
			list, next, err := s.Tenant(tenant).Audit(t.Context(), store.AuditFilter{Outcome: store.AuditDenied}, page)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				total += e.Count
			}
			if page.After = next; next == "" {
				break
			}
		}
		if total != 800 {
			t.Errorf("%d of 800 attempts are in the log", total)
		}
	})
}
