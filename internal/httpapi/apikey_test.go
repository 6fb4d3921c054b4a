package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

func TestAPIKeyLife(t *testing.T) {
	t.Parallel()
	in := install(t)
	token := in.token(in.a.user)
	made := read[api.CreatedAPIKey](t, in.call("POST", "/v1/api-keys", token, api.NewAPIKey{Name: "first"}), 201)
	if made.Role != "user" || made.Scope != "full" || made.UserID != in.a.user.ID.String() || code(t, in.handler, made.Key) != "" {
		t.Fatalf("made %+v", made)
	}
	path := "/v1/api-keys/" + made.ID
	if got := read[api.APIKey](t, in.call("PATCH", path, token, api.APIKeyPatch{Name: "renamed"}), 200); got.Name != "renamed" {
		t.Errorf("renamed: %+v", got)
	}
	// The key may use itself, its user's other keys and, being full, its user's rights.
	if got := read[api.APIKeys](t, in.call("GET", "/v1/api-keys", made.Key, nil), 200); len(got.Data) != 1 || got.Data[0].Name != "renamed" {
		t.Errorf("list: %+v", got)
	}
	adminsKey, _ := in.key(in.a.admin)
	// Users see their own, admins the tenant's, and a user learns nothing of an admin's.
	admins := read[api.APIKeys](t, in.call("GET", "/v1/api-keys", in.token(in.a.admin), nil), 200)
	if len(admins.Data) != 2 {
		t.Errorf("the admin's list: %+v", admins)
	}
	if got := read[api.APIKeys](t, in.call("GET", "/v1/api-keys?user_id="+in.a.user.ID.String(), in.token(in.a.admin), nil), 200); len(got.Data) != 1 {
		t.Errorf("the admin's list of the user's: %+v", got)
	}
	if got := read[api.APIKeys](t, in.call("GET", "/v1/api-keys?user_id="+in.a.admin.ID.String(), token, nil), 200); len(got.Data) != 0 {
		t.Errorf("the user's list of the admin's: %+v", got)
	}
	for _, id := range []string{adminsKey.ID().String(), uuid.NewString()} {
		refused(t, in.call("GET", "/v1/api-keys/"+id, token, nil), 404, api.CodeNotFound)
		refused(t, in.call("PATCH", "/v1/api-keys/"+id, token, api.APIKeyPatch{Name: "x"}), 404, api.CodeNotFound)
		refused(t, in.call("DELETE", "/v1/api-keys/"+id, token, nil), 404, api.CodeNotFound)
	}
	if w := in.call("DELETE", path, in.token(in.a.admin), nil); w.Code != 204 {
		t.Fatalf("revoke: %d %s", w.Code, w.Body)
	}
	if got := code(t, in.handler, made.Key); got != api.Code(auth.CodeInvalidKey) {
		t.Errorf("afterwards: %s", got)
	}
	if got := read[api.APIKey](t, in.call("GET", path, token, nil), 200); got.RevokedAt == nil {
		t.Errorf("afterwards: %+v", got)
	}
}

// TestKeyHasNoMoreRights: nobody makes a key that can do more than they.
func TestKeyHasNoMoreRights(t *testing.T) {
	t.Parallel()
	in := install(t)
	end := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	_, narrow := in.key(in.a.admin, func(n *store.NewAPIKey) {
		n.Networks, n.ExpiresAt, n.Test = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, end, true
	})
	_, sending := in.key(in.a.admin, func(n *store.NewAPIKey) { n.Scope = auth.ScopeSending })
	user, admin := in.token(in.a.user), in.token(in.a.admin)
	later := end.Add(time.Minute)
	for name, test := range map[string]struct {
		credential string
		ask        api.NewAPIKey
		status     int
		fault      string // the pointer that is at fault
	}{
		"a user's own":                    {user, api.NewAPIKey{}, 201, ""},
		"a user's, as admin":              {user, api.NewAPIKey{Role: "admin"}, 422, "/role"},
		"a user's, in the admin's name":   {user, api.NewAPIKey{UserID: in.a.admin.ID.String()}, 422, "/user_id"},
		"in the name of nobody":           {user, api.NewAPIKey{UserID: uuid.NewString()}, 422, "/user_id"},
		"an admin's":                      {admin, api.NewAPIKey{Role: "admin"}, 201, ""},
		"an admin's, in the user's name":  {admin, api.NewAPIKey{UserID: in.a.user.ID.String()}, 201, ""},
		"an admin's, the user as admin":   {admin, api.NewAPIKey{UserID: in.a.user.ID.String(), Role: "admin"}, 422, "/role"},
		"an admin's, in another tenant":   {admin, api.NewAPIKey{UserID: in.b.user.ID.String()}, 422, "/user_id"},
		"an admin's, in nobody's name":    {admin, api.NewAPIKey{UserID: uuid.NewString()}, 422, "/user_id"},
		"by a sending-only key":           {sending, api.NewAPIKey{Scope: "sending"}, 403, ""},
		"by a narrow key":                 {narrow, api.NewAPIKey{Role: "admin"}, 201, ""},
		"by a narrow key, within":         {narrow, api.NewAPIKey{Networks: []string{"192.0.2.7"}}, 201, ""},
		"by a narrow key, wider":          {narrow, api.NewAPIKey{Networks: []string{"192.0.0.0/16"}}, 422, "/networks/0"},
		"by a narrow key, elsewhere":      {narrow, api.NewAPIKey{Networks: []string{"192.0.2.0/24", "::/0"}}, 422, "/networks/1"},
		"by a narrow key, all of IPv4":    {narrow, api.NewAPIKey{Networks: []string{"0.0.0.0/0"}}, 422, "/networks/0"},
		"by a narrow key, for longer":     {narrow, api.NewAPIKey{ExpiresAt: &later}, 422, "/expires_at"},
		"one that has ended":              {admin, api.NewAPIKey{ExpiresAt: &time.Time{}}, 422, "/expires_at"},
		"by a narrow key, in user's name": {narrow, api.NewAPIKey{UserID: in.a.user.ID.String()}, 201, ""},
	} {
		t.Run(name, func(t *testing.T) {
			test.ask.Name = "asked for"
			w := in.call("POST", "/v1/api-keys", test.credential, test.ask)
			if w.Code != test.status {
				t.Fatalf("status %d, want %d: %s", w.Code, test.status, w.Body)
			}
			switch {
			case test.fault != "":
				p := read[api.Problem](t, w, test.status)
				if len(p.Errors) != 1 || p.Errors[0].Pointer != test.fault {
					t.Errorf("errors %+v", p.Errors)
				}
			case w.Code == 201 && test.credential == narrow:
				made := read[api.CreatedAPIKey](t, w, 201)
				if made.ExpiresAt == nil || !made.ExpiresAt.Equal(end) || !made.Test || len(made.Networks) == 0 {
					t.Errorf("it got more than its creator: %+v", made)
				}
			}
		})
	}
}

// TestSendingOnlyKey: it may hand in messages, know who it is, and nothing else. That the document says so of every
// operation is the walker's to show.
func TestSendingOnlyKey(t *testing.T) {
	t.Parallel()
	in := install(t)
	_, all := in.operations()
	var open []string
	for _, op := range all {
		if slices.Contains(op.Roles, "sending") {
			open = append(open, op.ID)
		}
	}
	for _, id := range open {
		if !slices.Contains([]string{"get-me", "send-message", "send-messages", "send-batch", "validate-message", "send-raw-message"}, id) {
			t.Errorf("a sending-only key may call %s: is that handing in a message?", id)
		}
	}
}

// TestAllowedNetworks: a key is good from its networks only, and a made-up X-Forwarded-For is no network.
func TestAllowedNetworks(t *testing.T) {
	t.Parallel()
	in := install(t)
	_, key := in.key(in.a.user, func(n *store.NewAPIKey) { n.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	from := func(remote, forwarded string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/v1/me", nil)
		r.RemoteAddr = remote
		r.Header.Set("Authorization", "Bearer "+key)
		if forwarded != "" {
			r.Header.Set("X-Forwarded-For", forwarded)
		}
		return in.send(r)
	}
	if w := from("192.0.2.9:1", ""); w.Code != 200 {
		t.Errorf("within: %d %s", w.Code, w.Body)
	}
	refused(t, from("198.51.100.1:1", ""), 403, api.Code(auth.CodeNetwork))
	refused(t, from("198.51.100.1:1", "192.0.2.9"), 403, api.Code(auth.CodeNetwork))
}
