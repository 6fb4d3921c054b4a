package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/api"
)

// serve answers every request with answer, and hands each request over.
func serve(t testing.TB, answer http.HandlerFunc) (*api.Client, *[]*http.Request) {
	t.Helper()
	var seen []*http.Request
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		copied := r.Clone(context.WithoutCancel(r.Context()))
		copied.Body = io.NopCloser(strings.NewReader(string(text)))
		seen = append(seen, copied)
		answer(w, r)
	}))
	t.Cleanup(ts.Close)
	// With connections of its own: a test server that ends closes idle ones of the default transport, which tests beside it would share.
	client, err := api.NewClient(api.ClientConfig{URL: ts.URL + "/", Token: "pr_secret", HTTPClient: ts.Client()})
	if err != nil {
		t.Fatal(err)
	}
	return client, &seen
}

func TestClientSends(t *testing.T) {
	t.Parallel()
	client, seen := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(api.Users{Data: []api.User{{ID: "1"}}, Next: "n"})
	})
	users, err := client.Users(t.Context(), api.Page{Limit: 7, After: "a&b"})
	if err != nil || len(users.Data) != 1 || users.Next != "n" {
		t.Fatalf("%v %+v", err, users)
	}
	name := "x"
	if _, err := client.UpdateUser(t.Context(), "../tenants", api.UserPatch{Name: &name}); err != nil {
		t.Fatal(err)
	}
	first, second := (*seen)[0], (*seen)[1]
	if first.URL.String() != "/v1/users?after=a%26b&limit=7" || first.Header.Get("Authorization") != "Bearer pr_secret" || first.Header.Get("User-Agent") != "postrider-go" {
		t.Errorf("%s %v", first.URL, first.Header)
	}
	body, _ := io.ReadAll(second.Body)
	if second.URL.EscapedPath() != "/v1/users/..%2Ftenants" || string(body) != `{"name":"x"}` || second.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s", second.URL.EscapedPath(), body)
	}
}

func TestClientErrors(t *testing.T) {
	t.Parallel()
	const document = `{"type":"about:blank","title":"Too Many Requests","status":429,"code":"rate_limited","detail":"wait","request_id":"r1","errors":[{"pointer":"/to/0","code":"invalid"}],"new":1}`
	for name, test := range map[string]struct {
		status int
		kind   string
		body   string
		want   api.Problem
	}{
		"a problem document": {429, "application/problem+json; charset=utf-8", document, api.Problem{Code: "rate_limited", RequestID: "r1", Detail: "wait"}},
		"a proxy's page":     {502, "text/html", "<html>", api.Problem{Code: "http_502", RequestID: "of the header"}},
		"no JSON":            {500, "application/problem+json", "{", api.Problem{Code: "http_500", RequestID: "of the header"}},
		"nothing":            {503, "", "", api.Problem{Code: "http_503", RequestID: "of the header"}},
		"a redirect":         {304, "", "", api.Problem{Code: "http_304", RequestID: "of the header"}},
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", test.kind)
				w.Header().Set("X-Request-Id", "of the header")
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			_, err := client.Me(t.Context())
			p, ok := errors.AsType[*api.Problem](err)
			if !ok || p.Status != test.status || p.Code != test.want.Code || p.RequestID != test.want.RequestID || p.Detail != test.want.Detail || p.RetryAfter != 7*time.Second {
				t.Errorf("%v", err)
			}
			if want := test.status == 429 || test.status >= 502; ok && p.Temporary() != want {
				t.Errorf("Temporary %v", p.Temporary())
			}
			if ok && !strings.Contains(err.Error(), string(test.want.Code)) {
				t.Errorf("Error %q", err)
			}
		})
	}
	client, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "no JSON") })
	if _, err := client.Me(t.Context()); err == nil || strings.Contains(err.Error(), "pr_secret") {
		t.Errorf("an answer that is no JSON: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Me(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if err := client.Do(t.Context(), "GET", "v1/me", nil, nil); err == nil {
		t.Error("a path without its slash passed")
	}
}

func TestClientConfig(t *testing.T) {
	t.Parallel()
	for _, cfg := range []api.ClientConfig{
		{},
		{URL: "mail.example"},
		{URL: "ftp://mail.example"},
		{URL: "https://"},
		{URL: "https://u:secret@mail.example"},
		{URL: "https://mail.example?x=1"},
		{URL: "https://mail.example", Token: "a b"},
		{URL: "https://mail.example", Token: "a\nb"},
	} {
		if _, err := api.NewClient(cfg); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", cfg.URL, err)
		}
	}
	client, err := api.NewClient(api.ClientConfig{URL: "https://mail.example/base", Token: "pr_secret"})
	if err != nil || strings.Contains(fmt.Sprint(client), "secret") {
		t.Errorf("%v %v", client, err)
	}
}

// Example calls a service with an API key.
func Example() {
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"type":"about:blank","title":"Forbidden","status":403,"code":"insufficient_role","detail":"Another role is needed.","request_id":"01"}`)
	}))
	defer ts.Close()

	client, err := api.NewClient(api.ClientConfig{URL: ts.URL, Token: "pr_…"[:3]})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = client.CreateUser(context.Background(), api.NewUser{Email: "ann@example.com"})
	if problem, ok := errors.AsType[*api.Problem](err); ok {
		fmt.Println(problem.Code, problem.Temporary())
	}
	// Output: insufficient_role false
}
