package store_test

import (
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// testClock is a clock that a test moves.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = at
}

func token(expires time.Time) store.RefreshToken {
	var h auth.KeyHash
	_, _ = rand.Read(h[:]) // never fails
	return store.RefreshToken{Hash: h, ExpiresAt: expires}
}

func TestSessions(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		c := &testClock{now: at(0)}
		s := open(func(cfg *store.Config) { cfg.Now = c.Now })
		tenant, admin := newTenant(t, s, "acme")
		other, _ := newTenant(t, s, "beta")
		first, next := token(at(10)), token(at(20))
		session, err := tenant.StartSession(t.Context(), admin.ID, first, by())
		if err != nil || session.UserID != admin.ID || session.Role != auth.RoleAdmin || !session.ExpiresAt.Equal(at(10)) {
			t.Fatalf("StartSession = %+v, %v", session, err)
		}
		if _, err := other.RotateSession(t.Context(), first.Hash, next, by()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("another tenant's token: %v", err)
		}
		rotated, err := tenant.RotateSession(t.Context(), first.Hash, next, by())
		if err != nil || rotated.ID != session.ID || rotated.UserID != admin.ID || !rotated.ExpiresAt.Equal(at(20)) {
			t.Fatalf("RotateSession = %+v, %v", rotated, err)
		}
		// The first token again: the session is over, also for who holds the second.
		if _, err := tenant.RotateSession(t.Context(), first.Hash, token(at(20)), by()); !errors.Is(err, store.ErrReused) {
			t.Errorf("a used token: %v", err)
		}
		if _, err := tenant.RotateSession(t.Context(), next.Hash, token(at(20)), by()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the good token of an ended session: %v", err)
		}
		if _, err := tenant.RotateSession(t.Context(), token(at(1)).Hash, token(at(20)), by()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("an unknown token: %v", err)
		}
	})
}

func TestSessionsEnd(t *testing.T) {
	bob := func(t *testing.T, tenant store.Tenant) store.User {
		return newUser(t, tenant, "bob@example.com", auth.RoleUser)
	}
	ends := map[string]func(t *testing.T, s *store.Store, c *testClock, tenant store.Tenant, user uuid.UUID, hash auth.KeyHash) error{
		"expired": func(_ *testing.T, _ *store.Store, c *testClock, _ store.Tenant, _ uuid.UUID, _ auth.KeyHash) error {
			c.set(at(10))
			return nil
		},
		"logout": func(t *testing.T, _ *store.Store, _ *testClock, tenant store.Tenant, _ uuid.UUID, hash auth.KeyHash) error {
			return errors.Join(tenant.EndSession(t.Context(), hash, by()), tenant.EndSession(t.Context(), hash, by()))
		},
		"password": func(t *testing.T, _ *store.Store, _ *testClock, tenant store.Tenant, user uuid.UUID, _ auth.KeyHash) error {
			return tenant.SetPassword(t.Context(), user, "new", by())
		},
		"revoked": func(t *testing.T, _ *store.Store, _ *testClock, tenant store.Tenant, user uuid.UUID, _ auth.KeyHash) error {
			return tenant.RevokeUserTokens(t.Context(), user, by())
		},
		"suspended": func(t *testing.T, _ *store.Store, _ *testClock, tenant store.Tenant, user uuid.UUID, _ auth.KeyHash) error {
			return second(tenant.UpdateUser(t.Context(), user, store.UserPatch{State: ptr(store.StateSuspended)}, by()))
		},
		"other role": func(t *testing.T, _ *store.Store, _ *testClock, tenant store.Tenant, user uuid.UUID, _ auth.KeyHash) error {
			return second(tenant.UpdateUser(t.Context(), user, store.UserPatch{Role: ptr(auth.RoleAdmin)}, by()))
		},
	}
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		c := &testClock{}
		s := open(func(cfg *store.Config) { cfg.Now = c.Now })
		for name, end := range ends {
			c.set(at(0))
			tenant, _ := newTenant(t, s, "t"+store.NewID().String())
			user := bob(t, tenant)
			first := token(at(10))
			must[store.Session](t)(tenant.StartSession(t.Context(), user.ID, first, by()))
			if err := end(t, s, c, tenant, user.ID, first.Hash); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := tenant.RotateSession(t.Context(), first.Hash, token(at(20)), by()); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: the session goes on: %v", name, err)
			}
			if name == "suspended" {
				if _, err := tenant.StartSession(t.Context(), user.ID, token(at(30)), by()); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("a suspended user's login: %v", err)
				}
			}
		}
	})
}

// Of several that exchange one token at the same time one wins, and the session is over, for the others hold a copy.
func TestRotateRace(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		nodes := []*store.Store{open(), open()}
		tenant, admin := newTenant(t, nodes[0], "acme")
		expires := time.Now().Add(time.Hour)
		for range 10 {
			first := token(expires)
			must[store.Session](t)(tenant.StartSession(t.Context(), admin.ID, first, by()))
			var errs [4]error
			var next [4]store.RefreshToken
			var wg sync.WaitGroup
			for i := range errs {
				next[i] = token(expires)
				wg.Go(func() {
					_, errs[i] = nodes[i%2].Tenant(tenant.ID()).RotateSession(t.Context(), first.Hash, next[i], by())
				})
			}
			wg.Wait()
			winner := slices.Index(errs[:], nil)
			for i, err := range errs {
				if i != winner && !errors.Is(err, store.ErrReused) {
					t.Errorf("exchange %d: %v (all: %v)", i, err, errs)
				}
			}
			if winner < 0 {
				t.Fatal("nobody won")
			}
			if _, err := tenant.RotateSession(t.Context(), next[winner].Hash, token(expires), by()); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("the winner's token after the reuse: %v", err)
			}
		}
	})
}

func TestPruneExpired(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		c := &testClock{now: at(0)}
		s := open(func(cfg *store.Config) { cfg.Now = c.Now })
		var kept []store.RefreshToken
		for _, name := range []string{"acme", "beta"} {
			tenant, admin := newTenant(t, s, name)
			for range 3 { // gone with their tokens
				must[store.Session](t)(tenant.StartSession(t.Context(), admin.ID, token(at(10)), by()))
			}
			first := token(at(10)) // gone, but its session is not
			must[store.Session](t)(tenant.StartSession(t.Context(), admin.ID, first, by()))
			next := token(at(30))
			must[store.Session](t)(tenant.RotateSession(t.Context(), first.Hash, next, by()))
			kept = append(kept, next)
			for jti, until := range map[string]time.Time{"short": at(10), "long": at(30)} {
				if err := tenant.RevokeToken(t.Context(), jti, uuid.Nil, until, by()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n, err := s.PruneExpired(t.Context(), 0); n != 0 || err != nil {
			t.Errorf("before anything expired: %d, %v", n, err)
		}
		c.set(at(15))
		total, calls := 0, 0
		for {
			n, err := s.PruneExpired(t.Context(), 2)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
			total, calls = total+n, calls+1
		}
		// 8 tokens, 6 sessions and 2 revocations; what goes with its session is not counted.
		if total < 10 || total > 16 || calls < 3 {
			t.Errorf("%d rows deleted in %d calls", total, calls)
		}
		for i, name := range []string{"acme", "beta"} {
			id := must[uuid.UUID](t)(s.TenantByName(t.Context(), name))
			if _, err := s.Tenant(id).RotateSession(t.Context(), kept[i].Hash, token(at(40)), by()); err != nil {
				t.Errorf("%s: a session that had not expired: %v", name, err)
			}
			st := must[store.Standing](t)(s.Tenant(id).Standing(t.Context(), uuid.New()))
			if !slices.Equal(st.RevokedTokens, []string{"long"}) {
				t.Errorf("%s: revoked tokens %v", name, st.RevokedTokens)
			}
		}
	})
}
