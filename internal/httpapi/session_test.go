package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// login logs a user in by password.
func (in *installation) login(tenant, email, password string) api.Tokens {
	in.t.Helper()
	return read[api.Tokens](in.t, in.call(http.MethodPost, "/v1/login", "", api.LoginRequest{Tenant: tenant, Email: email, Password: password}), 200)
}

// code is the code of the answer to GET /v1/me with a credential; empty if it is good.
func code(t testing.TB, handler http.Handler, credential string) api.Code {
	t.Helper()
	w := call(t, handler, http.MethodGet, "/v1/me", credential, nil)
	if w.Code == http.StatusOK {
		return ""
	}
	return read[api.Problem](t, w, w.Code).Code
}

func TestLogin(t *testing.T) {
	t.Parallel()
	in := install(t)
	for _, tenant := range []string{"acme", "ACME", in.a.id.String()} {
		tokens := in.login(tenant, "User@Acme.example", passwordOfTests)
		if tokens.TokenType != "Bearer" || tokens.ExpiresIn < 86_390 || tokens.ExpiresIn > 86_400 || tokens.Role != "user" || !tokens.RefreshExpiresAt.After(tokens.ExpiresAt) {
			t.Errorf("tokens %+v", tokens)
		}
		me := read[api.Me](t, in.call(http.MethodGet, "/v1/me", tokens.AccessToken, nil), 200)
		if me.UserID != in.a.user.ID.String() || me.Tenant != "acme" || me.Role != "user" || me.Kind != "token" || me.TokenID == "" {
			t.Errorf("me: %+v", me)
		}
	}
}

// TestRefresh: each refresh token is good once; using it again ends the session, also for whoever has the newer one.
func TestRefresh(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		in := installOn(t, open())
		refresh := func(token string) (api.Tokens, api.Code) {
			w := in.call(http.MethodPost, "/v1/refresh", "", api.RefreshRequest{RefreshToken: token})
			if w.Code != 200 {
				return api.Tokens{}, read[api.Problem](t, w, 401).Code
			}
			return read[api.Tokens](t, w, 200), ""
		}
		first := in.login("acme", in.a.user.Email, passwordOfTests)
		second, problem := refresh(first.RefreshToken)
		if problem != "" || second.RefreshToken == first.RefreshToken || code(t, in.handler, second.AccessToken) != "" {
			t.Fatalf("refresh: %s %+v", problem, second)
		}
		third, problem := refresh(second.RefreshToken)
		if problem != "" {
			t.Fatal(problem)
		}
		if _, problem := refresh(first.RefreshToken); problem != api.CodeReusedRefresh {
			t.Errorf("used again: %s", problem)
		}
		if _, problem := refresh(third.RefreshToken); problem != api.CodeInvalidRefresh {
			t.Errorf("the newest, after that: %s", problem)
		}
		// Another session of the user goes on.
		other := in.login("acme", in.a.user.Email, passwordOfTests)
		if _, problem := refresh(other.RefreshToken); problem != "" {
			t.Errorf("another session: %s", problem)
		}
		for name, token := range map[string]string{
			"empty secret": "pr_refresh_", "cut": third.RefreshToken[:40], "longer": third.RefreshToken + "a", "words": "x",
			"of another tenant": moved(third.RefreshToken, first.RefreshToken),
		} {
			if _, problem := refresh(token); problem != api.CodeInvalidRefresh && problem != api.CodeReusedRefresh {
				t.Errorf("%s: %s", name, problem)
			}
		}
		if got := code(t, in.handler, third.RefreshToken); got != api.Code(auth.CodeInvalidKey) {
			t.Errorf("a refresh token as a credential: %s", got)
		}
		// Who is suspended gets no new tokens.
		late := in.login("acme", in.a.user.Email, passwordOfTests)
		if w := in.call("POST", "/v1/tenants/"+in.a.id.String()+"/suspend", in.operator.Reveal(), nil); w.Code != 200 {
			t.Fatal(w.Body)
		}
		if _, problem := refresh(late.RefreshToken); problem != api.CodeInvalidRefresh {
			t.Errorf("suspended: %s", problem)
		}
	})
}

// moved changes some letters of a refresh token.
func moved(token, _ string) string {
	return token[:20] + strings.Map(func(r rune) rune {
		if r == 'a' {
			return 'b'
		}
		return r
	}, token[20:])
}

func TestLogout(t *testing.T) {
	t.Parallel()
	in := install(t)
	tokens, other := in.login("acme", in.a.user.Email, passwordOfTests), in.login("acme", in.a.user.Email, passwordOfTests)
	if w := in.call(http.MethodPost, "/v1/logout", tokens.AccessToken, api.LogoutRequest{RefreshToken: tokens.RefreshToken}); w.Code != 204 || w.Body.Len() != 0 {
		t.Fatalf("logout: %d %s", w.Code, w.Body)
	}
	if got := code(t, in.handler, tokens.AccessToken); got != api.Code(auth.CodeRevoked) {
		t.Errorf("the access token afterwards: %q", got)
	}
	refused(t, in.call(http.MethodPost, "/v1/refresh", "", api.RefreshRequest{RefreshToken: tokens.RefreshToken}), 401, api.CodeInvalidRefresh)
	if got := code(t, in.handler, other.AccessToken); got != "" {
		t.Errorf("another session: %s", got)
	}
	// Without a body too; an API key does not log out.
	if w := in.call(http.MethodPost, "/v1/logout", other.AccessToken, nil); w.Code != 204 {
		t.Errorf("without a body: %d %s", w.Code, w.Body)
	}
	_, key := in.key(in.a.user)
	refused(t, in.call(http.MethodPost, "/v1/logout", key, nil), 403, api.Code(auth.CodeKind))
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	in := install(t)
	tokens := in.login("acme", in.a.user.Email, passwordOfTests)
	change := func(current, next string) int {
		return in.call(http.MethodPost, "/v1/me/password", tokens.AccessToken, api.ChangePasswordRequest{CurrentPassword: current, NewPassword: next}).Code
	}
	if change("wrong password", "another good password") != 422 || change(passwordOfTests, "short") != 422 {
		t.Error("a wrong or a short password passed")
	}
	if status := change(passwordOfTests, "another good password"); status != 204 {
		t.Fatalf("status %d", status)
	}
	if got := code(t, in.handler, tokens.AccessToken); got != api.Code(auth.CodeRevoked) {
		t.Errorf("the token afterwards: %q", got)
	}
	refused(t, in.call(http.MethodPost, "/v1/login", "", api.LoginRequest{Tenant: "acme", Email: in.a.user.Email, Password: passwordOfTests}), 401, api.CodeWrongCredentials)
	in.login("acme", in.a.user.Email, "another good password")
}

// TestChangesTakeEffect: on this node at once, on another within two seconds of its clock.
func TestChangesTakeEffect(t *testing.T) {
	t.Parallel()
	suspended, demoted := "suspended", "user"
	for name, test := range map[string]struct {
		change func(in *installation, token, jti string) (method, path, credential string, body any)
		want   api.Code
		key    api.Code // of an API key of the same user
	}{
		"one token revoked": {func(in *installation, _, jti string) (string, string, string, any) {
			return "POST", "/v1/tokens/revoke", in.token(in.a.admin), api.RevokeTokensRequest{TokenID: jti}
		}, api.Code(auth.CodeRevoked), ""},
		"all tokens revoked": {func(in *installation, _, _ string) (string, string, string, any) {
			return "POST", "/v1/tokens/revoke", in.token(in.a.admin), api.RevokeTokensRequest{UserID: in.a.user.ID.String()}
		}, api.Code(auth.CodeRevoked), ""},
		"logout": {func(_ *installation, token, _ string) (string, string, string, any) {
			return "POST", "/v1/logout", token, nil
		}, api.Code(auth.CodeRevoked), ""},
		"user suspended": {func(in *installation, _, _ string) (string, string, string, any) {
			return "PATCH", "/v1/users/" + in.a.user.ID.String(), in.token(in.a.admin), api.UserPatch{State: &suspended}
		}, api.Code(auth.CodeSuspended), api.Code(auth.CodeSuspended)},
		"tenant suspended": {func(in *installation, _, _ string) (string, string, string, any) {
			return "POST", "/v1/tenants/" + in.a.id.String() + "/suspend", in.operator.Reveal(), nil
		}, api.Code(auth.CodeSuspended), api.Code(auth.CodeSuspended)},
		"password reset": {func(in *installation, _, _ string) (string, string, string, any) {
			return "POST", "/v1/users/" + in.a.user.ID.String() + "/password", in.token(in.a.admin), api.ResetPasswordRequest{}
		}, api.Code(auth.CodeRevoked), ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := install(t)
			clock := newClock()
			other, _ := in.serverOf(func(c *httpapi.Config) { c.Now = clock.Now })
			issued := must(in.issuer.Issue(auth.Grant{TenantID: in.a.id.String(), UserID: in.a.user.ID.String(), Role: auth.RoleUser}))
			token := issued.Token.Reveal()
			_, key := in.key(in.a.user)
			for _, handler := range []http.Handler{in.handler, other.Handler()} {
				if code(t, handler, token) != "" || code(t, handler, key) != "" {
					t.Fatal("refused beforehand")
				}
			}
			method, path, credential, body := test.change(in, token, issued.ID)
			if w := in.call(method, path, credential, body); w.Code >= 300 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if got := code(t, in.handler, token); got != test.want {
				t.Errorf("token, here: %q, want %q", got, test.want)
			}
			if got := code(t, in.handler, key); got != test.key {
				t.Errorf("key, here: %q, want %q", got, test.key)
			}
			clock.add(1500 * time.Millisecond)
			if got := code(t, other.Handler(), token); got != test.want {
				t.Errorf("token, on the other node: %q, want %q", got, test.want)
			}
			if got := code(t, other.Handler(), key); got != test.key {
				t.Errorf("key, on the other node: %q, want %q", got, test.key)
			}
		})
	}
	t.Run("key revoked", func(t *testing.T) {
		in := install(t)
		clock := newClock()
		other, _ := in.serverOf(func(c *httpapi.Config) { c.Now = clock.Now })
		made, key := in.key(in.a.user)
		if code(t, in.handler, key) != "" || code(t, other.Handler(), key) != "" {
			t.Fatal("refused beforehand")
		}
		if w := in.call("DELETE", "/v1/api-keys/"+made.ID().String(), in.token(in.a.user), nil); w.Code != 204 {
			t.Fatal(w.Body)
		}
		clock.add(1500 * time.Millisecond)
		for _, handler := range []http.Handler{in.handler, other.Handler()} {
			if got := code(t, handler, key); got != api.Code(auth.CodeInvalidKey) {
				t.Errorf("afterwards: %q", got)
			}
		}
	})
	t.Run("role taken away", func(t *testing.T) {
		in := install(t)
		second := must(in.store.Tenant(in.a.id).CreateUser(t.Context(), store.NewUser{Email: "second@acme.example", Role: auth.RoleAdmin}, store.Actor{}))
		token := in.token(second)
		_, key := in.key(second)
		if w := in.call("PATCH", "/v1/users/"+second.ID.String(), in.token(in.a.admin), api.UserPatch{Role: &demoted}); w.Code != 200 {
			t.Fatal(w.Body)
		}
		if got := code(t, in.handler, token); got != api.Code(auth.CodeRevoked) {
			t.Errorf("token: %q", got)
		}
		if w := in.call("GET", "/v1/users", key, nil); w.Code != 403 {
			t.Errorf("the key still has the role: %d", w.Code)
		}
	})
}

// TestLastAdmin: a tenant cannot lock itself out.
func TestLastAdmin(t *testing.T) {
	t.Parallel()
	in := install(t)
	suspended, user := "suspended", "user"
	for _, patch := range []api.UserPatch{{State: &suspended}, {Role: &user}} {
		refused(t, in.call("PATCH", "/v1/users/"+in.a.admin.ID.String(), in.token(in.a.admin), patch), 409, api.CodeLastAdmin)
	}
}

// TestUnregistered: a good token of somebody nobody has heard of.
func TestUnregistered(t *testing.T) {
	t.Parallel()
	in := install(t)
	tenant, user := store.NewID(), store.NewID()
	token := in.token(store.User{TenantID: tenant, ID: user, Role: auth.RoleUser})
	refused(t, in.call("GET", "/v1/me", token, nil), 403, api.Code(auth.CodeNotRegistered))

	auto, _ := in.serverOf(func(c *httpapi.Config) { c.AutoCreate = true })
	me := read[api.Me](t, call(t, auto.Handler(), "GET", "/v1/me", token, nil), 200)
	if me.TenantID != tenant.String() || me.UserID != user.String() || me.Role != "user" {
		t.Errorf("me %+v", me)
	}
	// Registered is registered: the other node knows within its second.
	if _, err := in.store.Tenant(tenant).User(t.Context(), user); err != nil {
		t.Error(err)
	}
	// Who was suspended is not registered anew.
	if err := in.store.Operator().SetTenantState(t.Context(), tenant, store.StateSuspended, store.Actor{}); err != nil {
		t.Fatal(err)
	}
	again, _ := in.serverOf(func(c *httpapi.Config) { c.AutoCreate = true })
	refused(t, call(t, again.Handler(), "GET", "/v1/me", token, nil), 403, api.Code(auth.CodeSuspended))
}

// TestRevocationIsNotTakenFirst: who names another's token revokes nothing, and does not keep its owner from doing so.
func TestRevocationIsNotTakenFirst(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		in := installOn(t, open())
		issued := must(in.issuer.Issue(auth.Grant{TenantID: in.a.id.String(), UserID: in.a.admin.ID.String(), Role: auth.RoleAdmin}))
		token := issued.Token.Reveal()
		if w := in.call("POST", "/v1/tokens/revoke", in.token(in.a.user), api.RevokeTokensRequest{TokenID: issued.ID}); w.Code != 204 {
			t.Fatal(w.Body)
		}
		if got := code(t, in.handler, token); got != "" {
			t.Errorf("a user revoked the admin's token: %s", got)
		}
		if w := in.call("POST", "/v1/logout", token, nil); w.Code != 204 {
			t.Fatal(w.Body)
		}
		if got := code(t, in.handler, token); got != api.Code(auth.CodeRevoked) {
			t.Errorf("after the owner's logout: %q", got)
		}
	})
}
