package auth_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/postrider/postrider/auth"
)

// Own tokens from another service: it shares the secret and writes the three claims and exp, in any language. Here
// another JWT library stands for it.
func Example_sharedSecret() {
	secret := []byte("shared by both services, 32 octets or more")
	theirs := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"tenant_id": tenantA,
		"user_id":   userA,
		"role":      "user",
		"exp":       time.Now().Add(time.Hour).Unix(),
	})
	token, err := theirs.SignedString(secret)
	if err != nil {
		panic(err)
	}

	// Their tokens have no kid, so the key has no id.
	key, err := auth.NewHMACKey("", secret)
	if err != nil {
		panic(err)
	}
	verifier, err := auth.NewVerifier(context.Background(), auth.VerifierConfig{Keys: []auth.Key{key}})
	if err != nil {
		panic(err)
	}
	p, err := verifier.Verify(context.Background(), token)
	fmt.Println(p, err)
	// Output:
	// user 0192f000-0000-7000-8000-0000000000a1 of tenant 0192f000-0000-7000-8000-00000000000a by token <nil>
}

// An outside identity provider: it publishes its keys, names its claims in its own way, and has its own words for
// roles.
func Example_identityProvider() {
	const kid = "idp-2026"
	private := rsaKey()
	jwk := must(jwkset.NewJWKFromKey(private.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}}))
	set := jwkset.NewMemoryStorage()
	if err := set.KeyWrite(context.Background(), jwk); err != nil {
		panic(err)
	}
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(must(set.JSONPublic(context.Background())))
	}))
	defer provider.Close()

	verifier, err := auth.NewVerifier(context.Background(), auth.VerifierConfig{
		JWKSURL:  provider.URL + "/.well-known/jwks.json",
		Issuer:   "https://login.example/",
		Audience: "https://mail.example/api",
		Claims:   auth.ClaimNames{TenantID: "org_id", UserID: "sub", Role: "mail_role"},
		Roles:    map[string]auth.Role{"member": auth.RoleUser, "owner": auth.RoleAdmin},
	})
	if err != nil {
		panic(err)
	}
	defer func() { _ = verifier.Close() }()

	theirs := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": "https://login.example/", "aud": "https://mail.example/api",
		"exp": time.Now().Add(time.Hour).Unix(),
		"sub": userA, "org_id": tenantA, "mail_role": "owner",
	})
	theirs.Header["kid"] = kid
	p, err := verifier.Verify(context.Background(), must(theirs.SignedString(private)))
	fmt.Println(p, err)
	// Output:
	// admin 0192f000-0000-7000-8000-0000000000a1 of tenant 0192f000-0000-7000-8000-00000000000a by token <nil>
}

// Log out: a token is revoked by its id, or all of a user's tokens at once.
func Example_revocation() {
	list := must(auth.NewRevocationList(auth.RevocationConfig{})) // with a Source, one list for each node
	key := must(auth.NewHMACKey("2026-11", []byte("32 octets or more, from a secret store")))
	verifier := must(auth.NewVerifier(context.Background(), auth.VerifierConfig{Keys: []auth.Key{key}, Revocations: list}))
	issued := must(must(auth.NewIssuer(auth.IssuerConfig{Key: key})).Issue(auth.Grant{TenantID: tenantA, UserID: userA, Role: auth.RoleUser}))

	_, err := verifier.Verify(context.Background(), issued.Token.Reveal())
	fmt.Println(err)
	if err := list.Revoke(auth.Revocation{TenantID: id(tenantA), TokenID: issued.ID, Until: issued.ExpiresAt}); err != nil {
		panic(err)
	}
	_, err = verifier.Verify(context.Background(), issued.Token.Reveal())
	fmt.Println(err)
	// Output:
	// <nil>
	// auth: revoked_token (revoked)
}

// Passwords: the same answer, after the same time, for a wrong password and for nobody.
func ExamplePasswords_Login() {
	ctx := context.Background()
	passwords := must(auth.NewPasswords(auth.PasswordConfig{}))
	hashes := map[string]string{"zoe@example.com": must(passwords.Hash(ctx, auth.NewSecret("correct horse battery staple")))}

	for _, login := range [][2]string{
		{"zoe@example.com", "correct horse battery staple"},
		{"zoe@example.com", "wrong"},
		{"nobody@example.com", "wrong"},
	} {
		name := login[0]
		err := passwords.Login(ctx, hashes[name], auth.NewSecret(login[1]), func(_ context.Context, hash string) error {
			hashes[name] = hash // made with today's parameters
			return nil
		})
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// auth: wrong user name or password
	// auth: wrong user name or password
}

// A refusal in the program's own shape, and a log line for every decision.
func ExampleConfig() {
	key := must(auth.NewHMACKey("2026-11", []byte("32 octets or more, from a secret store")))
	guard := must(auth.New(auth.Config{
		Tokens: must(auth.NewVerifier(context.Background(), auth.VerifierConfig{Keys: []auth.Key{key}})),
		Refuse: func(w http.ResponseWriter, _ *http.Request, e *auth.Error) {
			w.WriteHeader(e.Status())
			_, _ = io.WriteString(w, string(e.Code))
		},
		OnDecision: func(d auth.Decision) {
			fmt.Println(d.Request.URL.Path, d.Allowed, d.Check, d.Reason)
		},
	}))
	answer := httptest.NewRecorder()
	guard.Handler(http.NotFoundHandler()).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/rows", nil))
	fmt.Println(answer.Code, answer.Body)
	// Output:
	// /rows false credential no_authorization_header
	// 401 missing_credentials
}
