package httpapi_test

import (
	"context"
	"strings"
	"testing"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
)

// runUntilFlushed runs the server's background part once, to its end, which writes what was gathered.
func (in *installation) runUntilFlushed() {
	in.t.Helper()
	ctx, cancel := context.WithCancel(in.t.Context())
	cancel()
	if err := in.server.Run(ctx); err != nil {
		in.t.Fatal(err)
	}
}

// TestDenialsAreAudited: refused attempts are in the audit log of whom they concern, equal ones summed up.
func TestDenialsAreAudited(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.call("GET", "/v1/users", in.token(in.a.user), nil)
	key, _ := in.key(in.a.admin)
	in.call("GET", "/v1/api-keys/"+key.ID().String(), in.token(in.a.user), nil)
	in.call("POST", "/v1/login", "", api.LoginRequest{Tenant: "acme", Email: in.a.user.Email, Password: "wrong password"})
	in.call("GET", "/v1/me", "", nil)                                             // no attempt at all
	in.call("GET", "/v1/me", in.token(in.a.user)+"x", nil)                        // somebody's: nobody knows whose
	in.call("GET", "/v1/users/"+in.b.user.ID.String(), in.token(in.a.admin), nil) // as if it did not exist
	in.runUntilFlushed()

	list := func(path, credential string) map[string]api.AuditEntry {
		found := map[string]api.AuditEntry{}
		for _, e := range read[api.AuditEntries](t, in.call("GET", path, credential, nil), 200).Data {
			found[e.Action+" "+e.Detail["reason"]] = e
		}
		return found
	}
	got := list("/v1/audit?outcome=denied", in.token(in.a.admin))
	for name, operation := range map[string]string{
		"access.role role_missing": "list-users", "access.row other_user": "get-api-key", "access.login wrong_password": "login",
	} {
		e, ok := got[name]
		if !ok || e.Target.ID != operation || e.Outcome != "denied" || e.Actor.UserID != in.a.user.ID.String() || e.Actor.Address == "" {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if len(list("/v1/audit?outcome=denied", in.token(in.b.admin))) != 0 {
		t.Error("another tenant sees them")
	}
	operators := list("/v1/operator/audit?outcome=denied", in.operator.Reveal())
	if e, ok := operators["access.credential signature"]; !ok || e.Actor.UserID != "" {
		t.Errorf("the operator's: %+v", operators)
	}
	for name := range operators {
		if strings.Contains(name, string(auth.ReasonNoHeader)) {
			t.Error("a request without a credential was audited")
		}
	}
}

func TestDenialsAreSummed(t *testing.T) {
	t.Parallel()
	in := install(t)
	token := in.token(in.a.user)
	for range 25 {
		in.call("GET", "/v1/users", token, nil)
	}
	in.runUntilFlushed()
	entries := read[api.AuditEntries](t, in.call("GET", "/v1/audit?outcome=denied", in.token(in.a.admin), nil), 200)
	if len(entries.Data) != 1 || entries.Data[0].Count != 25 {
		t.Errorf("entries %+v", entries)
	}
}

// TestChangesAreAudited: with who did it, and from where.
func TestChangesAreAudited(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.call("POST", "/v1/users", in.token(in.a.admin), api.NewUser{Email: "new@acme.example"})
	entries := read[api.AuditEntries](t, in.call("GET", "/v1/audit?action=user.create&limit=1", in.token(in.a.admin), nil), 200)
	if len(entries.Data) != 1 || entries.Next == "" {
		t.Fatalf("entries %+v", entries)
	}
	e := entries.Data[0]
	if e.Actor.UserID != in.a.admin.ID.String() || e.Actor.Kind != "token" || e.Actor.RequestID == "" || e.Actor.Address != "192.0.2.1" || e.Outcome != "done" || e.Target.Kind != "user" {
		t.Errorf("entry %+v", e)
	}
	next := read[api.AuditEntries](t, in.call("GET", "/v1/audit?action=user.create&after="+entries.Next, in.token(in.a.admin), nil), 200)
	if len(next.Data) == 0 || next.Data[0].ID == e.ID {
		t.Errorf("the next page %+v", next)
	}
}

func TestKeyUseIsNoted(t *testing.T) {
	t.Parallel()
	in := install(t)
	made, key := in.key(in.a.user)
	in.call("GET", "/v1/me", key, nil)
	in.runUntilFlushed()
	if got := read[api.APIKey](t, in.call("GET", "/v1/api-keys/"+made.ID().String(), in.token(in.a.user), nil), 200); got.LastUsedAt == nil {
		t.Errorf("key %+v", got)
	}
}
