package auth_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/auth"
)

// FuzzVerify sends texts through the whole middleware. A stranger can only be answered with 401. The seeds are the
// attack suite.
func FuzzVerify(f *testing.F) {
	var seen decisions
	handler, _ := target(f, &seen)
	now := time.Now()
	for _, a := range suite().All(now) {
		if len(a.Token) < 1000 {
			f.Add(a.Token)
		}
	}
	f.Fuzz(func(t *testing.T, token string) {
		w := ask(handler, "Bearer "+token)
		if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" {
			t.Fatalf("status %d for %q: %s", w.Code, token, w.Body)
		}
	})
}

// FuzzClaims signs any payload with the right secret: what is then accepted has the claims that it needs.
func FuzzClaims(f *testing.F) {
	v := verifierOf(f, auth.VerifierConfig{Keys: allKeys(), CacheSize: -1})
	now := time.Now()
	f.Add(toJSON(header(nil)), toJSON(claims(now, nil)))
	f.Add(`{"alg":"HS256"}`, `{"tenant_id":"`+tenantA+`","user_id":"`+userA+`","role":"user","exp":4102444800}`)
	f.Add(`{"alg":"HS256","kid":"hs","crit":["exp"]}`, `{"role":["admin"],"ROLE":"admin","exp":1e10}`)
	f.Add(`{"alg":"none"}`, `{"x":[[[[{"a":1,"a":2}]]]]}`)
	f.Fuzz(func(t *testing.T, h, payload string) {
		p, err := v.Verify(t.Context(), forge(h, payload, hs256([]byte(secretA))))
		if err != nil {
			if p != (auth.Principal{}) {
				t.Errorf("refused, and yet %v", p)
			}
			return
		}
		if (p.Role != auth.RoleUser && p.Role != auth.RoleAdmin) || p.Kind != auth.KindToken || p.Scope != auth.ScopeFull || p.ExpiresAt.IsZero() {
			t.Errorf("principal %+v", p)
		}
		for _, text := range []string{p.TenantID.String(), p.UserID.String(), string(p.Role)} {
			if !strings.Contains(strings.ToLower(payload), text) && !strings.Contains(payload, `\u`) {
				t.Errorf("%q does not stand in %q", text, payload)
			}
		}
	})
}

// FuzzBearer: what is taken out of a header is a b64token that stands in it, of bounded length.
func FuzzBearer(f *testing.F) {
	for _, seed := range []string{"", "Bearer", "Bearer ", "bearer a", "Bearer  a.b-c_d~e+f/g==", "Basic a", "Bearer a b", "Bearer a,b", "Bearer\ta", "Bearer =", "Bea\u212aer a", "Bearer " + strings.Repeat("a", 9000)} {
		f.Add(seed, "", false)
		f.Add(seed, "Bearer b", true)
	}
	f.Fuzz(func(t *testing.T, one, two string, second bool) {
		h := http.Header{"Authorization": {one}}
		if second {
			h.Add("Authorization", two)
		}
		credential, err := auth.Bearer(h)
		text := credential.Reveal()
		if err != nil {
			if text != "" {
				t.Errorf("refused, and yet %q", text)
			}
			return
		}
		if second || text == "" || len(text) > auth.MaxTokenSize || !strings.HasSuffix(one, text) || strings.ContainsAny(text, " ,;\t\r\n\"'") || !strings.EqualFold(one[:7], "Bearer ") {
			t.Errorf("%q out of %q", text, one)
		}
	})
}

// FuzzAPIKey: a key has one spelling, and nobody gets in with a made-up one.
func FuzzAPIKey(f *testing.F) {
	store := &keyTable{}
	keys := must(auth.NewAPIKeys(auth.APIKeysConfig{Store: store}))
	_, operator := auth.GenerateOperatorKey()
	guard := guardOf(f, auth.Config{APIKeys: keys, Operator: operator})
	for _, test := range []bool{false, true} {
		text := store.create(f, test, nil).Reveal()
		for _, seed := range []string{text[:20], strings.ToUpper(text), text + "=", strings.Replace(text, "_", "__", 1), must(auth.GenerateAPIKey(id(tenantB), test)).Reveal()} {
			f.Add(seed)
		}
	}
	f.Add("pr_operator_" + strings.Repeat("a", 58))
	f.Add("pr_test_pr_test_")
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := auth.ParseAPIKey(text); err == nil {
			if key.Reveal() != text || key.TenantID() == id("00000000-0000-0000-0000-000000000000") {
				t.Errorf("%q is read as %v", text, key)
			}
		}
		if _, err := keys.Verify(t.Context(), auth.NewSecret(text), netip.Addr{}); err == nil {
			t.Errorf("%q gets in", text)
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Authorization"] = []string{"Bearer " + text}
		w := httptest.NewRecorder()
		if guard.Handler(who).ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
			t.Errorf("%q: status %d", text, w.Code)
		}
	})
}

// FuzzKeySet: whatever a provider publishes, there is no panic, and keys that are taken can verify.
func FuzzKeySet(f *testing.F) {
	f.Add(jwks(f, map[string]any{"rs": rsaKey().Public(), "ec": p256().Public()}))
	f.Add(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`)
	f.Add(`{"keys":[{"kty":"RSA","n":"","e":""},{"kty":"EC"},null,1]}`)
	f.Add(`{"keys":{}}`)
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := auth.ParseJWKS([]byte(text))
		if err == nil && len(keys) == 0 {
			t.Error("no key and no error")
		}
		for _, key := range keys {
			if key.CanSign() || key.Algorithm() == auth.HS256 || key.Algorithm() == "" {
				t.Errorf("key %v", key)
			}
		}
	})
}
