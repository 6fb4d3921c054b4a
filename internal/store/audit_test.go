package store_test

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// actions names what entries tell of, the newest first as lists do.
func actions(entries []store.AuditEntry) string {
	var list []string
	for _, e := range entries {
		list = append(list, e.Action)
	}
	return strings.Join(list, " ")
}

func TestAnAuditEntryIsReadAsItWasWritten(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		s := open()
		tenant := store.NewID()
		e := store.AuditEntry{
			ID: store.NewID(), TenantID: tenant, At: at(1),
			Actor: store.Actor{
				Kind: store.ActorToken, TenantID: tenant, UserID: store.NewID(), TokenID: "jti", Role: "admin",
				Addr: netip.MustParseAddr("2001:db8::1"), UserAgent: "curl/8", RequestID: "r7",
			},
			Action: "user.create", TargetKind: "user", TargetID: store.NewID().String(), Outcome: store.AuditFailed, Count: 3,
			Detail: map[string]string{"role": "user"}, Personal: map[string]string{"email": "ann@example.com"},
		}
		if err := s.AddAudit(t.Context(), []store.AuditEntry{e}); err != nil {
			t.Fatal(err)
		}
		// It was not known whether that succeeded, and it is done once more.
		if err := s.AddAudit(t.Context(), []store.AuditEntry{e}); err != nil {
			t.Fatal(err)
		}
		list, next, err := s.Tenant(tenant).Audit(t.Context(), store.AuditFilter{}, store.Page{})
		if err != nil || next != "" || len(list) != 1 {
			t.Fatalf("got %v, %q, %v", list, next, err)
		}
		if !reflect.DeepEqual(list[0], e) {
			t.Errorf("got  %+v\nwant %+v", list[0], e)
		}
	})
}

func TestAnAuditEntryIsFilledInAndCut(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		s := open(func(c *store.Config) { c.Now = func() time.Time { return at(5) } })
		long := strings.Repeat("x", 5000)
		many := map[string]string{"bad": "nul \x00 and \xff", "long": long}
		for i := range 100 {
			many[fmt.Sprintf("z%02d", i)] = "z"
		}
		err := s.AddAudit(t.Context(), []store.AuditEntry{{Actor: store.Actor{UserAgent: long}, Action: "login", TargetID: long + "\x00", Detail: many}})
		if err != nil {
			t.Fatal(err)
		}
		list, _, err := s.Operator().Audit(t.Context(), store.AuditFilter{}, store.Page{})
		if err != nil || len(list) != 1 {
			t.Fatalf("got %v, %v", list, err)
		}
		e := list[0]
		if e.ID == uuid.Nil || !e.At.Equal(at(5)) || e.Outcome != store.AuditDone || e.Count != 1 || e.Actor.Kind != store.ActorNobody {
			t.Errorf("not filled in: %+v", e)
		}
		if len(e.TargetID) != 200 || len(e.Actor.UserAgent) != 1000 || len(e.Detail) != 32 || len(e.Detail["long"]) != 1000 || e.Detail["bad"] != "nul  and " {
			t.Errorf("not cut: %d %d %d %d %q", len(e.TargetID), len(e.Actor.UserAgent), len(e.Detail), len(e.Detail["long"]), e.Detail["bad"])
		}
	})
}

func TestAuditEntriesAreFilteredAndPaged(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		s := open()
		tenant, user, target := store.NewID(), store.NewID(), store.NewID().String()
		entry := func(minute int, action string, kind store.ActorKind, user uuid.UUID, target, outcome string) store.AuditEntry {
			return store.AuditEntry{
				TenantID: tenant, At: at(minute), Action: action, TargetID: target, Outcome: outcome,
				Actor: store.Actor{Kind: kind, UserID: user, TokenID: "key-" + action},
			}
		}
		other := entry(2, "user.create", store.ActorToken, user, target, "done")
		other.TenantID = store.NewID()
		operators := entry(2, "tenant.create", store.ActorOperator, uuid.Nil, target, "done")
		operators.TenantID = uuid.Nil
		entries := []store.AuditEntry{
			entry(1, "user.create", store.ActorToken, user, target, "done"),
			entry(2, "user.update", store.ActorToken, store.NewID(), target, "done"),
			entry(3, "users", store.ActorSystem, uuid.Nil, "x", "failed"),
			entry(4, "access.role", store.ActorAPIKey, user, "y", "denied"),
			other, operators,
		}
		if err := s.AddAudit(t.Context(), entries); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name   string
			filter store.AuditFilter
			want   string
		}{
			{"none", store.AuditFilter{}, "access.role users user.update user.create"},
			{"user", store.AuditFilter{Actor: user.String()}, "access.role user.create"},
			{"kind of actor", store.AuditFilter{Actor: "system"}, "users"},
			{"token", store.AuditFilter{Actor: "key-users"}, "users"},
			{"action", store.AuditFilter{Action: "user.update"}, "user.update"},
			{"actions that begin so", store.AuditFilter{Action: "user."}, "user.update user.create"},
			{"no pattern", store.AuditFilter{Action: "user%"}, ""},
			{"target", store.AuditFilter{Target: target}, "user.update user.create"},
			{"outcome", store.AuditFilter{Outcome: store.AuditDenied}, "access.role"},
			{"from", store.AuditFilter{From: at(2)}, "access.role users user.update"},
			{"to", store.AuditFilter{To: at(2)}, "user.create"},
			{"all at once", store.AuditFilter{Actor: user.String(), Action: "user.", Target: target, Outcome: "done", From: at(0), To: at(9)}, "user.create"},
			{"an injection", store.AuditFilter{Target: "' or 1=1 --"}, ""},
		} {
			list, next, err := s.Tenant(tenant).Audit(t.Context(), c.filter, store.Page{})
			if err != nil || next != "" || actions(list) != c.want {
				t.Errorf("%s: got %q, %q, %v; want %q", c.name, actions(list), next, err, c.want)
			}
		}
		if list, _, err := s.Operator().Audit(t.Context(), store.AuditFilter{}, store.Page{}); err != nil || actions(list) != "tenant.create" {
			t.Errorf("the operator sees %q, %v", actions(list), err)
		}
		if list, _, err := s.Tenant(store.NewID()).Audit(t.Context(), store.AuditFilter{}, store.Page{}); err != nil || len(list) != 0 {
			t.Errorf("a tenant without entries sees %q, %v", actions(list), err)
		}

		var got []string
		page := store.Page{Limit: 3}
		for {
			list, next, err := s.Tenant(tenant).Audit(t.Context(), store.AuditFilter{}, page)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, actions(list))
			if page.After = next; next == "" {
				break
			}
		}
		if want := []string{"access.role users user.update", "user.create"}; !slices.Equal(got, want) {
			t.Errorf("pages are %q, want %q", got, want)
		}
		if _, _, err := s.Tenant(tenant).Audit(t.Context(), store.AuditFilter{}, store.Page{After: "x"}); !isCursorError(err) {
			t.Errorf("a bad cursor: %v", err)
		}
	})
}

func isCursorError(err error) bool {
	_, ok := errors.AsType[*store.CursorError](err)
	return ok
}

func TestAChangeIsAudited(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		s := open()
		tenant, admin := newTenant(t, s, "acme")
		newKey(t, tenant, admin.ID, "admin")
		list := must[[]store.AuditEntry](t)(first(tenant.Audit(t.Context(), store.AuditFilter{}, store.Page{})))
		if got := actions(list); got != "api_key.create user.create" {
			t.Errorf("the tenant's entries: %s", got)
		}
		if e := list[1]; e.Actor != by() || e.TargetID != admin.ID.String() || !maps.Equal(e.Detail, map[string]string{"role": "admin"}) {
			t.Errorf("the entry is %+v", e)
		}
		operators := must[[]store.AuditEntry](t)(first(s.Operator().Audit(t.Context(), store.AuditFilter{}, store.Page{})))
		if got := actions(operators); got != "tenant.create" {
			t.Errorf("the operator's entries: %s", got)
		}
	})
}

func first(list []store.AuditEntry, _ string, err error) ([]store.AuditEntry, error) {
	return list, err
}
