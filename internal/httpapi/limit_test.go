package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/ratelimit"
)

// limits of tests: each kind of caller has another number.
func limitsOfTests() httpapi.Limits {
	every := func(n int) ratelimit.Policy {
		return ratelimit.Policy{Limit: n, Window: ratelimit.DefaultPolicy().Window}
	}
	return httpapi.Limits{
		User: every(5), APIKey: every(7), Operator: every(9), Address: every(4), LoginAccount: every(3), LoginAddress: every(6),
		Routes: map[string]ratelimit.Policy{"get-tenant": every(2)},
	}
}

// count sends requests until one is refused with 429, and returns how many were not.
func count(t *testing.T, send func() *httptest.ResponseRecorder) (int, *httptest.ResponseRecorder) {
	t.Helper()
	for n := range 50 {
		if w := send(); w.Code == http.StatusTooManyRequests {
			return n, w
		}
	}
	t.Fatal("no limit")
	return 0, nil
}

func TestLimits(t *testing.T) {
	t.Parallel()
	in := install(t, func(c *httpapi.Config) { c.Limits = limitsOfTests() })
	_, key := in.key(in.a.user)
	_, second := in.key(in.a.user)
	token := in.token(in.a.user)
	for _, test := range []struct {
		name   string
		want   int
		policy string
		send   func() *httptest.ResponseRecorder
	}{
		{"a user, whatever is asked", 5, "user", func() *httptest.ResponseRecorder { return in.call("GET", "/v1/users", token, nil) }},
		{"the user's other token", 0, "user", func() *httptest.ResponseRecorder { return in.call("GET", "/v1/me", in.token(in.a.user), nil) }},
		{"another user", 5, "user", func() *httptest.ResponseRecorder { return in.call("GET", "/v1/me", in.token(in.a.admin), nil) }},
		{"a key of the user", 7, "api_key", func() *httptest.ResponseRecorder { return in.call("GET", "/v1/me", key, nil) }},
		{"the user's other key", 0, "api_key", func() *httptest.ResponseRecorder { return in.call("GET", "/v1/me", second, nil) }},
		{"the operator", 9, "operator", func() *httptest.ResponseRecorder { return in.call("GET", "/v1/tenants", in.operator.Reveal(), nil) }},
		{"a route", 2, "get-tenant", func() *httptest.ResponseRecorder { return in.call("GET", "/v1/tenant", in.token(in.b.user), nil) }},
		{"beside the route", 3, "user", func() *httptest.ResponseRecorder { return in.call("GET", "/v1/me", in.token(in.b.user), nil) }},
		{"nobody", 4, "address", func() *httptest.ResponseRecorder { return in.call("GET", "/v1/me", "", nil) }},
		{"a bad token from there", 0, "address", func() *httptest.ResponseRecorder { return in.call("GET", "/v1/me", "x.y.z", nil) }},
		{"no route from there", 0, "address", func() *httptest.ResponseRecorder { return in.call("GET", "/none", "", nil) }},
		{"an open operation from there", 0, "address", func() *httptest.ResponseRecorder {
			return in.call("POST", "/v1/refresh", "", api.RefreshRequest{RefreshToken: "x"})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, w := count(t, test.send)
			if n != test.want {
				t.Errorf("%d requests passed, want %d", n, test.want)
			}
			p := refused(t, w, 429, api.CodeRateLimited)
			if len(p.ViolatedPolicies) != 1 || p.ViolatedPolicies[0] != test.policy || p.Type != "https://iana.org/assignments/http-problem-types#quota-exceeded" {
				t.Errorf("problem %+v", p)
			}
			h := w.Header()
			if h.Get("Retry-After") == "" || !strings.Contains(h.Get("RateLimit-Policy"), `"`+test.policy+`";q=`) || h.Get("RateLimit-Remaining") != "0" || h.Get("WWW-Authenticate") != "" {
				t.Errorf("header %v", h)
			}
		})
	}
	// A good credential is not hindered by what others do from its address.
	if w := in.call("GET", "/v1/me", in.token(in.b.admin), nil); w.Code != 200 {
		t.Errorf("a good token from the address: %d %s", w.Code, w.Body)
	}
	// Addresses are told apart.
	r := httptest.NewRequest(http.MethodGet, "/v1/me", nil)
	r.RemoteAddr = "198.51.100.7:1"
	if w := in.send(r); w.Code != 401 {
		t.Errorf("another address: %d", w.Code)
	}
	// An address that the caller made up is not believed.
	r = httptest.NewRequest(http.MethodGet, "/v1/me", nil)
	r.Header.Set("X-Forwarded-For", "198.51.100.9")
	if w := in.send(r); w.Code != 429 {
		t.Errorf("a made-up address: %d", w.Code)
	}
}

func TestLimitOfAnUnknownOperation(t *testing.T) {
	t.Parallel()
	in := install(t)
	_, err := in.tryServer(func(c *httpapi.Config) {
		c.Limits.Routes = map[string]ratelimit.Policy{"get-wrong": {Limit: 1, Window: ratelimit.DefaultPolicy().Window}}
	})
	if err == nil || !strings.Contains(err.Error(), "get-wrong") {
		t.Errorf("error %v", err)
	}
}

// awayLimiter is one that cannot count.
type awayLimiter struct{}

func (awayLimiter) Allow(context.Context, string, ratelimit.Policy) (ratelimit.Decision, error) {
	return ratelimit.Decision{}, ratelimit.ErrUnavailable
}

func TestLimiterAway(t *testing.T) {
	t.Parallel()
	in := install(t, func(c *httpapi.Config) { c.Limiter, c.Limits = awayLimiter{}, limitsOfTests() })
	for _, credential := range []string{"", in.token(in.a.user)} {
		w := in.call("GET", "/v1/me", credential, nil)
		p := refused(t, w, 503, api.CodeLimiterUnavailable)
		if w.Header().Get("Retry-After") == "" || p.Type != "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity" {
			t.Errorf("%v %+v", w.Header(), p)
		}
	}
	if w := in.call("GET", "/healthz", "", nil); w.Code != 200 {
		t.Errorf("healthz: %d", w.Code)
	}
}

// TestLoginIsThrottled: failures count for an account, whether it exists or not, and for an address; successes do not.
func TestLoginIsThrottled(t *testing.T) {
	t.Parallel()
	in := install(t, func(c *httpapi.Config) {
		c.Limits.LoginAccount, c.Limits.LoginAddress = limitsOfTests().LoginAccount, limitsOfTests().LoginAddress
	})
	login := func(tenant, email, password, from string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/v1/login", strings.NewReader(`{"tenant":"`+tenant+`","email":"`+email+`","password":"`+password+`"}`))
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = from + ":1"
		return in.send(r)
	}
	good := func(from string) *httptest.ResponseRecorder {
		return login("acme", in.a.user.Email, passwordOfTests, from)
	}
	for range 10 {
		if w := good("192.0.2.1"); w.Code != 200 {
			t.Fatalf("a good login: %d %s", w.Code, w.Body)
		}
	}
	for i, account := range []struct{ tenant, other, email string }{
		{"acme", in.a.id.String(), in.a.user.Email},
		{"acme", in.a.id.String(), "nobody@acme.example"},
		{"no-such-tenant", "no-such-tenant", in.a.user.Email},
	} {
		from := "192.0.2." + itoa(10+i)
		n, w := count(t, func() *httptest.ResponseRecorder { return login(account.tenant, account.email, "wrong password", from) })
		p := refused(t, w, 429, api.CodeRateLimited)
		if n != 3 || len(p.ViolatedPolicies) != 1 || p.ViolatedPolicies[0] != "login" || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s %s: %d tries, %+v", account.tenant, account.email, n, p)
		}
		// The same account by its other name, in other case, from elsewhere.
		if w := login(account.other, strings.ToUpper(account.email), passwordOfTests, "192.0.2.99"); w.Code != 429 {
			t.Errorf("%s %s by another name: %d", account.tenant, account.email, w.Code)
		}
	}
	// An address that tries one account after another.
	n, w := count(t, func() func() *httptest.ResponseRecorder {
		i := 0
		return func() *httptest.ResponseRecorder {
			i++
			return login("acme", "person"+itoa(i)+"@acme.example", "wrong password", "192.0.2.50")
		}
	}())
	if p := refused(t, w, 429, api.CodeRateLimited); n != 6 || p.ViolatedPolicies[0] != "login_address" {
		t.Errorf("%d tries, %+v", n, p)
	}
}

// TestLoginTellsNothing: unknown tenant, unknown account, wrong password and suspended account are one answer.
func TestLoginTellsNothing(t *testing.T) {
	t.Parallel()
	in := install(t)
	suspended := store.StateSuspended
	if _, err := in.store.Tenant(in.b.id).UpdateUser(t.Context(), in.b.user.ID, store.UserPatch{State: &suspended}, store.Actor{}); err != nil {
		t.Fatal(err)
	}
	var first string
	for _, req := range []api.LoginRequest{
		{Tenant: "acme", Email: in.a.user.Email, Password: "wrong password"},
		{Tenant: "acme", Email: "nobody@acme.example", Password: passwordOfTests},
		{Tenant: "acme", Email: in.b.user.Email, Password: passwordOfTests},
		{Tenant: "nobody", Email: in.a.user.Email, Password: passwordOfTests},
		{Tenant: "01900000-0000-7000-8000-000000000000", Email: in.a.user.Email, Password: passwordOfTests},
		{Tenant: "bolt", Email: in.b.user.Email, Password: passwordOfTests},
		{Tenant: "bolt", Email: in.b.user.Email, Password: "wrong password"},
		{Tenant: "acme\x00", Email: in.a.user.Email, Password: passwordOfTests},
		{Tenant: "acme", Email: in.a.user.Email + "\x00", Password: passwordOfTests},
	} {
		w := in.call("POST", "/v1/login", "", req)
		p := refused(t, w, 401, api.CodeWrongCredentials)
		body := strings.Replace(w.Body.String(), p.RequestID, "", 1)
		if first == "" {
			first = body
		}
		if body != first {
			t.Errorf("%+v: %s, others %s", req, body, first)
		}
	}
}
