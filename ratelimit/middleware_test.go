package ratelimit_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/ratelimit"
)

var update = flag.Bool("update", false, "write the golden files")

func ok(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// fixed is a KeyFunc with one answer.
func fixed(key, policy string) ratelimit.KeyFunc {
	return func(*http.Request) (string, string, bool) { return key, policy, true }
}

func newMiddleware(t testing.TB, cfg ratelimit.Config) *ratelimit.Middleware {
	t.Helper()
	m, err := ratelimit.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func get(h http.Handler, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// dump is an answer as it stands in a golden file, with the header sorted.
func dump(w *httptest.ResponseRecorder) string {
	var b bytes.Buffer
	fmt.Fprintln(&b, w.Code)
	var names []string
	for name := range w.Header() {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range w.Header()[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	if w.Body.Len() > 0 {
		fmt.Fprintf(&b, "\n%s\n", w.Body)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

// failing is a Limiter that cannot count.
type failing struct{}

func (failing) Allow(context.Context, string, ratelimit.Policy) (ratelimit.Decision, error) {
	return ratelimit.Decision{}, fmt.Errorf("%w: dial 10.0.0.1:6379", ratelimit.ErrUnavailable)
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	var (
		user   = ratelimit.Policy{Name: "user", Limit: 2, Window: time.Minute}
		tenant = ratelimit.Policy{Name: "tenant-day", Limit: 100, Window: 24 * time.Hour}
		odd    = ratelimit.Policy{Name: `a "b\`, Limit: 1, Window: 1500 * time.Millisecond}
		off    = ratelimit.Policy{Name: "free"}
	)
	tests := map[string]struct {
		policies []ratelimit.Policy
		keys     []ratelimit.KeyFunc
		limiter  ratelimit.Limiter // nil is a Memory
		outer    string            // a policy of a middleware around it
		before   int               // requests
		pause    time.Duration     // after each of them
	}{
		"first":              {policies: []ratelimit.Policy{user}, keys: []ratelimit.KeyFunc{fixed("u", "user")}},
		"last":               {policies: []ratelimit.Policy{user}, keys: []ratelimit.KeyFunc{fixed("u", "user")}, before: 1, pause: 10 * time.Second},
		"refused":            {policies: []ratelimit.Policy{user}, keys: []ratelimit.KeyFunc{fixed("u", "user")}, before: 2, pause: 10500 * time.Millisecond},
		"two-policies":       {policies: []ratelimit.Policy{user, tenant}, keys: []ratelimit.KeyFunc{fixed("t", "tenant-day"), fixed("u", "user")}},
		"two-second-refuses": {policies: []ratelimit.Policy{user, tenant}, keys: []ratelimit.KeyFunc{fixed("t", "tenant-day"), fixed("u", "user")}, before: 2},
		"two-first-refuses":  {policies: []ratelimit.Policy{user, tenant}, keys: []ratelimit.KeyFunc{fixed("u", "user"), fixed("t", "tenant-day")}, before: 2},
		"odd-name":           {policies: []ratelimit.Policy{odd}, keys: []ratelimit.KeyFunc{fixed("u", odd.Name)}, before: 1},
		"off":                {policies: []ratelimit.Policy{off}, keys: []ratelimit.KeyFunc{fixed("u", "free")}, before: 5},
		"no-say":             {policies: []ratelimit.Policy{user}, keys: []ratelimit.KeyFunc{func(*http.Request) (string, string, bool) { return "", "", false }}, before: 5},
		"unavailable":        {policies: []ratelimit.Policy{user}, keys: []ratelimit.KeyFunc{fixed("u", "user")}, limiter: failing{}},
		"unknown-policy":     {policies: []ratelimit.Policy{user}, keys: []ratelimit.KeyFunc{fixed("u", "nobody")}},
		"nested":             {policies: []ratelimit.Policy{user, tenant}, keys: []ratelimit.KeyFunc{fixed("u", "user")}, outer: "tenant-day"},
		"nested-outer-less":  {policies: []ratelimit.Policy{user, tenant}, keys: []ratelimit.KeyFunc{fixed("t", "tenant-day")}, outer: "user"},
	}
	for name, test := range tests {
		c := newTicker()
		limiter := test.limiter
		if limiter == nil {
			limiter = c.memory(t)
		}
		h := newMiddleware(t, ratelimit.Config{Limiter: limiter, Policies: test.policies, Keys: test.keys}).Wrap(http.HandlerFunc(ok))
		if test.outer != "" {
			h = newMiddleware(t, ratelimit.Config{Limiter: limiter, Policies: test.policies, Keys: []ratelimit.KeyFunc{fixed("outer", test.outer)}}).Wrap(h)
		}
		for range test.before {
			get(h)
			c.pass(test.pause)
		}
		golden(t, name, dump(get(h)))
	}
}

// TestRefusedCostsNothing: a request that one policy refuses is not counted by the others.
func TestRefusedCostsNothing(t *testing.T) {
	t.Parallel()
	c := newTicker()
	m := c.memory(t)
	user := ratelimit.Policy{Name: "user", Limit: 1, Window: time.Second}
	tenant := ratelimit.Policy{Name: "tenant", Limit: 3, Window: time.Hour}
	h := newMiddleware(t, ratelimit.Config{
		Limiter: m, Policies: []ratelimit.Policy{user, tenant},
		Keys: []ratelimit.KeyFunc{fixed("t", "tenant"), fixed("u", "user")},
	}).Wrap(http.HandlerFunc(ok))
	for range 20 {
		get(h)
	}
	if d := allow(t, m, "t", tenant); d.Remaining != 1 {
		t.Errorf("the tenant has %d left, want 1", d.Remaining)
	}
}

// TestRetryAfterIsEnough: who waits as long as Retry-After says is served.
func TestRetryAfterIsEnough(t *testing.T) {
	t.Parallel()
	c := newTicker()
	p := ratelimit.Policy{Name: "user", Limit: 3, Window: 10 * time.Second}
	h := newMiddleware(t, ratelimit.Config{Limiter: c.memory(t), Policies: []ratelimit.Policy{p}, Keys: []ratelimit.KeyFunc{fixed("u", "user")}}).Wrap(http.HandlerFunc(ok))
	refused := 0
	for i := range 200 {
		c.pass(time.Duration(i*137%1900) * time.Millisecond)
		w := get(h)
		if w.Code == http.StatusNoContent {
			continue
		}
		refused++
		wait, err := strconv.Atoi(w.Header().Get("Retry-After"))
		if err != nil || wait < 1 {
			t.Fatalf("Retry-After: %v", err)
		}
		_, after, _ := strings.Cut(w.Header().Get("RateLimit"), ";t=")
		if at, err := strconv.Atoi(after); err != nil || wait < at {
			t.Fatalf("Retry-After %d is earlier than RateLimit's t %q", wait, after)
		}
		c.pass(time.Duration(wait) * time.Second)
		if w := get(h); w.Code != http.StatusNoContent {
			t.Fatalf("refused again after %d s", wait)
		}
	}
	if refused < 10 {
		t.Errorf("%d requests were refused", refused)
	}
}

func TestHooks(t *testing.T) {
	t.Parallel()
	var (
		refusals  []ratelimit.Refusal
		decisions []bool
	)
	cfg := ratelimit.Config{
		Limiter:  newTicker().memory(t),
		Policies: []ratelimit.Policy{{Name: "user", Limit: 1, Window: time.Minute}},
		Keys:     []ratelimit.KeyFunc{fixed("u", "user")},
		Refuse: func(w http.ResponseWriter, _ *http.Request, refusal ratelimit.Refusal) {
			refusals = append(refusals, refusal)
			w.WriteHeader(http.StatusTeapot)
		},
		RetryUnavailable: 5 * time.Second,
		OnDecision: func(_ *http.Request, p ratelimit.Policy, d ratelimit.Decision, err error) {
			decisions = append(decisions, p.Name == "user" && d.Allowed && err == nil)
		},
	}
	h := newMiddleware(t, cfg).Wrap(http.HandlerFunc(ok))
	get(h)
	if w := get(h); w.Code != http.StatusTeapot || w.Header().Get("Retry-After") != "60" {
		t.Errorf("answer %d, %v", w.Code, w.Header())
	}
	cfg.Limiter = failing{}
	get(newMiddleware(t, cfg).Wrap(http.HandlerFunc(ok)))
	if !slices.Equal(decisions, []bool{true, false, false}) {
		t.Errorf("decisions %v", decisions)
	}
	if len(refusals) != 2 || refusals[0].Status != 429 || refusals[0].RetryAfter != time.Minute || refusals[0].Err != nil ||
		refusals[1].Status != 503 || refusals[1].RetryAfter != 5*time.Second || !errors.Is(refusals[1].Err, ratelimit.ErrUnavailable) {
		t.Errorf("refusals %+v", refusals)
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	_, err := ratelimit.New(ratelimit.Config{
		Policies:         []ratelimit.Policy{{Name: "a"}, {Name: "a"}, {Name: "b", Limit: -1}},
		RetryUnavailable: -1,
	})
	for _, want := range []string{"Limiter is nil", "Keys is empty", "RetryUnavailable is -1ns", `"a" stands twice`, "limit of -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

func TestSetHeader(t *testing.T) {
	t.Parallel()
	h := http.Header{}
	ratelimit.SetHeader(h)
	ratelimit.SetHeader(h, ratelimit.Result{Policy: ratelimit.Policy{Name: "off"}, Decision: ratelimit.Decision{Allowed: true}})
	if len(h) != 0 {
		t.Errorf("of nothing: %v", h)
	}
	p := ratelimit.Policy{Name: "login", Limit: 5, Window: time.Minute}
	ratelimit.SetHeader(h, ratelimit.Result{Policy: p, Decision: ratelimit.Decision{Limit: 5, Remaining: 4, Reset: time.Millisecond}})
	if got := h.Get("RateLimit") + " " + h.Get("RateLimit-Policy") + " " + h.Get("RateLimit-Reset"); got != `"login";r=4;t=1 "login";q=5;w=60 1` {
		t.Errorf("got %s", got)
	}
}
