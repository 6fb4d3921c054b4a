package store_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

func TestUsers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		s := open()
		tenant, admin := newTenant(t, s, "acme")
		other, _ := newTenant(t, s, "beta")
		bob := newUser(t, tenant, "Bob@Example.com", auth.RoleUser)

		if got, err := tenant.User(t.Context(), bob.ID); err != nil || got != bob {
			t.Errorf("User = %+v, %v, want %+v", got, err, bob)
		}
		if got, err := tenant.UserByEmail(t.Context(), "bOB@example.COM"); err != nil || got != bob {
			t.Errorf("UserByEmail = %+v, %v, want %+v", got, err, bob)
		}
		if got, err := tenant.User(t.Context(), admin.ID); err != nil || got.PasswordHash != "h" {
			t.Errorf("admin's hash is %q, %v", got.PasswordHash, err)
		}
		_, err := tenant.CreateUser(t.Context(), store.NewUser{Email: "bob@EXAMPLE.com", Role: auth.RoleUser}, by())
		if c, ok := errors.AsType[*store.ConflictError](err); !ok || c.Field != "email" {
			t.Errorf("second user of the address: %v", err)
		}
		_, err = tenant.CreateUser(t.Context(), store.NewUser{ID: bob.ID, Email: "c@example.com", Role: auth.RoleUser}, by())
		if c, ok := errors.AsType[*store.ConflictError](err); !ok || c.Field != "id" {
			t.Errorf("second user of the id: %v", err)
		}
		// What one tenant has, another neither sees nor hears of.
		for what, err := range map[string]error{
			"User":         second(other.User(t.Context(), bob.ID)),
			"UserByEmail":  second(other.UserByEmail(t.Context(), bob.Email)),
			"UpdateUser":   second(other.UpdateUser(t.Context(), bob.ID, store.UserPatch{Name: ptr("x")}, by())),
			"SetPassword":  other.SetPassword(t.Context(), bob.ID, "x", by()),
			"revoke":       other.RevokeUserTokens(t.Context(), bob.ID, by()),
			"of no tenant": second(s.Tenant(uuid.Nil).User(t.Context(), bob.ID)),
		} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s of another tenant's user: %v", what, err)
			}
		}
		if _, err := other.CreateUser(t.Context(), store.NewUser{ID: bob.ID, Email: bob.Email, Role: auth.RoleUser}, by()); err != nil {
			t.Errorf("the same user in another tenant: %v", err)
		}
		if _, err := s.Tenant(uuid.New()).CreateUser(t.Context(), store.NewUser{Email: bob.Email, Role: auth.RoleUser}, by()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a user of a tenant that does not exist: %v", err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func ptr[T any](v T) *T { return &v }

func TestUserFields(t *testing.T) {
	s := storetest.SQLite(t)
	tenant, _ := newTenant(t, s, "acme")
	for field, n := range map[string][]store.NewUser{
		"email": {{Email: ""}, {Email: "x"}, {Email: "@example.com"}, {Email: "x@"}, {Email: "a b@example.com"}, {Email: "a\n@example.com"}, {Email: strings.Repeat("a", 250) + "@example.com"}},
		"name":  {{Email: "a@example.com", Name: "a\x00b"}, {Email: "a@example.com", Name: strings.Repeat("ä", 201)}, {Email: "a@example.com", Name: "\xff"}},
		"role":  {{Email: "a@example.com", Role: "Admin"}, {Email: "a@example.com", Role: ""}},
	} {
		for _, u := range n {
			if field != "role" {
				u.Role = auth.RoleUser
			}
			_, err := tenant.CreateUser(t.Context(), u, by())
			if e, ok := errors.AsType[*store.InvalidError](err); !ok || e.Field != field {
				t.Errorf("CreateUser(%+v): %v, want a fault of %s", u, err, field)
			}
		}
	}
}

func TestUserList(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		s := open(func(c *store.Config) { c.Now = fixed(at(0)) }) // all at the same moment: the id decides
		tenant, _ := newTenant(t, s, "acme")
		other, _ := newTenant(t, s, "beta")
		want := map[uuid.UUID]bool{}
		for i := range 120 {
			want[newUser(t, tenant, fmt.Sprintf("u%d@example.com", i), auth.RoleUser).ID] = true
			if i%40 == 0 {
				newUser(t, other, fmt.Sprintf("u%d@example.com", i), auth.RoleUser)
			}
		}
		pages, seen, page := 0, map[uuid.UUID]bool{}, store.Page{}
		for {
			users, next, err := tenant.Users(t.Context(), page)
			if err != nil {
				t.Fatal(err)
			}
			pages++
			for _, u := range users {
				if seen[u.ID] || u.TenantID != tenant.ID() {
					t.Errorf("user %s comes twice or is another's", u.Email)
				}
				seen[u.ID] = true
			}
			if next == "" {
				break
			}
			page.After = next
		}
		if pages != 3 || len(seen) != len(want)+1 {
			t.Errorf("%d users in %d pages, want %d in 3", len(seen), pages, len(want)+1)
		}
		all, next, err := tenant.Users(t.Context(), store.Page{Limit: 100000})
		if err != nil || len(all) != 121 || next != "" {
			t.Errorf("with a limit of 100000: %d users, %v", len(all), err)
		}
	})
}

func TestUpdateUser(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		s := open()
		tenant, admin := newTenant(t, s, "acme")
		bob := newUser(t, tenant, "bob@example.com", auth.RoleUser)
		update := func(id uuid.UUID, p store.UserPatch) (store.User, error) {
			return tenant.UpdateUser(t.Context(), id, p, by())
		}

		got, err := update(bob.ID, store.UserPatch{Email: ptr("Rob@example.com"), Name: ptr("Rob")})
		if err != nil || got.Email != "Rob@example.com" || got.Name != "Rob" || got.Role != auth.RoleUser {
			t.Fatalf("UpdateUser = %+v, %v", got, err)
		}
		if stored := must[store.User](t)(tenant.UserByEmail(t.Context(), "rob@example.com")); stored != got {
			t.Errorf("stored %+v, returned %+v", stored, got)
		}
		if st := must[store.Standing](t)(tenant.Standing(t.Context(), bob.ID)); !st.RevokedBefore.IsZero() {
			t.Error("a new name ended the user's tokens")
		}
		if _, err := update(bob.ID, store.UserPatch{Email: ptr("ADMIN@example.com")}); err == nil {
			t.Error("another's address was taken")
		}
		for what, patch := range map[string]store.UserPatch{"demote": {Role: ptr(auth.RoleUser)}, "suspend": {State: ptr(store.StateSuspended)}} {
			if _, err := update(admin.ID, patch); !errors.Is(err, store.ErrLastAdmin) {
				t.Errorf("%s the last admin: %v", what, err)
			}
		}
		if _, err := update(bob.ID, store.UserPatch{Role: ptr(auth.RoleAdmin)}); err != nil {
			t.Fatal(err)
		}
		if st := must[store.Standing](t)(tenant.Standing(t.Context(), bob.ID)); st.RevokedBefore.IsZero() || st.Role != auth.RoleAdmin {
			t.Errorf("after a new role: %+v", st)
		}
		if _, err := update(admin.ID, store.UserPatch{State: ptr(store.StateSuspended)}); err != nil {
			t.Errorf("suspend one admin of two: %v", err)
		}
		// A suspended admin is none.
		if _, err := update(bob.ID, store.UserPatch{Role: ptr(auth.RoleUser)}); !errors.Is(err, store.ErrLastAdmin) {
			t.Errorf("demote the last active admin: %v", err)
		}
	})
}

// Two admins who demote each other at the same time leave one.
func TestLastAdminRace(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		s, s2 := open(), open()
		for round := range 10 {
			tenant, a := newTenant(t, s, fmt.Sprintf("acme%d", round))
			b := newUser(t, tenant, "b@example.com", auth.RoleAdmin)
			var errs [2]error
			var wg sync.WaitGroup
			for i, id := range []uuid.UUID{a.ID, b.ID} {
				wg.Go(func() {
					node := []*store.Store{s, s2}[i]
					_, errs[i] = node.Tenant(tenant.ID()).UpdateUser(t.Context(), id, store.UserPatch{Role: ptr(auth.RoleUser)}, by())
				})
			}
			wg.Wait()
			refused := 0
			for _, err := range errs {
				switch {
				case errors.Is(err, store.ErrLastAdmin):
					refused++
				case err != nil:
					t.Fatal(err)
				}
			}
			if refused != 1 {
				t.Fatalf("round %d: %d of two demotions were refused: %v", round, refused, errs)
			}
		}
	})
}

func TestPassword(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		s := open()
		tenant, admin := newTenant(t, s, "acme")
		hash := func() string { return must[store.User](t)(tenant.User(t.Context(), admin.ID)).PasswordHash }
		if err := tenant.UpgradePassword(t.Context(), admin.ID, "other", "h2"); err != nil || hash() != "h" {
			t.Errorf("upgrade of a password that was changed: %v, hash %q", err, hash())
		}
		if err := tenant.UpgradePassword(t.Context(), admin.ID, "h", "h2"); err != nil || hash() != "h2" {
			t.Errorf("upgrade: %v, hash %q", err, hash())
		}
		if st := must[store.Standing](t)(tenant.Standing(t.Context(), admin.ID)); !st.RevokedBefore.IsZero() {
			t.Error("an upgrade ended the user's tokens")
		}
		if err := tenant.SetPassword(t.Context(), admin.ID, "h3", by()); err != nil || hash() != "h3" {
			t.Errorf("set: %v, hash %q", err, hash())
		}
		if st := must[store.Standing](t)(tenant.Standing(t.Context(), admin.ID)); st.RevokedBefore.IsZero() {
			t.Error("a new password left the user's tokens good")
		}
	})
}
