package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/httpapi"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestCORS(t *testing.T) {
	t.Parallel()
	const front, other = "https://mail.example", "https://evil.example"
	for _, credentials := range []bool{false, true} {
		in := install(t, func(c *httpapi.Config) {
			c.CORS = httpapi.CORS{Origins: []string{front, "http://localhost:3000"}, Credentials: credentials}
			c.Limits = httpapi.DefaultLimits()
		})
		token := in.token(in.a.user)
		for name, test := range map[string]struct {
			origin            string
			method, fields    string // of the preflight; "" for a request itself
			allowed, answered bool   // answered as a preflight
		}{
			"preflight":                    {front, "PATCH", "authorization,content-type,idempotency-key", true, true},
			"preflight, local":             {"http://localhost:3000", "DELETE", "authorization", true, true},
			"preflight, PUT":               {front, "PUT", "authorization", true, true},
			"preflight, foreign":           {other, "PATCH", "authorization", false, true},
			"preflight, null":              {"null", "GET", "authorization", false, true},
			"preflight, other field":       {front, "GET", "x-tenant-id", false, true},
			"preflight, other method":      {front, "TRACE", "", false, true},
			"preflight, other port":        {front + ":8443", "GET", "", false, true},
			"preflight, other scheme":      {"http://mail.example", "GET", "", false, true},
			"preflight, suffix":            {"https://mail.example.evil.example", "GET", "", false, true},
			"preflight, prefix":            {"https://evilmail.example", "GET", "", false, true},
			"preflight, below":             {"https://x.mail.example", "GET", "", false, true},
			"request":                      {front, "", "", true, false},
			"request, foreign":             {other, "", "", false, false},
			"request, several in one":      {front + " " + other, "", "", false, false},
			"request without an origin":    {"", "", "", false, false},
			"request with a path in it":    {front + "/", "", "", false, false},
			"preflight with a path in it":  {front + "/x", "GET", "", false, true},
			"preflight with a user in it":  {"https://u@mail.example", "GET", "", false, true},
			"preflight, a null octet":      {front + "\x00", "GET", "", false, true},
			"preflight, everything at all": {"*", "GET", "", false, true},
		} {
			t.Run(name, func(t *testing.T) {
				method := http.MethodGet
				if test.answered {
					method = http.MethodOptions
				}
				r := httptest.NewRequest(method, "/v1/me", nil)
				if test.origin != "" {
					r.Header.Set("Origin", test.origin)
				}
				if test.answered {
					r.Header.Set("Access-Control-Request-Method", test.method)
					if test.fields != "" {
						r.Header.Set("Access-Control-Request-Headers", test.fields)
					}
				} else {
					r.Header.Set("Authorization", "Bearer "+token)
				}
				w := in.send(r)
				h := w.Header()
				origin := h.Get("Access-Control-Allow-Origin")
				if (origin == test.origin && origin != "") != test.allowed || origin == "*" || !test.allowed && origin != "" {
					t.Errorf("Access-Control-Allow-Origin %q", origin)
				}
				if got := h.Get("Access-Control-Allow-Credentials") == "true"; got != (credentials && test.allowed) {
					t.Errorf("Access-Control-Allow-Credentials %v", got)
				}
				if !strings.Contains(strings.Join(h.Values("Vary"), ","), "Origin") {
					t.Errorf("Vary %q", h.Values("Vary"))
				}
				switch {
				case test.answered && w.Code != http.StatusNoContent, !test.answered && w.Code != http.StatusOK:
					t.Errorf("status %d: %s", w.Code, w.Body)
				case test.answered && test.allowed:
					if h.Get("Access-Control-Max-Age") != "7200" || !strings.Contains(h.Get("Access-Control-Allow-Methods"), test.method) {
						t.Errorf("preflight: %v", h)
					}
				case test.allowed:
					for _, name := range []string{"RateLimit", "RateLimit-Policy", "RateLimit-Remaining", "Retry-After", "X-Request-Id"} {
						if !strings.Contains(strings.ToLower(h.Get("Access-Control-Expose-Headers")), strings.ToLower(name)) {
							t.Errorf("%s is not exposed: %q", name, h.Get("Access-Control-Expose-Headers"))
						}
					}
				}
			})
		}
	}
}

// TestCORSErrorsAreReadable: a front end must be able to read why it was refused.
func TestCORSErrorsAreReadable(t *testing.T) {
	t.Parallel()
	in := install(t, func(c *httpapi.Config) { c.CORS.Origins = []string{"https://mail.example"} })
	for _, path := range []string{"/v1/me", "/v1/none"} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Origin", "https://mail.example")
		if w := in.send(r); w.Code < 400 || w.Header().Get("Access-Control-Allow-Origin") != "https://mail.example" {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
}

func TestCORSOff(t *testing.T) {
	t.Parallel()
	in := install(t)
	r := httptest.NewRequest(http.MethodGet, "/healthz", nil)
	r.Header.Set("Origin", "https://mail.example")
	if w := in.send(r); w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("header %v", w.Header())
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	_, err := httpapi.New(httpapi.Config{
		MaxBody: -1, ReadTimeout: -1,
		CORS: httpapi.CORS{Origins: []string{"", "*", "https://*.example", "null", "mail.example", "https://mail.example/", "HTTPS://mail.example", "ftp://x"}},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"Config.Store", "Config.Issuer", "Config.Tokens", "Config.Passwords", "Config.Limiter", "Config.MaxBody", "Config.ReadTimeout",
		`"" would`, `"*" would`, `"https://*.example" would`, `"null" would`, `"mail.example" is no origin`, `"https://mail.example/" is no origin`, `"HTTPS://mail.example" is no`, `"ftp://x" is no`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
}
