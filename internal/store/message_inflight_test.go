package store_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// A node that was stopped between its insert and its commit holds up nobody but those with the same key, who are told.
func TestKeyInFlight(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	url := server.AdminURL(storetest.Database(t, server))
	s, err := store.Open(t.Context(), store.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	tenant, admin := newTenant(t, s, "acme")
	w := &world{Store: s, clock: newClock(), tenant: tenant, user: admin.ID, relay: newRelay(t, tenant, "main")}

	stopped, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer stopped.Close(t.Context())
	first := w.message()
	idem := idempotency(w.user, "k", "body", first)
	if _, err := stopped.Exec(t.Context(), "begin"); err != nil {
		t.Fatal(err)
	}
	if _, err := stopped.Exec(t.Context(), `insert into idempotency (tenant_id, user_id, scope, key, fingerprint, status, response, expires_at)
		values ($1, $2, $3, $4, $5, 202, $6, now() + interval '1 day')`, tenant.ID(), w.user, idem.Scope, idem.Key, idem.Fingerprint[:], idem.Response); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			m := w.message()
			switch i {
			case 0:
				if _, err := tenant.Accept(t.Context(), []store.NewMessage{m}, idempotency(w.user, "k", "body", m)); !errors.Is(err, store.ErrInFlight) {
					t.Errorf("the same key: %v", err)
				}
			case 1:
				if _, err := tenant.Accept(t.Context(), []store.NewMessage{m}, idempotency(w.user, "l", "body", m)); err != nil {
					t.Errorf("another key: %v", err)
				}
			default:
				if _, err := tenant.Accept(t.Context(), []store.NewMessage{m}, nil); err != nil {
					t.Errorf("no key: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := stopped.Exec(t.Context(), "commit"); err != nil {
		t.Fatal(err)
	}
	m := w.message()
	replay, err := tenant.Accept(t.Context(), []store.NewMessage{m}, idempotency(w.user, "k", "body", m))
	if err != nil || replay == nil || string(replay.Response) != first.ID.String() {
		t.Errorf("after its commit: %+v, %v", replay, err)
	}
}
