package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

func TestCreateTenant(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		s := open()
		key, err := auth.GenerateAPIKey(store.NewID(), false)
		if err != nil {
			t.Fatal(err)
		}
		record, admin, err := s.Operator().CreateTenant(t.Context(), store.NewTenant{
			ID: key.TenantID(), Name: "acme", Admin: store.NewUser{Email: "Ann@Example.com", Name: "Ann", Role: auth.RoleUser},
			Key: &store.NewAPIKey{ID: key.ID(), Role: auth.RoleAdmin, Scope: auth.ScopeFull, Hash: key.Hash()},
		}, by())
		if err != nil {
			t.Fatal(err)
		}
		if record.ID != key.TenantID() || record.State != store.StateActive || admin.Role != auth.RoleAdmin || admin.TenantID != record.ID {
			t.Errorf("CreateTenant = %+v, %+v", record, admin)
		}
		found, err := s.LookupAPIKey(t.Context(), key.TenantID(), key.ID())
		if err != nil || found.UserID != admin.ID || !found.Hash.Matches(key.Hash()) || found.Role != auth.RoleAdmin {
			t.Errorf("LookupAPIKey = %+v, %v", found, err)
		}
		tenant := s.Tenant(record.ID)
		if got, err := tenant.Record(t.Context()); err != nil || got != record {
			t.Errorf("Record = %+v, %v, want %+v", got, err, record)
		}
		if got, err := s.Operator().TenantRecord(t.Context(), record.ID); err != nil || got != record {
			t.Errorf("TenantRecord = %+v, %v, want %+v", got, err, record)
		}
		if got, err := s.TenantByName(t.Context(), "acme"); err != nil || got != record.ID {
			t.Errorf("TenantByName = %v, %v", got, err)
		}
		for _, name := range []string{"other", "", "ACME", "acme\x00"} {
			if _, err := s.TenantByName(t.Context(), name); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("TenantByName(%q) = %v", name, err)
			}
		}

		_, _, err = s.Operator().CreateTenant(t.Context(), store.NewTenant{Name: "acme", Admin: store.NewUser{Email: "b@example.com"}}, by())
		if c, ok := errors.AsType[*store.ConflictError](err); !ok || c.Field != "name" {
			t.Errorf("second tenant of the name: %v", err)
		}
		// A fault in the last part takes all back.
		_, _, err = s.Operator().CreateTenant(t.Context(), store.NewTenant{
			Name: "beta", Admin: store.NewUser{Email: "b@example.com"}, Key: &store.NewAPIKey{},
		}, by())
		if _, ok := errors.AsType[*store.InvalidError](err); !ok {
			t.Errorf("bad key: %v", err)
		}
		if _, err := s.TenantByName(t.Context(), "beta"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("after a failed CreateTenant: %v", err)
		}
	})
}

func TestTenantList(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		s := open()
		var want []string
		for i := range 7 {
			name := fmt.Sprintf("t%d", i)
			newTenant(t, s, name)
			want = append(want, name)
		}
		slices.Reverse(want)
		var got []string
		page := store.Page{Limit: 3}
		for {
			list, next, err := s.Operator().Tenants(t.Context(), page)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range list {
				got = append(got, r.Name)
			}
			if next == "" {
				break
			}
			page.After = next
		}
		if !slices.Equal(got, want) {
			t.Errorf("Tenants = %v, want %v", got, want)
		}
		for _, cursor := range []string{"x", "AAAA", "/////w"} {
			_, _, err := s.Operator().Tenants(t.Context(), store.Page{After: cursor})
			if _, ok := errors.AsType[*store.CursorError](err); !ok {
				t.Errorf("cursor %q: %v", cursor, err)
			}
		}
	})
}

func TestTenantState(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		s := open()
		tenant, _ := newTenant(t, s, "acme")
		for _, state := range []store.State{store.StateSuspended, store.StateSuspended, store.StateActive} {
			if err := s.Operator().SetTenantState(t.Context(), tenant.ID(), state, by()); err != nil {
				t.Fatal(err)
			}
			if r := must[store.TenantRecord](t)(tenant.Record(t.Context())); r.State != state {
				t.Errorf("state is %q, want %q", r.State, state)
			}
		}
		if err := s.Operator().SetTenantState(t.Context(), uuid.New(), store.StateSuspended, by()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("unknown tenant: %v", err)
		}
		if _, ok := errors.AsType[*store.InvalidError](s.Operator().SetTenantState(t.Context(), tenant.ID(), "gone", by())); !ok {
			t.Error("an unknown state was taken")
		}
	})
}

func TestSettingsAndQuotas(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		s := open()
		tenant, _ := newTenant(t, s, "acme")
		got := must[store.Settings](t)(tenant.Settings(t.Context()))
		if got.OnUnknown != store.OnUnknownRetry || got.RetentionDays != 30 || !got.UpdatedAt.IsZero() {
			t.Errorf("defaults: %+v", got)
		}
		hold, days := string(store.OnUnknownHold), 7
		for _, patch := range []store.SettingsPatch{{OnUnknown: &hold}, {RetentionDays: &days}} {
			must[store.Settings](t)(tenant.UpdateSettings(t.Context(), patch, by()))
		}
		got = must[store.Settings](t)(tenant.Settings(t.Context()))
		if got.OnUnknown != hold || got.RetentionDays != days || got.UpdatedAt.IsZero() {
			t.Errorf("after two changes: %+v", got)
		}
		bad := -1
		if _, err := tenant.UpdateSettings(t.Context(), store.SettingsPatch{RetentionDays: &bad}, by()); err == nil {
			t.Error("negative days were taken")
		}
		if _, err := s.Tenant(uuid.New()).UpdateSettings(t.Context(), store.SettingsPatch{OnUnknown: &hold}, by()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("unknown tenant: %v", err)
		}

		if q := must[store.Quotas](t)(tenant.Quotas(t.Context())); q != (store.Quotas{}) {
			t.Errorf("quotas before: %+v", q)
		}
		want := store.Quotas{MessagesPerDay: 10, MessagesPerMonth: 100, Queued: 5}
		if err := s.Operator().SetQuotas(t.Context(), tenant.ID(), want, by()); err != nil {
			t.Fatal(err)
		}
		if q := must[store.Quotas](t)(tenant.Quotas(t.Context())); q != want {
			t.Errorf("Quotas = %+v, want %+v", q, want)
		}
		if err := s.Operator().SetQuotas(t.Context(), uuid.New(), want, by()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("unknown tenant: %v", err)
		}
	})
}
