package store_test

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

func TestStanding(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		c := &testClock{now: at(0)}
		s := open(func(cfg *store.Config) { cfg.Now = c.Now })
		tenant, admin := newTenant(t, s, "acme")
		other, _ := newTenant(t, s, "beta")
		bob := newUser(t, tenant, "bob@example.com", auth.RoleUser)
		standing := func(tenant store.Tenant, user uuid.UUID) store.Standing {
			t.Helper()
			st := must[store.Standing](t)(tenant.Standing(t.Context(), user))
			slices.Sort(st.RevokedTokens)
			return st
		}
		check := func(what string, got store.Standing, tenantState, userState store.State, role auth.Role, revoked ...string) {
			t.Helper()
			if got.TenantState != tenantState || got.UserState != userState || got.Role != role || !slices.Equal(got.RevokedTokens, revoked) {
				t.Errorf("%s: %+v", what, got)
			}
		}
		check("a user", standing(tenant, bob.ID), "active", "active", "user")
		check("an admin", standing(tenant, admin.ID), "active", "active", "admin")
		check("another tenant's user", standing(other, bob.ID), "active", "", "")
		check("nobody", standing(s.Tenant(uuid.New()), bob.ID), "", "", "")
		check("no tenant", standing(s.Tenant(uuid.Nil), bob.ID), "", "", "")

		for _, r := range []struct {
			jti  string
			user uuid.UUID
		}{{"j1", bob.ID}, {"j2", uuid.Nil}, {"j3", admin.ID}} {
			if err := tenant.RevokeToken(t.Context(), r.jti, r.user, at(5), by()); err != nil {
				t.Fatal(err)
			}
		}
		check("with revoked tokens", standing(tenant, bob.ID), "active", "active", "user", "j1", "j2")
		check("another tenant", standing(other, bob.ID), "active", "", "")
		// The longer time counts, whichever comes last.
		for _, until := range []time.Time{at(9), at(1)} {
			if err := tenant.RevokeToken(t.Context(), "j1", bob.ID, until, by()); err != nil {
				t.Fatal(err)
			}
		}
		c.set(at(6))
		check("after one has expired", standing(tenant, bob.ID), "active", "active", "user", "j1")

		if err := tenant.RevokeUserTokens(t.Context(), bob.ID, by()); err != nil {
			t.Fatal(err)
		}
		if st := standing(tenant, bob.ID); !st.RevokedBefore.Equal(at(6)) {
			t.Errorf("revoked before %v, want %v", st.RevokedBefore, at(6))
		}
		must[store.User](t)(tenant.UpdateUser(t.Context(), bob.ID, store.UserPatch{State: ptr(store.StateSuspended)}, by()))
		if err := s.Operator().SetTenantState(t.Context(), tenant.ID(), store.StateSuspended, by()); err != nil {
			t.Fatal(err)
		}
		check("suspended", standing(tenant, bob.ID), "suspended", "suspended", "user", "j1")
		for _, jti := range []string{"", string(make([]byte, 257))} {
			if err := tenant.RevokeToken(t.Context(), jti, uuid.Nil, at(5), by()); err == nil {
				t.Errorf("a jti of %d octets was taken", len(jti))
			}
		}
		if err := s.Tenant(uuid.New()).RevokeToken(t.Context(), "j", uuid.Nil, at(5), by()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("unknown tenant: %v", err)
		}
	})
}

func TestRegister(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		nodes := []*store.Store{open(), open()}
		id, user := uuid.New(), uuid.New()
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				if err := nodes[i%2].Tenant(id).Register(t.Context(), user, auth.RoleUser); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		tenant := nodes[0].Tenant(id)
		if st := must[store.Standing](t)(tenant.Standing(t.Context(), user)); st.TenantState != store.StateActive || st.UserState != store.StateActive || st.Role != auth.RoleUser {
			t.Errorf("registered: %+v", st)
		}
		// What is there stays, suspended too.
		if err := nodes[0].Operator().SetTenantState(t.Context(), id, store.StateSuspended, by()); err != nil {
			t.Fatal(err)
		}
		if err := tenant.Register(t.Context(), user, auth.RoleAdmin); err != nil {
			t.Fatal(err)
		}
		if st := must[store.Standing](t)(tenant.Standing(t.Context(), user)); st.TenantState != store.StateSuspended || st.Role != auth.RoleUser {
			t.Errorf("registered again: %+v", st)
		}
		// It has no address yet, and may get one.
		if u, err := tenant.UpdateUser(t.Context(), user, store.UserPatch{Name: ptr("Ann")}, by()); err != nil || u.Email != "" {
			t.Errorf("UpdateUser = %+v, %v", u, err)
		}
		if err := tenant.Register(t.Context(), uuid.New(), auth.RoleUser); err != nil {
			t.Errorf("a second one without an address: %v", err)
		}
	})
}

func TestAPIKeys(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		s := open()
		tenant, admin := newTenant(t, s, "acme")
		other, _ := newTenant(t, s, "beta")
		bob := newUser(t, tenant, "bob@example.com", auth.RoleUser)
		key, err := auth.GenerateAPIKey(tenant.ID(), true)
		if err != nil {
			t.Fatal(err)
		}
		networks := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
		stored, err := tenant.CreateAPIKey(t.Context(), store.NewAPIKey{
			ID: key.ID(), UserID: bob.ID, Name: "ci", Role: auth.RoleUser, Scope: auth.ScopeSending, Test: true, Hash: key.Hash(), Networks: networks, ExpiresAt: at(5),
		}, by())
		if err != nil {
			t.Fatal(err)
		}
		got := must[store.APIKey](t)(tenant.APIKey(t.Context(), key.ID()))
		if got.Name != "ci" || got.Scope != auth.ScopeSending || !got.Test || !slices.Equal(got.Networks, networks) || !got.ExpiresAt.Equal(at(5)) ||
			!got.CreatedAt.Equal(stored.CreatedAt) || !got.RevokedAt.IsZero() || !got.LastUsedAt.IsZero() {
			t.Errorf("APIKey = %+v", got)
		}
		record, err := s.LookupAPIKey(t.Context(), tenant.ID(), key.ID())
		if err != nil || !record.Hash.Matches(key.Hash()) || record.UserID != bob.ID || !slices.Equal(record.AllowedNetworks, networks) {
			t.Errorf("LookupAPIKey = %+v, %v", record, err)
		}
		for what, id := range map[string][2]uuid.UUID{
			"another tenant": {other.ID(), key.ID()}, "unknown": {tenant.ID(), uuid.New()}, "no tenant": {uuid.Nil, key.ID()}, "no key": {tenant.ID(), uuid.Nil},
		} {
			if _, err := s.LookupAPIKey(t.Context(), id[0], id[1]); !errors.Is(err, auth.ErrKeyNotFound) {
				t.Errorf("%s: %v", what, err)
			}
		}
		_, adminKey := newKey(t, tenant, admin.ID, auth.RoleAdmin)
		for _, tt := range []struct {
			of   uuid.UUID
			want []uuid.UUID
		}{{uuid.Nil, []uuid.UUID{adminKey.ID, key.ID()}}, {bob.ID, []uuid.UUID{key.ID()}}, {uuid.New(), nil}} {
			keys, _, err := tenant.APIKeys(t.Context(), store.Page{}, tt.of)
			var ids []uuid.UUID
			for _, k := range keys {
				ids = append(ids, k.ID)
			}
			if err != nil || !slices.Equal(ids, tt.want) {
				t.Errorf("keys of %v: %v, %v, want %v", tt.of, ids, err, tt.want)
			}
		}
		if k, err := tenant.UpdateAPIKey(t.Context(), key.ID(), "new", by()); err != nil || k.Name != "new" {
			t.Errorf("UpdateAPIKey = %+v, %v", k, err)
		}
		for what, err := range map[string]error{
			"UpdateAPIKey": second(other.UpdateAPIKey(t.Context(), key.ID(), "x", by())),
			"RevokeAPIKey": other.RevokeAPIKey(t.Context(), key.ID(), by()),
			"CreateAPIKey": second(other.CreateAPIKey(t.Context(), store.NewAPIKey{ID: uuid.New(), UserID: bob.ID, Role: auth.RoleUser, Scope: auth.ScopeFull, Hash: key.Hash()}, by())),
		} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s by another tenant: %v", what, err)
			}
		}
		for range 2 {
			if err := tenant.RevokeAPIKey(t.Context(), key.ID(), by()); err != nil {
				t.Fatal(err)
			}
		}
		if record, err := s.LookupAPIKey(t.Context(), tenant.ID(), key.ID()); err != nil || record.RevokedAt.IsZero() {
			t.Errorf("after the revocation: %+v, %v", record, err)
		}
	})
}

// A key has no more rights than its user: neither when it is made nor later.
func TestAPIKeyRole(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		s := open()
		tenant, _ := newTenant(t, s, "acme")
		bob := newUser(t, tenant, "bob@example.com", auth.RoleAdmin)
		key, _ := newKey(t, tenant, bob.ID, auth.RoleAdmin)
		must[store.User](t)(tenant.UpdateUser(t.Context(), bob.ID, store.UserPatch{Role: ptr(auth.RoleUser)}, by()))
		if record, err := s.LookupAPIKey(t.Context(), tenant.ID(), key.ID()); err != nil || record.Role != auth.RoleUser {
			t.Errorf("the key of a demoted admin: %+v, %v", record, err)
		}
		_, err := tenant.CreateAPIKey(t.Context(), store.NewAPIKey{ID: uuid.New(), UserID: bob.ID, Role: auth.RoleAdmin, Scope: auth.ScopeFull, Hash: key.Hash()}, by())
		if e, ok := errors.AsType[*store.InvalidError](err); !ok || e.Field != "role" {
			t.Errorf("an admin's key for a user: %v", err)
		}
		must[store.User](t)(tenant.UpdateUser(t.Context(), bob.ID, store.UserPatch{State: ptr(store.StateSuspended)}, by()))
		_, err = tenant.CreateAPIKey(t.Context(), store.NewAPIKey{ID: uuid.New(), UserID: bob.ID, Role: auth.RoleUser, Scope: auth.ScopeFull, Hash: key.Hash()}, by())
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a key for a suspended user: %v", err)
		}
	})
}

func TestTouchAPIKeys(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		s := open()
		var uses []store.KeyUse
		addr := netip.MustParseAddr("2001:db8::1")
		for _, name := range []string{"acme", "beta"} {
			tenant, admin := newTenant(t, s, name)
			key, _ := newKey(t, tenant, admin.ID, auth.RoleAdmin)
			uses = append(uses, store.KeyUse{Tenant: tenant.ID(), Key: key.ID(), Addr: addr, At: at(3)}, store.KeyUse{Tenant: tenant.ID(), Key: uuid.New(), At: at(3)})
		}
		if err := s.TouchAPIKeys(t.Context(), append(uses, store.KeyUse{Tenant: uuid.New(), Key: uses[0].Key, At: at(9)})); err != nil {
			t.Fatal(err)
		}
		// An older use that is told later changes nothing.
		if err := s.TouchAPIKeys(t.Context(), []store.KeyUse{{Tenant: uses[0].Tenant, Key: uses[0].Key, At: at(1)}}); err != nil {
			t.Fatal(err)
		}
		if err := s.TouchAPIKeys(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		for _, u := range []store.KeyUse{uses[0], uses[2]} {
			if k := must[store.APIKey](t)(s.Tenant(u.Tenant).APIKey(t.Context(), u.Key)); !k.LastUsedAt.Equal(at(3)) || k.LastUsedFrom != addr {
				t.Errorf("last used %v from %v", k.LastUsedAt, k.LastUsedFrom)
			}
		}
	})
}
