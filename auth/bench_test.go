package auth_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/postrider/postrider/auth"
)

// BenchmarkVerify is the cost of a token that was never seen: shape, signature, claims.
func BenchmarkVerify(b *testing.B) {
	for _, alg := range []auth.Algorithm{auth.HS256, auth.RS256, auth.ES256, auth.EdDSA} {
		b.Run(string(alg), func(b *testing.B) {
			v := verifierOf(b, auth.VerifierConfig{Keys: []auth.Key{testKeys()[alg]}, CacheSize: -1})
			token := issue(b, issuerOf(b, auth.IssuerConfig{Key: testKeys()[alg]}), grantA())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMiddleware is what a request pays in all, hooks and revocations included; the tokens were seen before.
func BenchmarkMiddleware(b *testing.B) {
	store := &keyTable{}
	list := must(auth.NewRevocationList(auth.RevocationConfig{}))
	for range 1000 {
		if err := list.Revoke(auth.Revocation{TenantID: id(tenantA), TokenID: must(auth.GenerateAPIKey(id(tenantA), false)).ID().String()}); err != nil {
			b.Fatal(err)
		}
	}
	guard := func(cache int) http.Handler {
		m := guardOf(b, auth.Config{
			Tokens:     verifierOf(b, auth.VerifierConfig{Keys: allKeys(), Revocations: list, CacheSize: cache}),
			APIKeys:    must(auth.NewAPIKeys(auth.APIKeysConfig{Store: store})),
			OnDecision: func(auth.Decision) {},
		})
		return m.Handler(auth.RequireRole(auth.RoleUser)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	}
	token := func(alg auth.Algorithm) string {
		return issue(b, issuerOf(b, auth.IssuerConfig{Key: testKeys()[alg]}), grantA())
	}
	for _, c := range []struct {
		name, credential string
		cache            int
	}{
		{"HS256/new", token(auth.HS256), -1},
		{"HS256/seen", token(auth.HS256), 0},
		{"ES256/new", token(auth.ES256), -1},
		{"ES256/seen", token(auth.ES256), 0},
		{"EdDSA/new", token(auth.EdDSA), -1},
		{"APIKey", store.create(b, false, nil).Reveal(), 0},
		{"refused", "x.y.z", 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			handler := guard(c.cache)
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Authorization", "Bearer "+c.credential)
			w := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				handler.ServeHTTP(w, r)
			}
			if refused := w.Code != http.StatusOK; refused != (c.name == "refused") {
				b.Fatal(w.Body)
			}
		})
	}
	b.Run("HS256/seen/parallel", func(b *testing.B) {
		handler := guard(0)
		credential := "Bearer " + token(auth.HS256)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Authorization", credential)
			w := httptest.NewRecorder()
			for pb.Next() {
				handler.ServeHTTP(w, r)
			}
		})
	})
}

// BenchmarkIssue is the cost of making a token.
func BenchmarkIssue(b *testing.B) {
	for _, alg := range []auth.Algorithm{auth.HS256, auth.ES256, auth.EdDSA} {
		b.Run(string(alg), func(b *testing.B) {
			i := issuerOf(b, auth.IssuerConfig{Key: testKeys()[alg]})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := i.Issue(grantA()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPassword is one login with the default parameters.
func BenchmarkPassword(b *testing.B) {
	p := must(auth.NewPasswords(auth.PasswordConfig{}))
	password := auth.NewSecret("correct horse battery staple")
	hash := must(p.Hash(b.Context(), password))
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Login(b.Context(), hash, password, nil); err != nil {
			b.Fatal(err)
		}
	}
}
