package store_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

func TestAcceptRefuses(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		other, _ := newTenant(t, w.Store, "other")
		foreign := newRelay(t, other, "main")
		for name, change := range map[string]func(*store.NewMessage){
			"no recipients":     func(m *store.NewMessage) { m.Recipients = nil },
			"no content":        func(m *store.NewMessage) { m.Content = nil },
			"unknown content":   func(m *store.NewMessage) { m.Content, m.ContentID = nil, store.NewID() },
			"unknown relay":     func(m *store.NewMessage) { m.RelayID = store.NewID() },
			"another's relay":   func(m *store.NewMessage) { m.RelayID = foreign.ID },
			"NUL":               func(m *store.NewMessage) { m.Subject = "a\x00b" },
			"not UTF-8":         func(m *store.NewMessage) { m.HeaderFrom = "caf\xe9" },
			"random id":         func(m *store.NewMessage) { m.ID = uuid.New() },
			"strange state":     func(m *store.NewMessage) { m.Recipients[0].State = store.Sent },
			"strange on_unknow": func(m *store.NewMessage) { m.OnUnknown = "maybe" },
		} {
			good, bad := w.message(), w.message()
			change(&bad)
			_, err := w.tenant.Accept(t.Context(), []store.NewMessage{good, bad}, nil)
			if _, ok := errors.AsType[*store.InvalidError](err); !ok {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := w.tenant.Message(t.Context(), good.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: the good one of the two is there: %v", name, err)
			}
		}
		if _, err := w.Tenant(store.NewID()).Accept(t.Context(), []store.NewMessage{w.message()}, nil); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a tenant that does not exist: %v", err)
		}
	})
}

// Many callers share transactions; one bad message fails alone.
func TestAcceptTogether(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		other, admin := newTenant(t, w.Store, "other")
		relay := newRelay(t, other, "main")
		taken := w.message()
		w.accept(t, taken)
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				m := w.message()
				tenant, bad := w.tenant, i%20 == 7
				if bad {
					m.ID = taken.ID // a conflict that only the database can see
				} else if i%2 == 0 {
					tenant, m.UserID, m.RelayID = other, admin.ID, relay.ID
				}
				_, err := tenant.Accept(t.Context(), []store.NewMessage{m}, nil)
				if _, conflict := errors.AsType[*store.ConflictError](err); conflict != bad || err != nil && !bad {
					t.Errorf("message %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		total := 0
		for _, tenant := range []store.Tenant{w.tenant, other} {
			total += len(listAll(t, tenant, store.MessageFilter{}))
		}
		if total != 191 {
			t.Errorf("%d messages, want 191", total)
		}
	})
}

// listAll reads every page.
func listAll(t *testing.T, tenant store.Tenant, f store.MessageFilter) []store.Message {
	t.Helper()
	var all []store.Message
	page := store.Page{Limit: 7}
	for {
		list, next, err := tenant.Messages(t.Context(), f, page)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, list...)
		if next == "" {
			break
		}
		page.After = next
	}
	if !slices.IsSortedFunc(all, func(a, b store.Message) int { return -compareIDs(a.ID, b.ID) }) {
		t.Error("the list is not in order")
	}
	return all
}

func compareIDs(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }

func idempotency(user uuid.UUID, key, body string, m store.NewMessage) *store.Idempotency {
	return &store.Idempotency{
		Scope: "POST /v1/messages", UserID: user, Key: key, Fingerprint: sha256.Sum256([]byte(body)), Status: 202, Response: []byte(m.ID.String()),
	}
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		m := w.message()
		if replay, err := w.tenant.Accept(t.Context(), []store.NewMessage{m}, idempotency(w.user, "k", "body", m)); err != nil || replay != nil {
			t.Fatalf("first: %v, %v", replay, err)
		}
		second := w.message()
		replay, err := w.tenant.Accept(t.Context(), []store.NewMessage{second}, idempotency(w.user, "k", "body", second))
		if err != nil || replay == nil || string(replay.Response) != m.ID.String() || replay.Status != 202 {
			t.Fatalf("second: %+v, %v", replay, err)
		}
		if _, err := w.tenant.Accept(t.Context(), []store.NewMessage{w.message()}, idempotency(w.user, "k", "other", second)); !errors.Is(err, store.ErrIdempotencyMismatch) {
			t.Fatalf("another body: %v", err)
		}
		// Another user, another scope, another tenant: another key.
		for name, change := range map[string]func(*store.Idempotency){
			"user":  func(i *store.Idempotency) { i.UserID = store.NewID() },
			"scope": func(i *store.Idempotency) { i.Scope = "POST /v1/messages/batch" },
			"key":   func(i *store.Idempotency) { i.Key = "l" },
		} {
			m := w.message()
			i := idempotency(w.user, "k", "body", m)
			change(i)
			if replay, err := w.tenant.Accept(t.Context(), []store.NewMessage{m}, i); err != nil || replay != nil {
				t.Errorf("another %s: %v, %v", name, replay, err)
			}
		}
		// A request that is refused leaves its key free.
		bad := w.message()
		bad.RelayID = store.NewID()
		if _, err := w.tenant.Accept(t.Context(), []store.NewMessage{bad}, idempotency(w.user, "n", "body", bad)); err == nil {
			t.Fatal("accepted for a relay that does not exist")
		}
		good := w.message()
		if replay, err := w.tenant.Accept(t.Context(), []store.NewMessage{good}, idempotency(w.user, "n", "mended", good)); err != nil || replay != nil {
			t.Fatalf("mended: %v, %v", replay, err)
		}
		// After a day the key is forgotten.
		w.clock.pass(24*time.Hour + time.Second)
		late := w.message()
		if replay, err := w.tenant.Accept(t.Context(), []store.NewMessage{late}, idempotency(w.user, "k", "other", late)); err != nil || replay != nil {
			t.Fatalf("after a day: %v, %v", replay, err)
		}
	})
}

// A thousand callers with one key, at two processes, make one message.
func TestIdempotencyStampede(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		stores := []store.Tenant{w.tenant, w.again().Tenant(w.tenant.ID())}
		first := make([]string, 1000)
		var wg sync.WaitGroup
		for i := range first {
			wg.Go(func() {
				m := w.message()
				replay, err := stores[i%2].Accept(t.Context(), []store.NewMessage{m}, idempotency(w.user, "k", "body", m))
				if err != nil {
					t.Errorf("caller %d: %v", i, err)
					return
				}
				first[i] = m.ID.String()
				if replay != nil {
					first[i] = string(replay.Response)
				}
			})
		}
		wg.Wait()
		if slices.Sort(first); first[0] != first[len(first)-1] {
			t.Error("callers were told of different messages")
		}
		if list := listAll(t, w.tenant, store.MessageFilter{}); len(list) != 1 {
			t.Errorf("%d messages", len(list))
		}
	})
}

func TestQuotas(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		quota := func(q store.Quotas) {
			t.Helper()
			if err := w.Operator().SetQuotas(t.Context(), w.tenant.ID(), q, by()); err != nil {
				t.Fatal(err)
			}
		}
		try := func(n int) string {
			t.Helper()
			_, err := w.tenant.Accept(t.Context(), make2(n, w.message), nil)
			if q, ok := errors.AsType[*store.QuotaError](err); ok {
				if q.RetryAfter <= 0 {
					t.Errorf("retry after %v", q.RetryAfter)
				}
				return q.Name
			}
			if err != nil {
				t.Fatal(err)
			}
			return ""
		}
		quota(store.Quotas{MessagesPerDay: 3, MessagesPerMonth: 5, Queued: 4})
		var got []string
		got = append(got, try(4), try(2), try(2), try(1)) // 3 of the day
		w.clock.at.Store(new(time.Date(2031, 5, 30, 0, 0, 0, 0, time.UTC)))
		got = append(got, try(2), try(1)) // 4 queued
		for _, c := range w.claim(t, 10) {
			w.record(t, w.outcome(c, store.Sent))
		}
		w.clock.pass(24 * time.Hour)
		got = append(got, try(3), try(3)) // 4 of the month: 1 of the 30th, 3 of the 31st
		w.clock.pass(24 * time.Hour)
		got = append(got, try(1)) // a new month
		want := []string{"messages_per_day", "", "messages_per_day", "", "queued", "", "", "messages_per_month", ""}
		if !slices.Equal(got, want) {
			t.Errorf("refusals %q, want %q", got, want)
		}
	})
}

func make2(n int, fn func(...string) store.NewMessage) []store.NewMessage {
	list := make([]store.NewMessage, n)
	for i := range list {
		list[i] = fn()
	}
	return list
}

// Several nodes together do not exceed a quota.
func TestQuotaTogether(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		if err := w.Operator().SetQuotas(t.Context(), w.tenant.ID(), store.Quotas{MessagesPerDay: 50}, by()); err != nil {
			t.Fatal(err)
		}
		stores := []store.Tenant{w.tenant, w.again().Tenant(w.tenant.ID())}
		var mu sync.Mutex
		accepted := 0
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				_, err := stores[i%2].Accept(t.Context(), []store.NewMessage{w.message()}, nil)
				if _, quota := errors.AsType[*store.QuotaError](err); err != nil && !quota {
					t.Error(err)
				}
				if err == nil {
					mu.Lock()
					accepted++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if accepted != 50 {
			t.Errorf("%d accepted, want 50", accepted)
		}
	})
}

// A caller that goes away learns so; what was committed is there, and nothing else.
func TestAcceptCanceled(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		done := make([]bool, 300)
		ids := make([]uuid.UUID, len(done))
		var wg sync.WaitGroup
		for i := range done {
			wg.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if i%3 == 0 {
					go cancel()
				}
				m := w.message(fmt.Sprintf("r%d@example.net", i))
				ids[i] = m.ID
				_, err := w.tenant.Accept(ctx, []store.NewMessage{m}, nil)
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				done[i] = err == nil
			})
		}
		wg.Wait()
		for i, id := range ids {
			if _, err := w.tenant.Message(t.Context(), id); (err == nil) != done[i] {
				t.Errorf("message %d: told %v, and reading says %v", i, done[i], err)
			}
		}
	})
}
