package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/internal/httpapi"
)

// send serves one request that a test made itself.
func (in *installation) send(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	in.handler.ServeHTTP(w, r)
	return w
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	in := install(t)
	for name, test := range map[string]struct {
		given []string
		kept  bool
	}{
		"none":          {nil, false},
		"sane":          {[]string{"req-1.A_z"}, true},
		"a UUID":        {[]string{"0192f000-0000-7000-8000-0000000000ff"}, true},
		"longest":       {[]string{strings.Repeat("a", 64)}, true},
		"too long":      {[]string{strings.Repeat("a", 65)}, false},
		"empty":         {[]string{""}, false},
		"two":           {[]string{"a", "b"}, false},
		"line break":    {[]string{"a\nb"}, false},
		"quote":         {[]string{`a"b`}, false},
		"space":         {[]string{"a b"}, false},
		"not ASCII":     {[]string{"ä"}, false},
		"an expression": {[]string{"${jndi:x}"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/v1/nothing", nil)
			r.Header["X-Request-Id"] = test.given
			w := in.send(r)
			got := w.Header().Get("X-Request-Id")
			if kept := len(test.given) == 1 && got == test.given[0]; kept != test.kept || got == "" || len(got) > 64 {
				t.Errorf("X-Request-Id %q", got)
			}
			if p := refused(t, w, 404, api.CodeNotFound); p.RequestID != got {
				t.Errorf("request_id %q, header %q", p.RequestID, got)
			}
		})
	}
}

// TestHeaders: the fields that every answer has, whoever made it.
func TestHeaders(t *testing.T) {
	t.Parallel()
	in := install(t, func(c *httpapi.Config) {
		c.Ready = func(context.Context) []httpapi.NotReady { panic("a test") }
		c.Limits = httpapi.DefaultLimits()
	})
	token := in.token(in.a.user)
	for _, test := range []struct {
		method, path, credential string
		status                   int
		machine                  bool // no limits are counted
	}{
		{"GET", "/v1/me", token, 200, false},
		{"GET", "/v1/me", "", 401, false},
		{"GET", "/v1/me", "x.y.z", 401, false},
		{"GET", "/v1/users", token, 403, false},
		{"GET", "/v1/none", token, 404, false},
		{"GET", "/", "", 404, false},
		{"GET", "/v1/../v1/me", token, 404, false},
		{"GET", "/v1/me/", token, 404, false},
		{"DELETE", "/v1/me", token, 405, false},
		{"OPTIONS", "/v1/me", "", 405, false},
		{"POST", "/v1/login", "", 400, false},
		{"GET", "/healthz", "", 200, true},
		{"GET", "/readyz", "", 500, true},
		{"GET", "/openapi.json", "", 200, true},
	} {
		t.Run(test.method+test.path, func(t *testing.T) {
			w := in.call(test.method, test.path, test.credential, nil)
			if w.Code != test.status {
				t.Fatalf("status %d, want %d: %s", w.Code, test.status, w.Body)
			}
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Referrer-Policy": "no-referrer",
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %q", name, got)
				}
			}
			if w.Header().Get("X-Request-Id") == "" || w.Header().Get("Cache-Control") == "" || w.Header().Get("Strict-Transport-Security") != "" {
				t.Errorf("header %v", w.Header())
			}
			if test.status >= 400 && w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("Content-Type %q", w.Header().Get("Content-Type"))
			}
			for _, name := range []string{"RateLimit", "RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"} {
				if got := w.Header().Get(name); (got == "") != test.machine {
					t.Errorf("%s: %q", name, got)
				}
			}
		})
	}
	if allow := in.call("DELETE", "/v1/me", token, nil).Header().Get("Allow"); allow != "GET, HEAD" {
		t.Errorf("Allow %q", allow)
	}
	tls := httptest.NewRequest(http.MethodGet, "https://mail.example/healthz", nil)
	if got := in.send(tls).Header().Get("Strict-Transport-Security"); got != "max-age=31536000" {
		t.Errorf("HSTS over TLS: %q", got)
	}
}

// TestPaths: what callers get wrong about base URLs works, what could be a trick does not.
func TestPaths(t *testing.T) {
	t.Parallel()
	in := install(t)
	token := in.token(in.a.user)
	for path, status := range map[string]int{
		"/v1/me": 200, "//v1/me": 200, "/v1//me": 200, "///v1///me": 200,
		"/v1/./me": 404, "/v1/x/../me": 404, "/V1/me": 404, "/v1/me%2f": 404, "/v1%2fme": 404, "/v1/m%65": 200, "/v1/users/../me": 404,
	} {
		if w := in.call("GET", path, token, nil); w.Code != status {
			t.Errorf("%s: status %d, want %d: %s", path, w.Code, status, w.Body)
		}
	}
}

func TestPanicIsAPlain500(t *testing.T) {
	t.Parallel()
	in := install(t, func(c *httpapi.Config) {
		c.Ready = func(context.Context) []httpapi.NotReady { panic("secret of the inside") }
	})
	p := refused(t, in.call("GET", "/readyz", "", nil), 500, api.CodeInternal)
	if strings.Contains(p.Detail, "secret") {
		t.Errorf("detail %q", p.Detail)
	}
	log := in.log.String()
	for _, want := range []string{"secret of the inside", "chain_test.go", p.RequestID, `"status":500`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %q: %s", want, log)
		}
	}
	if w := in.call("GET", "/healthz", "", nil); w.Code != 200 {
		t.Errorf("afterwards: %d", w.Code)
	}
}

func TestLogLine(t *testing.T) {
	t.Parallel()
	in := install(t, func(c *httpapi.Config) { c.Proxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	r := httptest.NewRequest(http.MethodGet, "/v1/users/"+in.b.user.ID.String()+"?limit=secret", nil)
	r.RemoteAddr = "192.0.2.1:1234"
	r.Header.Set("X-Forwarded-For", "203.0.113.9")
	r.Header.Set("User-Agent", "agent\"\n"+strings.Repeat("x", 1000))
	r.Header.Set("Authorization", "Bearer "+in.token(in.a.admin))
	in.send(r)
	lines := strings.Split(strings.TrimSpace(in.log.String()), "\n")
	var line map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &line); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"msg": "request", "method": "GET", "route": "GET /v1/users/{id}", "address": "203.0.113.9", "tenant": in.a.id.String(),
		"user": in.a.admin.ID.String(), "role": "admin", "kind": "token", "code": "invalid_request", "status": 422.0,
	} {
		if line[name] != want {
			t.Errorf("%s: %v, want %v", name, line[name], want)
		}
	}
	if agent, _ := line["user_agent"].(string); len(agent) != 200 {
		t.Errorf("user_agent of %d octets", len(agent))
	}
	for _, name := range []string{"duration", "bytes", "request_id"} {
		if line[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	if log := in.log.String(); strings.Contains(log, in.b.user.ID.String()) || strings.Contains(log, "secret") || strings.Contains(log, "Bearer") {
		t.Errorf("the log shows too much: %s", log)
	}
}

// TestNothingIsEchoed: what the caller sent is not in the answer, wherever it was wrong.
func TestNothingIsEchoed(t *testing.T) {
	t.Parallel()
	in := install(t)
	const marker = "Hunter2-Marker"
	token := in.token(in.a.admin)
	for _, test := range []struct{ method, path, body string }{
		{"POST", "/v1/users", `{"email":"` + marker + `"}`},
		{"POST", "/v1/users", `{"email":{"` + marker + `":1}}`},
		{"POST", "/v1/users", `{"` + marker + `":1,"email":"a@b.example"}`},
		{"POST", "/v1/users", `{"email":"a@b.example","role":"` + marker + `"}`},
		{"POST", "/v1/users", marker},
		{"POST", "/v1/users", `"` + marker + `"`},
		{"POST", "/v1/users", `{"email":"a@b.example","password":"` + marker[:5] + `"}`},
		{"POST", "/v1/login", `{"tenant":"` + marker + `","email":"` + marker + `","password":"` + marker + `"}`},
		{"POST", "/v1/login", `{"tenant":7,"email":"` + marker + `","password":"` + marker + `"}`},
		{"POST", "/v1/refresh", `{"refresh_token":"` + marker + `"}`},
		{"POST", "/v1/api-keys", `{"name":"x","networks":["` + marker + `"],"user_id":"` + marker + `","expires_at":"` + marker + `"}`},
		{"GET", "/v1/users?limit=" + marker, ""},
		{"GET", "/v1/users?after=" + marker, ""},
		{"GET", "/v1/users?" + marker + "=1", ""},
		{"GET", "/v1/users/" + marker, ""},
		{"GET", "/v1/" + marker, ""},
		{"PATCH", "/v1/users/" + in.a.user.ID.String(), `{"state":"` + marker + `"}`},
	} {
		w := in.call(test.method, test.path, token, test.body)
		if w.Code < 400 || w.Code >= 500 {
			t.Errorf("%s %s: status %d: %s", test.method, test.path, w.Code, w.Body)
		}
		if strings.Contains(strings.ToLower(w.Body.String()), "hunter2") {
			t.Errorf("%s %s %s: %s", test.method, test.path, test.body, w.Body)
		}
	}
}

func TestFieldErrors(t *testing.T) {
	t.Parallel()
	in := install(t)
	token := in.token(in.a.admin)
	type fields map[string]api.FieldCode
	for _, test := range []struct {
		method, path, body string
		status             int
		code               api.Code
		want               fields
	}{
		{"POST", "/v1/users", ``, 400, api.CodeBodyMissing, nil},
		{"POST", "/v1/users", `{`, 400, api.CodeInvalidJSON, nil},
		{"POST", "/v1/users", `{}`, 422, api.CodeInvalid, fields{"/email": api.FieldRequired}},
		{"POST", "/v1/users", `{"email":7,"role":"root","colour":"red"}`, 422, api.CodeInvalid, fields{"/email": api.FieldType, "/role": api.FieldNotOneOf, "/colour": api.FieldUnknown}},
		{"POST", "/v1/users", `{"email":"a@b.example","password":"short"}`, 422, api.CodeInvalid, fields{"/password": api.FieldTooShort}},
		{"POST", "/v1/users", `{"email":"not an address"}`, 422, api.CodeInvalid, fields{"/email": api.FieldInvalid}},
		{"POST", "/v1/users", `{"email":"ADMIN@acme.example"}`, 409, api.CodeConflict, fields{"/email": api.FieldTaken}},
		{"GET", "/v1/users?limit=0", ``, 422, api.CodeInvalid, fields{"limit": api.FieldOutOfRange}},
		{"GET", "/v1/users?limit=x", ``, 422, api.CodeInvalid, fields{"limit": api.FieldType}},
		{"GET", "/v1/users?colour=red", ``, 422, api.CodeInvalid, fields{"colour": api.FieldUnknown}},
		{"GET", "/v1/users?after=xyz", ``, 400, api.CodeInvalidCursor, fields{"after": api.FieldInvalid}},
		{"GET", "/v1/users/7", ``, 422, api.CodeInvalid, fields{"id": api.FieldFormat}},
		{"POST", "/v1/api-keys", `{"name":"x","networks":["10.0.0.0/8","x"]}`, 422, api.CodeInvalid, fields{"/networks/1": api.FieldFormat}},
		{"POST", "/v1/tokens/revoke", `{}`, 422, api.CodeInvalid, fields{"/token_id": api.FieldRequired}},
	} {
		t.Run(test.method+test.path+test.body, func(t *testing.T) {
			var body any
			if test.body != "" {
				body = test.body
			}
			p := refused(t, in.call(test.method, test.path, token, body), test.status, test.code)
			got := fields{}
			for _, e := range p.Errors {
				got[e.Pointer+e.Parameter] = e.Code
				if e.Detail == "" {
					t.Errorf("%s has no detail", e.Pointer)
				}
			}
			for place, code := range test.want {
				if got[place] != code {
					t.Errorf("%s: %q, want %q: %+v", place, got[place], code, p.Errors)
				}
			}
			if len(got) != len(test.want) {
				t.Errorf("errors %+v", p.Errors)
			}
		})
	}
	if w := in.send(func() *http.Request {
		r := httptest.NewRequest("POST", "/v1/users", strings.NewReader("email=a"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Authorization", "Bearer "+token)
		return r
	}()); w.Code != 415 {
		t.Errorf("a form: %d %s", w.Code, w.Body)
	}
}
