package store_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

// by is who acts in these tests.
func by() store.Actor {
	return store.Actor{Kind: store.ActorCommand, Addr: netip.MustParseAddr("192.0.2.1"), UserAgent: "test", RequestID: "r1"}
}

// newTenant creates a tenant with an admin.
func newTenant(t *testing.T, s *store.Store, name string) (store.Tenant, store.User) {
	t.Helper()
	record, admin, err := s.Operator().CreateTenant(t.Context(), store.NewTenant{
		Name: name, Admin: store.NewUser{Email: "Admin@example.com", Name: "Ann", PasswordHash: "h"},
	}, by())
	if err != nil {
		t.Fatal(err)
	}
	return s.Tenant(record.ID), admin
}

// newUser creates a user of a tenant.
func newUser(t *testing.T, tenant store.Tenant, email string, role auth.Role) store.User {
	t.Helper()
	u, err := tenant.CreateUser(t.Context(), store.NewUser{Email: email, Role: role}, by())
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// newKey creates a key for a user.
func newKey(t *testing.T, tenant store.Tenant, user uuid.UUID, role auth.Role) (auth.APIKey, store.APIKey) {
	t.Helper()
	key, err := auth.GenerateAPIKey(tenant.ID(), false)
	if err != nil {
		t.Fatal(err)
	}
	k, err := tenant.CreateAPIKey(t.Context(), store.NewAPIKey{ID: key.ID(), UserID: user, Role: role, Scope: auth.ScopeFull, Hash: key.Hash()}, by())
	if err != nil {
		t.Fatal(err)
	}
	return key, k
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// at is a moment of the tests' clock.
func at(minutes int) time.Time {
	return time.Date(2026, 5, 1, 12, minutes, 0, 0, time.UTC)
}

// fixed is a clock that stands.
func fixed(at time.Time) func() time.Time {
	return func() time.Time { return at }
}
