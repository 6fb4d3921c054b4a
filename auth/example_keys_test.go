package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"

	"github.com/google/uuid"
	"github.com/rs/cors"

	"github.com/postrider/postrider/auth"
)

// keyRows is a KeyStore; a real one is a table with row-level security.
type keyRows map[uuid.UUID]auth.APIKeyRecord

func (rows keyRows) LookupAPIKey(_ context.Context, tenant, key uuid.UUID) (auth.APIKeyRecord, error) {
	if r, ok := rows[key]; ok && r.TenantID == tenant {
		return r, nil
	}
	return auth.APIKeyRecord{}, auth.ErrKeyNotFound
}

// API keys: one that may only send, from one network.
func Example_apiKeys() {
	rows := keyRows{}
	key, err := auth.GenerateAPIKey(id(tenantA), false)
	if err != nil {
		panic(err)
	}
	rows[key.ID()] = auth.APIKeyRecord{
		ID: key.ID(), TenantID: key.TenantID(), UserID: id(userA), Role: auth.RoleUser,
		Scope: auth.ScopeSending, Hash: key.Hash(),
		AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	}
	text := key.Reveal() // shown to its owner once, here
	fmt.Println(strings.HasPrefix(text, "pr_"), len(text))

	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{Store: rows})
	if err != nil {
		panic(err)
	}
	guard, err := auth.New(auth.Config{APIKeys: keys})
	if err != nil {
		panic(err)
	}
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	mux := http.NewServeMux()
	mux.Handle("POST /messages", auth.RequireScope(auth.ScopeSending)(ok))
	mux.Handle("GET /messages", auth.RequireRole(auth.RoleUser, auth.RoleAdmin)(ok))
	handler := guard.Handler(mux)

	for _, c := range []struct{ method, from, key string }{
		{http.MethodPost, "192.0.2.10:4711", text},
		{http.MethodGet, "192.0.2.10:4711", text},
		{http.MethodPost, "198.51.100.1:4711", text},
		{http.MethodPost, "192.0.2.10:4711", text[:len(text)-1]}, // not copied whole
	} {
		request := httptest.NewRequest(c.method, "/messages", nil)
		request.RemoteAddr = c.from
		request.Header.Set("Authorization", "Bearer "+c.key)
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		fmt.Println(c.method, c.from, answer.Code)
	}
	// Output:
	// true 112
	// POST 192.0.2.10:4711 200
	// GET 192.0.2.10:4711 403
	// POST 198.51.100.1:4711 403
	// POST 192.0.2.10:4711 401
}

// CORS with a browser front end: exact origins, around the middleware, because a preflight carries no credentials. An
// empty list of origins would mean every origin to this library, so check that yours is not empty.
func Example_browserFrontEnd() {
	origins := []string{"http://localhost:3000"}
	if len(origins) == 0 {
		panic("no origin")
	}
	guard, issuer := exampleGuard()
	handler := cors.New(cors.Options{
		AllowedOrigins:   origins,
		AllowedMethods:   []string{"GET", "POST", "PUT", "PATCH", "DELETE"},
		AllowedHeaders:   []string{"Authorization", "Content-Type"},
		AllowCredentials: false, // the token is sent by script, not by cookie
		MaxAge:           600,
	}).Handler(guard.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))

	for _, origin := range []string{"http://localhost:3000", "https://evil.example"} {
		preflight := httptest.NewRequest(http.MethodOptions, "/messages", nil)
		preflight.Header.Set("Origin", origin)
		preflight.Header.Set("Access-Control-Request-Method", "PATCH")
		preflight.Header.Set("Access-Control-Request-Headers", "authorization")
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, preflight)
		fmt.Printf("preflight %d, allowed origin %q\n", answer.Code, answer.Header().Get("Access-Control-Allow-Origin"))
	}
	issued, err := issuer.Issue(auth.Grant{TenantID: tenantA, UserID: userA, Role: auth.RoleUser})
	if err != nil {
		panic(err)
	}
	request := httptest.NewRequest(http.MethodPatch, "/messages", nil)
	request.Header.Set("Origin", "http://localhost:3000")
	request.Header.Set("Authorization", "Bearer "+issued.Token.Reveal())
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	fmt.Printf("request %d, allowed origin %q\n", answer.Code, answer.Header().Get("Access-Control-Allow-Origin"))
	// Output:
	// preflight 204, allowed origin "http://localhost:3000"
	// preflight 204, allowed origin ""
	// request 200, allowed origin "http://localhost:3000"
}
