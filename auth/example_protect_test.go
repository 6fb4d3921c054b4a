package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/postrider/postrider/auth"
)

// Protect a handler: only requests with a good token reach it, and it knows who is asking.
func Example_protectAHandler() {
	key, err := auth.NewHMACKey("2026-11", []byte("32 octets or more, from a secret store"))
	if err != nil {
		panic(err)
	}
	verifier, err := auth.NewVerifier(context.Background(), auth.VerifierConfig{Keys: []auth.Key{key}})
	if err != nil {
		panic(err)
	}
	guard, err := auth.New(auth.Config{Tokens: verifier})
	if err != nil {
		panic(err)
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := auth.FromContext(r.Context()) // always there behind the middleware
		fmt.Fprintf(w, "hello, %s of tenant %s\n", p.UserID, p.TenantID)
	})
	handler := guard.Handler(hello)

	issuer, err := auth.NewIssuer(auth.IssuerConfig{Key: key})
	if err != nil {
		panic(err)
	}
	issued, err := issuer.Issue(auth.Grant{TenantID: tenantA, UserID: userA, Role: auth.RoleUser})
	if err != nil {
		panic(err)
	}

	request := httptest.NewRequest(http.MethodGet, "/hello", nil)
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	fmt.Println(answer.Code, answer.Header().Get("WWW-Authenticate"))

	request.Header.Set("Authorization", "Bearer "+issued.Token.Reveal())
	answer = httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	fmt.Print(answer.Code, " ", answer.Body)
	// Output:
	// 401 Bearer realm="api"
	// 200 hello, 0192f000-0000-7000-8000-0000000000a1 of tenant 0192f000-0000-7000-8000-00000000000a
}

// Roles: some routes are for admins.
func Example_roles() {
	guard, issuer := exampleGuard()
	mux := http.NewServeMux()
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	everyone := auth.RequireRole(auth.RoleUser, auth.RoleAdmin)
	admins := auth.RequireRole(auth.RoleAdmin)
	mux.Handle("GET /messages", everyone(ok))
	mux.Handle("GET /audit", admins(ok))
	handler := guard.Handler(mux)

	for _, role := range []auth.Role{auth.RoleUser, auth.RoleAdmin} {
		issued, err := issuer.Issue(auth.Grant{TenantID: tenantA, UserID: userA, Role: role})
		if err != nil {
			panic(err)
		}
		for _, path := range []string{"/messages", "/audit"} {
			request := httptest.NewRequest(http.MethodGet, path, nil)
			request.Header.Set("Authorization", "Bearer "+issued.Token.Reveal())
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, request)
			fmt.Println(role, path, answer.Code)
		}
	}
	// Output:
	// user /messages 200
	// user /audit 403
	// admin /messages 200
	// admin /audit 200
}

// Row access: a user sees its own rows, an admin those of its tenant, and nobody those of another tenant, which
// look as if they did not exist.
func Example_rowAccess() {
	guard, issuer := exampleGuard()
	rows := map[string]auth.Row{
		"1": {TenantID: id(tenantA), UserID: id(userA)},
		"2": {TenantID: id(tenantA), UserID: id(userA2)},
		"3": {TenantID: id(tenantB), UserID: id(userB)},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /rows/{id}", func(w http.ResponseWriter, r *http.Request) {
		row, found := rows[r.PathValue("id")]
		err := auth.CheckAccess(r.Context(), row)
		switch {
		case !found || auth.IsOtherTenant(err):
			http.NotFound(w, r)
		case err != nil:
			auth.Refuse(w, r, err)
		}
	})
	handler := guard.Handler(mux)

	for _, role := range []auth.Role{auth.RoleUser, auth.RoleAdmin} {
		issued, err := issuer.Issue(auth.Grant{TenantID: tenantA, UserID: userA, Role: role})
		if err != nil {
			panic(err)
		}
		for _, path := range []string{"/rows/1", "/rows/2", "/rows/3", "/rows/4"} {
			request := httptest.NewRequest(http.MethodGet, path, nil)
			request.Header.Set("Authorization", "Bearer "+issued.Token.Reveal())
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, request)
			fmt.Println(role, path, answer.Code)
		}
	}
	// Output:
	// user /rows/1 200
	// user /rows/2 403
	// user /rows/3 404
	// user /rows/4 404
	// admin /rows/1 200
	// admin /rows/2 200
	// admin /rows/3 404
	// admin /rows/4 404
}

// exampleGuard is the first example's wiring.
func exampleGuard() (*auth.Middleware, *auth.Issuer) {
	key := must(auth.NewHMACKey("2026-11", []byte("32 octets or more, from a secret store")))
	verifier := must(auth.NewVerifier(context.Background(), auth.VerifierConfig{Keys: []auth.Key{key}}))
	return must(auth.New(auth.Config{Tokens: verifier})), must(auth.NewIssuer(auth.IssuerConfig{Key: key}))
}
