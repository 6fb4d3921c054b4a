package auth_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenantA = "0192f000-0000-7000-8000-00000000000a"
	tenantB = "0192f000-0000-7000-8000-00000000000b"
	userA   = "0192f000-0000-7000-8000-0000000000a1"
	userA2  = "0192f000-0000-7000-8000-0000000000a2"
	userB   = "0192f000-0000-7000-8000-0000000000b1"
	secretA = "a secret that only tests know, of more than 32 octets"
)

func id(s string) uuid.UUID { return uuid.MustParse(s) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// testKeys are made once: RSA keys take a while.
var testKeys = sync.OnceValue(func() map[auth.Algorithm]auth.Key {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	return map[auth.Algorithm]auth.Key{
		auth.HS256: must(auth.NewHMACKey("hs", []byte(secretA))),
		auth.RS256: must(auth.NewPrivateKey("rs", rsaKey())),
		auth.ES256: must(auth.NewPrivateKey("es", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)))),
		auth.EdDSA: must(auth.NewPrivateKey("ed", ed)),
	}
})

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })

func allKeys() []auth.Key {
	keys := testKeys()
	return []auth.Key{keys[auth.HS256], keys[auth.RS256], keys[auth.ES256], keys[auth.EdDSA]}
}

// verifierOf makes a verifier and closes it with the test.
func verifierOf(t testing.TB, cfg auth.VerifierConfig) *auth.Verifier {
	t.Helper()
	v, err := auth.NewVerifier(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

func issuerOf(t testing.TB, cfg auth.IssuerConfig) *auth.Issuer {
	t.Helper()
	i, err := auth.NewIssuer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func issue(t testing.TB, i *auth.Issuer, g auth.Grant) string {
	t.Helper()
	issued, err := i.Issue(g)
	if err != nil {
		t.Fatal(err)
	}
	return issued.Token.Reveal()
}

func grantA() auth.Grant {
	return auth.Grant{TenantID: tenantA, UserID: userA, Role: auth.RoleUser}
}

// claims are those of a good token at now; with replaces or, given nil, removes some.
func claims(now time.Time, with map[string]any) map[string]any {
	c := map[string]any{
		"tenant_id": tenantA, "user_id": userA, "role": "admin",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"jti": "0192f000-0000-7000-8000-0000000000ff",
	}
	for name, value := range with {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return c
}

func toJSON(v any) string {
	if s, ok := v.(string); ok {
		return s // JSON already
	}
	return string(must(json.Marshal(v)))
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// forge writes a token from parts that no sane issuer would put together. sign may be nil: an empty signature.
func forge(header, payload any, sign func(input string) string) string {
	input := b64(toJSON(header)) + "." + b64(toJSON(payload))
	if sign == nil {
		return input + "."
	}
	return input + "." + sign(input)
}

// hs256 signs with any octets as the secret.
func hs256(secret []byte) func(string) string {
	return func(input string) string {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
}

// header is that of a good HS256 token, with more parameters.
func header(with map[string]any) map[string]any {
	h := map[string]any{"alg": "HS256", "typ": "JWT", "kid": "hs"}
	maps.Copy(h, with)
	return h
}

// guardOf is a middleware with everything it needs to judge tokens.
func guardOf(t testing.TB, cfg auth.Config) *auth.Middleware {
	t.Helper()
	m, err := auth.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ask sends one request with Authorization fields through handler. It recovers nothing: a panic fails the test.
func ask(handler http.Handler, authorization ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/rows?access_token=x", nil)
	for _, value := range authorization {
		r.Header.Add("Authorization", value)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

// who answers with the principal.
var who = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	p, ok := auth.FromContext(r.Context())
	if !ok {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	_ = json.NewEncoder(w).Encode(p)
})

// decisions collects what OnDecision sees.
type decisions struct {
	mu  sync.Mutex
	all []auth.Decision
}

func (d *decisions) add(one auth.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, one)
}

func (d *decisions) last() auth.Decision {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all[len(d.all)-1]
}

func (d *decisions) reasons() []auth.Reason {
	d.mu.Lock()
	defer d.mu.Unlock()
	var r []auth.Reason
	for _, one := range d.all {
		r = append(r, one.Reason)
	}
	return slices.Clip(r)
}

// refusedAs checks an answer of 401 or 403 as a problem document with one code, without any of the forbidden text.
func refusedAs(t *testing.T, w *httptest.ResponseRecorder, status int, code auth.Code, forbidden ...string) {
	t.Helper()
	if w.Code != status {
		t.Errorf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	var problem struct {
		Status int
		Code   auth.Code
		Detail string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || problem.Status != w.Code || problem.Code != code || problem.Detail == "" {
		t.Errorf("problem %s, want code %s, status %d", w.Body, code, status)
	}
	challenge := w.Header().Get("WWW-Authenticate")
	if status == http.StatusUnauthorized && !strings.HasPrefix(challenge, "Bearer realm=") {
		t.Errorf("WWW-Authenticate %q", challenge)
	}
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q", w.Header().Get("Cache-Control"))
	}
	for _, text := range forbidden {
		if text != "" && strings.Contains(w.Body.String()+challenge, text) {
			t.Errorf("the answer shows %q", text)
		}
	}
}
