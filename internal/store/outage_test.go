package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// load calls the store from several goroutines until it is stopped.
type load struct {
	mu       sync.Mutex
	done     map[uuid.UUID]bool // users whose creation was reported as done
	good     int                // calls since count was reset
	away     int
	wrong    []error
	progress chan struct{} // gets something, at the latest, when a counter has changed
}

func (l *load) note(user uuid.UUID, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.good++
		if user != uuid.Nil {
			l.done[user] = true
		}
	case errors.Is(err, store.ErrUnavailable):
		l.away++
	default:
		l.wrong = append(l.wrong, err)
	}
	select {
	case l.progress <- struct{}{}:
	default:
	}
}

// wait waits until done says so, after setting the counters to 0.
func (l *load) wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	l.mu.Lock()
	l.good, l.away = 0, 0
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		l.mu.Lock()
		ok := done()
		l.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-l.progress:
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		}
	}
}

// PostgreSQL stopped and killed under load: calls fail with ErrUnavailable, succeed again with the same Store, and
// what was reported as done is there.
func TestPostgresOutage(t *testing.T) {
	server := pgtest.Start(t, pgtest.Config{})
	db := storetest.Database(t, server)
	s, err := store.Open(t.Context(), store.Config{URL: server.AdminURL(db), MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tenant, admin := newTenant(t, s, "acme")
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{done: map[uuid.UUID]bool{}, progress: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	defer func() { // before the store is closed, also when the test is given up
		cancel()
		wg.Wait()
	}()
	for i := range 8 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if i%2 == 0 {
					_, err := tenant.Standing(t.Context(), admin.ID)
					l.note(uuid.Nil, err)
					continue
				}
				u, err := tenant.CreateUser(t.Context(), store.NewUser{Email: fmt.Sprintf("u%d-%d@example.com", i, n), Role: auth.RoleUser}, by())
				l.note(u.ID, err)
			}
		})
	}
	for name, end := range map[string]func(testing.TB){"stop": server.Stop, "kill": server.Kill} {
		l.wait(t, "calls succeed", func() bool { return l.good >= 50 })
		end(t)
		l.wait(t, "calls fail after "+name, func() bool { return l.away >= 50 })
		if err := s.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Ping after %s: %v", name, err)
		}
		server.Restart(t)
		l.wait(t, "calls succeed after "+name, func() bool { return l.good >= 50 })
	}
	cancel()
	wg.Wait()
	for _, err := range l.wrong {
		t.Errorf("a call failed otherwise: %v", err)
	}
	for id := range l.done {
		if _, err := tenant.User(t.Context(), id); err != nil {
			t.Errorf("a user that was reported as created: %v", err)
		}
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// A restart that nobody was there to see costs nobody an error.
func TestPostgresRestartWhileIdle(t *testing.T) {
	server := pgtest.Start(t, pgtest.Config{NoSync: true})
	db := storetest.Database(t, server)
	s, err := store.Open(t.Context(), store.Config{URL: server.AdminURL(db)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tenant, admin := newTenant(t, s, "acme")
	var wg sync.WaitGroup
	for range 10 { // fill the pool
		wg.Go(func() { _, _ = tenant.User(t.Context(), admin.ID) })
	}
	wg.Wait()
	server.Restart(t)
	if _, err := tenant.User(t.Context(), admin.ID); err != nil {
		t.Errorf("the first read: %v", err)
	}
	if _, err := tenant.UpdateUser(t.Context(), admin.ID, store.UserPatch{Name: ptr("Bea")}, by()); err != nil {
		t.Errorf("the first change: %v", err)
	}
}

// The end of a context ends the wait for a lock and for a connection.
func TestWaits(t *testing.T) {
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	s, err := store.Open(t.Context(), store.Config{URL: server.AdminURL(db), MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tenant, admin := newTenant(t, s, "acme")
	lock := connect(t, server.AdminURL(db))
	if _, err := lock.Exec(t.Context(), "begin; lock table users in access exclusive mode"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := tenant.User(ctx, admin.ID); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("waiting for a lock: %v", err)
	}
	held := make(chan struct{})
	release, done := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.Run(t.Context(), tenant.ID(), store.ReadOnly, func(store.TestTx) error {
			close(held)
			<-release.Done()
			return nil
		})
	})
	<-held
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := tenant.User(ctx, admin.ID); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("waiting for a connection: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := tenant.User(ctx, admin.ID); !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("given up: %v", err)
	}
	done()
	wg.Wait()
	if _, err := lock.Exec(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}
	if _, err := tenant.User(t.Context(), admin.ID); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A writer that waits for the one before it is ended by its context, and nothing is broken by that.
func TestSQLiteWaits(t *testing.T) {
	s := storetest.SQLite(t)
	tenant, admin := newTenant(t, s, "acme")
	held := make(chan struct{})
	release, done := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.Run(t.Context(), tenant.ID(), store.ReadWrite, func(store.TestTx) error {
			close(held)
			<-release.Done()
			return nil
		})
	})
	<-held
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	rename := store.UserPatch{Name: ptr("Bea")}
	if _, err := tenant.UpdateUser(ctx, admin.ID, rename, by()); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for the writer: %v", err)
	}
	if _, err := tenant.User(t.Context(), admin.ID); err != nil { // readers do not wait
		t.Errorf("a reader: %v", err)
	}
	done()
	wg.Wait()
	if _, err := tenant.UpdateUser(t.Context(), admin.ID, rename, by()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
