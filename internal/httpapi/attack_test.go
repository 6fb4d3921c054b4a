package httpapi_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/tokenattack"
)

// TestTokenAttacks sends every token of the suite over HTTP, for users who exist: 401 to all, 500 to none.
func TestTokenAttacks(t *testing.T) {
	t.Parallel()
	private := must(rsa.GenerateKey(rand.Reader, 2048))
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	keys := []auth.Key{hmacKey(), must(auth.NewPrivateKey("rs", private)), es256(), must(auth.NewPrivateKey("ed", ed))}
	in := install(t, func(c *httpapi.Config) {
		c.Tokens = must(auth.NewVerifier(t.Context(), auth.VerifierConfig{Keys: append(keys, must(auth.NewHMACKey("", []byte(tokenattack.SecondSecret))))}))
	})
	ts := httptest.NewServer(in.handler)
	t.Cleanup(ts.Close)
	suite := tokenattack.Suite{
		Keys: keys, Secret: secretOfTests, RSA: &private.PublicKey,
		Tenant: in.a.id.String(), OtherTenant: in.b.id.String(), User: in.a.admin.ID.String(), OtherUser: in.a.user.ID.String(),
	}
	now := time.Now()
	send := func(token string) (int, string) {
		r := must(http.NewRequestWithContext(t.Context(), http.MethodGet, ts.URL+"/v1/me", nil))
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := ts.Client().Do(r)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusUnauthorized && !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer realm=") {
			return -1, "no WWW-Authenticate"
		}
		return resp.StatusCode, ""
	}
	if status, text := send(suite.Good(now)); status != http.StatusOK {
		t.Fatalf("the good token: %d %s", status, text)
	}
	attacks := suite.All(now)
	if len(attacks) < 250 {
		t.Errorf("the suite has shrunk to %d attacks", len(attacks))
	}
	for _, a := range attacks {
		status, text := send(a.Token)
		// What cannot stand in a header at all does not leave the client; what is longer than any header ends earlier.
		refusedByClient := status == 0 && strings.Contains(text, "invalid header field value")
		if status != http.StatusUnauthorized && status != http.StatusRequestHeaderFieldsTooLarge && !refusedByClient {
			t.Errorf("%s: status %d %s", a.Name, status, text)
		}
		// The same without a network in between, which lets everything pass.
		if w := in.call(http.MethodGet, "/v1/me", a.Token, nil); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", a.Name, w.Code, w.Body)
		}
	}
	if log := in.log.String(); strings.Contains(log, "panic") || strings.Contains(log, `"status":500`) {
		t.Error("the log tells of a panic or a 500")
	}
}

// TestNoOtherWayIn: nothing but the field Authorization says who one is.
func TestNoOtherWayIn(t *testing.T) {
	t.Parallel()
	in := install(t)
	token := in.token(in.a.admin)
	r := httptest.NewRequest(http.MethodGet, "/v1/me?access_token="+token+"&tenant_id="+in.a.id.String(), nil)
	r.AddCookie(&http.Cookie{Name: "access_token", Value: token})
	for name, value := range map[string]string{
		"X-Tenant-ID": in.a.id.String(), "X-User-ID": in.a.admin.ID.String(), "X-Role": "admin", "X-Authorization": "Bearer " + token, "Proxy-Authorization": "Bearer " + token,
	} {
		r.Header.Set(name, value)
	}
	refused(t, in.send(r), 401, api.Code(auth.CodeMissing))

	// With a good token of one tenant, the header that names another changes nothing.
	r = httptest.NewRequest(http.MethodGet, "/v1/me", nil)
	r.Header.Set("Authorization", "Bearer "+in.token(in.b.user))
	r.Header.Set("X-Tenant-ID", in.a.id.String())
	r.Header.Set("X-Role", "admin")
	if me := read[api.Me](t, in.send(r), 200); me.TenantID != in.b.id.String() || me.Role != "user" {
		t.Errorf("me %+v", me)
	}
}

// TestRoleOfTokenIsBounded: a token, or a key, with a role above the stored one counts as the stored one.
func TestRoleOfTokenIsBounded(t *testing.T) {
	t.Parallel()
	in := install(t)
	issued := must(in.issuer.Issue(auth.Grant{TenantID: in.a.id.String(), UserID: in.a.user.ID.String(), Role: auth.RoleAdmin}))
	token := issued.Token.Reveal()
	if me := read[api.Me](t, in.call("GET", "/v1/me", token, nil), 200); me.Role != "user" {
		t.Errorf("me %+v", me)
	}
	refused(t, in.call("GET", "/v1/users", token, nil), 403, api.Code(auth.CodeRole))
}
