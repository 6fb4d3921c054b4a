package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

func TestReadyz(t *testing.T) {
	t.Parallel()
	var parts []httpapi.NotReady
	in := install(t, func(c *httpapi.Config) {
		c.Ready = func(context.Context) []httpapi.NotReady { return parts }
	})
	if w := in.call("GET", "/readyz", "", nil); w.Code != 200 || !strings.Contains(w.Body.String(), `"ready"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	parts = []httpapi.NotReady{{Part: "service", Detail: "it is stopping"}}
	answer := read[struct {
		NotReady []httpapi.NotReady `json:"not_ready"`
	}](t, in.call("GET", "/readyz", "", nil), 503)
	if len(answer.NotReady) != 1 || answer.NotReady[0] != parts[0] {
		t.Errorf("%+v", answer)
	}
}

// A database file that was taken away under the service is told, with what to do.
func TestReadyzOfDamage(t *testing.T) {
	t.Parallel()
	var file string
	in := installOn(t, storetest.SQLite(t, func(c *store.Config) { file = c.Path }))
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if w := in.call("GET", "/readyz", "", nil); w.Code != 503 || !strings.Contains(w.Body.String(), "put a backup in its place") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestMetrics: what they tell, and to whom.
func TestMetrics(t *testing.T) {
	t.Parallel()
	in := install(t, func(c *httpapi.Config) { c.MetricsNetworks = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")} })
	in.call("GET", "/v1/me", in.token(in.a.user), nil)
	in.call("GET", "/v1/users", in.token(in.a.user), nil)
	in.call("GET", "/v1/"+strings.Repeat("x", 50), "", nil)
	from := func(remote string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.RemoteAddr = remote + ":1"
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return in.send(r)
	}
	for name, test := range map[string]struct {
		answer *httptest.ResponseRecorder
		status int
	}{
		"this machine":             {from("127.0.0.1"), 200},
		"a named network":          {from("203.0.113.5"), 200},
		"the operator":             {from("198.51.100.1", "Authorization", "Bearer "+in.operator.Reveal()), 200},
		"somebody":                 {from("198.51.100.1"), 401},
		"an admin":                 {from("198.51.100.1", "Authorization", "Bearer "+in.token(in.a.admin)), 403},
		"by way of a proxy":        {from("127.0.0.1", "X-Forwarded-For", "198.51.100.1"), 401},
		"by way of another proxy":  {from("127.0.0.1", "Forwarded", "for=198.51.100.1"), 401},
		"with a made-up forwarder": {from("198.51.100.1", "X-Forwarded-For", "127.0.0.1"), 401},
	} {
		if test.answer.Code != test.status {
			t.Errorf("%s: %d %s", name, test.answer.Code, test.answer.Body)
		}
	}
	text := from("127.0.0.1").Body.String()
	for _, want := range []string{
		`postrider_http_requests_total{route="GET /v1/me",status="200"} 1`,
		`postrider_http_requests_total{route="GET /v1/users",status="403"} 1`,
		`postrider_http_requests_total{route="none",status="404"} 1`,
		`postrider_http_request_duration_seconds_count{route="GET /v1/me"} 1`,
		`postrider_auth_refusals_total{reason="role_missing"} 1`,
		`postrider_standing_lookups_total{from="store"}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, in.a.id.String()) || strings.Contains(text, "xxxx") {
		t.Error("the metrics name what callers sent")
	}
}
