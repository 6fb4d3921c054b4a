package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
)

func TestMiddlewareConfig(t *testing.T) {
	t.Parallel()
	if _, err := auth.New(auth.Config{}); err == nil || !strings.Contains(err.Error(), "nothing can be verified") {
		t.Errorf("error %v", err)
	}
	v := verifierOf(t, auth.VerifierConfig{Keys: allKeys()})
	for _, realm := range []string{`a"b`, "a\nb", `a\b`, "ä"} {
		if _, err := auth.New(auth.Config{Tokens: v, Realm: realm}); err == nil {
			t.Errorf("realm %q is taken", realm)
		}
	}
}

// Each refusal by the middleware: status, code, challenge, and what OnDecision sees.
func TestRefusals(t *testing.T) {
	t.Parallel()
	var seen decisions
	list := must(auth.NewRevocationList(auth.RevocationConfig{}))
	verifier := verifierOf(t, auth.VerifierConfig{Keys: allKeys(), Revocations: list})
	errDisk := errors.New("pq: password authentication failed for user hunter2")
	guard := guardOf(t, auth.Config{
		Tokens: verifier, OnDecision: seen.add, Realm: "mail",
		Directory: func(_ context.Context, p auth.Principal) error {
			switch p.TenantID {
			case id(tenantB):
				return fmt.Errorf("looking for %s: %w", p.TenantID, auth.ErrNotRegistered)
			case id(userA2):
				return auth.ErrSuspended
			case id(userB):
				return errDisk
			}
			return nil
		},
	})
	issuer := issuerOf(t, auth.IssuerConfig{Key: testKeys()[auth.HS256]})
	token := func(tenant string) string {
		return "Bearer " + issue(t, issuer, auth.Grant{TenantID: tenant, UserID: userA, Role: auth.RoleUser})
	}
	revoked := must(issuer.Issue(grantA()))
	if err := list.Revoke(auth.Revocation{TenantID: id(tenantA), TokenID: revoked.ID}); err != nil {
		t.Fatal(err)
	}
	expired := forge(header(nil), claims(time.Now().Add(-2*time.Hour), nil), hs256([]byte(secretA)))
	for _, c := range []struct {
		name      string
		fields    []string
		status    int
		code      auth.Code
		reason    auth.Reason
		challenge string
		known     bool
	}{
		{"no header", nil, 401, auth.CodeMissing, auth.ReasonNoHeader, `Bearer realm="mail"`, false},
		{"other scheme", []string{"Basic dTpw"}, 401, auth.CodeMissing, auth.ReasonScheme, `Bearer realm="mail"`, false},
		{"two", []string{"Bearer a", "Bearer b"}, 401, auth.CodeInvalidRequest, auth.ReasonManyHeaders, `error="invalid_request"`, false},
		{"rubbish", []string{"Bearer abc"}, 401, auth.CodeInvalidToken, auth.ReasonFormat, `error="invalid_token"`, false},
		{"expired", []string{"Bearer " + expired}, 401, auth.CodeExpiredToken, auth.ReasonExpired, `error="invalid_token"`, false},
		{"revoked", []string{"Bearer " + revoked.Token.Reveal()}, 401, auth.CodeRevoked, auth.ReasonRevoked, `error="invalid_token"`, false},
		{"API key without APIKeys", []string{"Bearer pr_abc"}, 401, auth.CodeInvalidKey, auth.ReasonNotAccepted, `error="invalid_token"`, false},
		{"operator without Operator", []string{"Bearer pr_operator_abc"}, 401, auth.CodeInvalidKey, auth.ReasonNotAccepted, `error="invalid_token"`, false},
		{"not registered", []string{token(tenantB)}, 403, auth.CodeNotRegistered, auth.ReasonNotRegistered, "", true},
		{"suspended", []string{token(userA2)}, 403, auth.CodeSuspended, auth.ReasonSuspended, "", true},
		{"directory fails", []string{token(userB)}, 503, auth.CodeUnavailable, auth.ReasonHook, "", true},
	} {
		w := ask(guard.Handler(who), c.fields...)
		refusedAs(t, w, c.status, c.code, "hunter2", "pq:")
		got := w.Header().Get("WWW-Authenticate")
		if !strings.Contains(got, c.challenge) || c.challenge == "" && got != "" || c.code == auth.CodeMissing && got != c.challenge {
			t.Errorf("%s: WWW-Authenticate %q", c.name, got)
		}
		d := seen.last()
		if d.Allowed || d.Check != auth.CheckCredential || d.Reason != c.reason || d.Code != c.code || d.Err == nil || d.Request == nil || (d.Principal.Kind != "") != c.known {
			t.Errorf("%s: decision %+v", c.name, d)
		}
		if c.status == http.StatusServiceUnavailable && (!errors.Is(d.Err, errDisk) || w.Header().Get("Retry-After") == "") {
			t.Errorf("%s: cause %v, Retry-After %q", c.name, d.Err, w.Header().Get("Retry-After"))
		}
	}
	if w := ask(guard.Handler(who), token(tenantA)); w.Code != http.StatusOK {
		t.Errorf("good: %d %s", w.Code, w.Body)
	}
	if d := seen.last(); !d.Allowed || d.Reason != auth.ReasonAuthenticated || d.Code != "" || d.Err != nil || d.Principal.UserID != id(userA) {
		t.Errorf("decision %+v", d)
	}
}

// Who passes which check.
func TestRequirements(t *testing.T) {
	t.Parallel()
	user := auth.Principal{TenantID: id(tenantA), UserID: id(userA), Role: auth.RoleUser, Kind: auth.KindToken, Scope: auth.ScopeFull}
	admin := user
	admin.Role = auth.RoleAdmin
	key := admin
	key.Kind = auth.KindAPIKey
	sending := key
	sending.Scope = auth.ScopeSending
	operator := auth.Principal{Kind: auth.KindOperator, Scope: auth.ScopeFull}
	odd := user
	odd.Role, odd.Scope = "Admin", "Full"
	callers := map[string]auth.Principal{"nobody": {}, "user": user, "admin": admin, "key": key, "sending": sending, "operator": operator, "odd": odd}
	for _, c := range []struct {
		name  string
		guard func(http.Handler) http.Handler
		pass  []string
		code  map[string]auth.Code // of the others, if not insufficient_role
	}{
		{"admin", auth.RequireRole(auth.RoleAdmin), []string{"admin", "key"}, map[string]auth.Code{"sending": auth.CodeScope}},
		{"user", auth.RequireRole(auth.RoleUser), []string{"user"}, map[string]auth.Code{"sending": auth.CodeScope}},
		{"both", auth.RequireRole(auth.RoleUser, auth.RoleAdmin), []string{"user", "admin", "key"}, map[string]auth.Code{"sending": auth.CodeScope}},
		{"none", auth.RequireRole(), nil, map[string]auth.Code{"sending": auth.CodeScope}},
		{"empty role", auth.RequireRole(""), nil, map[string]auth.Code{"sending": auth.CodeScope}},
		{"to send", auth.RequireScope(auth.ScopeSending), []string{"user", "admin", "key", "sending"}, map[string]auth.Code{"operator": auth.CodeKind, "odd": auth.CodeScope}},
		{"full", auth.RequireScope(auth.ScopeFull), []string{"user", "admin", "key"}, map[string]auth.Code{"operator": auth.CodeKind, "sending": auth.CodeScope, "odd": auth.CodeScope}},
		{"odd scope", auth.RequireScope("Full"), nil, map[string]auth.Code{"operator": auth.CodeKind, "user": auth.CodeScope, "admin": auth.CodeScope, "key": auth.CodeScope, "sending": auth.CodeScope, "odd": auth.CodeScope}},
		{"operator", auth.RequireKind(auth.KindOperator), []string{"operator"}, map[string]auth.Code{"user": auth.CodeKind, "admin": auth.CodeKind, "key": auth.CodeKind, "sending": auth.CodeKind, "odd": auth.CodeKind}},
		{"token", auth.RequireKind(auth.KindToken), []string{"user", "admin", "odd"}, map[string]auth.Code{"operator": auth.CodeKind, "key": auth.CodeKind, "sending": auth.CodeKind}},
		{"no kind", auth.RequireKind(), nil, map[string]auth.Code{"operator": auth.CodeKind, "user": auth.CodeKind, "admin": auth.CodeKind, "key": auth.CodeKind, "sending": auth.CodeKind, "odd": auth.CodeKind}},
	} {
		for name, p := range callers {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r = r.WithContext(auth.NewContext(r.Context(), p))
			w := httptest.NewRecorder()
			c.guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })).ServeHTTP(w, r)
			switch {
			case slices.Contains(c.pass, name):
				if w.Code != http.StatusNoContent {
					t.Errorf("%s: %s is refused: %d %s", c.name, name, w.Code, w.Body)
				}
			case name == "nobody":
				refusedAs(t, w, http.StatusUnauthorized, auth.CodeMissing)
			default:
				want := auth.CodeRole
				if code, ok := c.code[name]; ok {
					want = code
				}
				refusedAs(t, w, http.StatusForbidden, want)
			}
		}
	}
	// A request that passed no middleware at all.
	w := httptest.NewRecorder()
	auth.RequireRole(auth.RoleUser)(who).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	refusedAs(t, w, http.StatusUnauthorized, auth.CodeMissing)
}

func TestAccess(t *testing.T) {
	t.Parallel()
	p := func(tenant, user string, role auth.Role) auth.Principal {
		return auth.Principal{TenantID: id(tenant), UserID: id(user), Role: role, Kind: auth.KindToken, Scope: auth.ScopeFull}
	}
	row := func(tenant, user uuid.UUID) auth.Row { return auth.Row{TenantID: tenant, UserID: user} }
	none := uuid.Nil
	for _, c := range []struct {
		name string
		who  auth.Principal
		row  auth.Row
		want auth.Reason // empty: allowed
	}{
		{"own row", p(tenantA, userA, auth.RoleUser), row(id(tenantA), id(userA)), ""},
		{"colleague's row", p(tenantA, userA, auth.RoleUser), row(id(tenantA), id(userA2)), auth.ReasonOtherUser},
		{"tenant's row", p(tenantA, userA, auth.RoleUser), row(id(tenantA), none), auth.ReasonOtherUser},
		{"other tenant's row", p(tenantA, userA, auth.RoleUser), row(id(tenantB), id(userB)), auth.ReasonOtherTenant},
		{"own id in another tenant", p(tenantA, userA, auth.RoleUser), row(id(tenantB), id(userA)), auth.ReasonOtherTenant},
		{"nobody's row", p(tenantA, userA, auth.RoleUser), row(none, none), auth.ReasonOtherTenant},
		{"admin: own", p(tenantA, userA, auth.RoleAdmin), row(id(tenantA), id(userA)), ""},
		{"admin: user's", p(tenantA, userA, auth.RoleAdmin), row(id(tenantA), id(userA2)), ""},
		{"admin: tenant's", p(tenantA, userA, auth.RoleAdmin), row(id(tenantA), none), ""},
		{"admin: other tenant's", p(tenantA, userA, auth.RoleAdmin), row(id(tenantB), id(userA)), auth.ReasonOtherTenant},
		{"admin: nobody's", p(tenantA, userA, auth.RoleAdmin), row(none, none), auth.ReasonOtherTenant},
		{"operator", auth.Principal{Kind: auth.KindOperator, Scope: auth.ScopeFull}, row(none, none), auth.ReasonOtherTenant},
		{"operator: tenant's", auth.Principal{Kind: auth.KindOperator, Scope: auth.ScopeFull}, row(id(tenantA), none), auth.ReasonOtherTenant},
		{"odd role", p(tenantA, userA, "root"), row(id(tenantA), id(userA)), auth.ReasonOtherUser},
		{"no role", p(tenantA, userA, ""), row(id(tenantA), id(userA)), auth.ReasonOtherUser},
		{"nobody", auth.Principal{}, row(none, none), auth.ReasonNobody},
	} {
		err := auth.CheckAccess(auth.NewContext(t.Context(), c.who), c.row)
		if c.want == "" && err != nil || c.want != "" && refusedFor(t, err) != c.want {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if auth.IsOtherTenant(err) != (c.want == auth.ReasonOtherTenant) || c.who.MayAccess(c.row) != (c.want == "") {
			t.Errorf("%s: IsOtherTenant %t, MayAccess %t", c.name, auth.IsOtherTenant(err), c.who.MayAccess(c.row))
		}
	}
	if err := auth.CheckAccess(t.Context(), row(id(tenantA), none)); refusedFor(t, err) != auth.ReasonNobody {
		t.Errorf("without a principal: %v", err)
	}
}

// Checks inside the chain go to the same hook and the same rendering.
func TestHooksInsideTheChain(t *testing.T) {
	t.Parallel()
	var seen decisions
	guard := guardOf(t, auth.Config{
		Tokens: verifierOf(t, auth.VerifierConfig{Keys: allKeys()}), OnDecision: seen.add,
		Refuse: func(w http.ResponseWriter, r *http.Request, e *auth.Error) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(e.Status())
			_ = json.NewEncoder(w).Encode(map[string]any{"statusCode": e.Status(), "name": e.Code, "path": r.URL.Path})
		},
	})
	handler := guard.Handler(auth.RequireRole(auth.RoleUser)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = auth.CheckAccess(r.Context(), auth.Row{TenantID: id(tenantA), UserID: id(userA)})
		_ = auth.CheckKind(r.Context(), auth.KindToken)
		_ = auth.CheckScope(r.Context(), auth.ScopeSending)
		if err := auth.CheckAccess(r.Context(), auth.Row{TenantID: id(tenantB), UserID: id(userA)}); err != nil {
			auth.Refuse(w, r, err)
		}
	})))
	w := ask(handler, "Bearer "+issue(t, issuerOf(t, auth.IssuerConfig{Key: testKeys()[auth.EdDSA]}), grantA()))
	if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), `"name":"access_denied"`) || !strings.Contains(w.Body.String(), `"path":"/rows"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	want := []auth.Reason{auth.ReasonAuthenticated, auth.ReasonRoleHeld, auth.ReasonOwnRow, auth.ReasonKindHeld, auth.ReasonScopeHeld, auth.ReasonOtherTenant}
	if got := seen.reasons(); !slices.Equal(got, want) {
		t.Errorf("reasons %v, want %v", got, want)
	}
	for _, d := range seen.all {
		if d.Request == nil || d.Principal.UserID != id(userA) {
			t.Errorf("decision %+v", d)
		}
	}
	w = ask(handler, "Bearer x.y.z")
	if w.Code != http.StatusUnauthorized || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("WWW-Authenticate") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// Authenticate is the middleware for frameworks of their own.
func TestAuthenticate(t *testing.T) {
	t.Parallel()
	guard := guardOf(t, auth.Config{Tokens: verifierOf(t, auth.VerifierConfig{Keys: allKeys()}), Realm: "inside"})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r, err := guard.Authenticate(r)
	if _, ok := auth.FromContext(r.Context()); ok || refusedFor(t, err) != auth.ReasonNoHeader {
		t.Errorf("error %v", err)
	}
	w := httptest.NewRecorder()
	auth.Refuse(w, r, err)
	if got := w.Header().Get("WWW-Authenticate"); got != `Bearer realm="inside"` {
		t.Errorf("WWW-Authenticate %q", got)
	}
	r.Header.Set("Authorization", "Bearer "+issue(t, issuerOf(t, auth.IssuerConfig{Key: testKeys()[auth.EdDSA]}), grantA()))
	if r, err = guard.Authenticate(r); err != nil {
		t.Fatal(err)
	}
	if p, ok := auth.FromContext(r.Context()); !ok || p.UserID != id(userA) {
		t.Errorf("principal %v", p)
	}
	// An error that is not ours says nothing of itself.
	w = httptest.NewRecorder()
	auth.Refuse(w, r, errors.New("secret detail"))
	refusedAs(t, w, http.StatusServiceUnavailable, auth.CodeUnavailable, "secret detail")
}

// Own tokens and those of a provider side by side, each judged by its own keys, issuer and names.
func TestSeveralVerifiers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key := p256()
		idpAway := &provider{away: true}
		idpHere := &provider{text: jwks(t, map[string]any{"k": key.Public()})}
		own := verifierOf(t, auth.VerifierConfig{Keys: allKeys(), Issuer: "own"})
		sign := func(iss string, lifetime time.Duration) string {
			i := issuerOf(t, auth.IssuerConfig{Key: testKeys()[auth.ES256], Issuer: iss, Lifetime: lifetime})
			return issue(t, i, grantA())
		}
		stale := sign("own", time.Second)
		<-time.After(time.Minute)
		for _, c := range []struct {
			name   string
			idp    *provider
			token  string
			status int
			code   auth.Code
		}{
			{"own", idpHere, sign("own", time.Hour), 200, ""},
			{"own, provider away", idpAway, sign("own", time.Hour), 200, ""},
			{"provider's", idpHere, idp(t, "k", key)(), 200, ""},
			{"provider's, away", idpAway, idp(t, "k", key)(), 503, auth.CodeUnavailable},
			{"own key, provider's issuer", idpHere, sign("https://idp.example", time.Hour), 401, auth.CodeInvalidToken},
			{"expired", idpHere, stale, 401, auth.CodeExpiredToken},
			{"expired, provider away", idpAway, stale, 401, auth.CodeExpiredToken},
			{"rubbish", idpHere, "x.y.z", 401, auth.CodeInvalidToken},
			{"foreign", idpHere, idp(t, "k", p256())(), 401, auth.CodeInvalidToken},
		} {
			guard := guardOf(t, auth.Config{Tokens: own, OtherTokens: []*auth.Verifier{verifierOf(t, jwksConfig(c.idp))}})
			w := ask(guard.Handler(who), "Bearer "+c.token)
			if c.status == http.StatusOK {
				if w.Code != c.status {
					t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
				}
				continue
			}
			refusedAs(t, w, c.status, c.code)
		}
		for _, cfg := range []auth.Config{{OtherTokens: []*auth.Verifier{own}}, {Tokens: own, OtherTokens: []*auth.Verifier{nil}}} {
			if _, err := auth.New(cfg); err == nil {
				t.Error("no error")
			}
		}
	})
}
