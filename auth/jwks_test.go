package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/jwkset"

	"github.com/postrider/postrider/auth"
)

// jwks writes a key set with an implementation that is not ours.
func jwks(t testing.TB, keys map[string]any) string {
	t.Helper()
	store := jwkset.NewMemoryStorage()
	for kid, key := range keys {
		jwk, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid, USE: jwkset.UseSig}})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.KeyWrite(t.Context(), jwk); err != nil {
			t.Fatal(err)
		}
	}
	return string(must(store.JSONPublic(t.Context())))
}

// provider is an identity provider without a network, for bubbles: an http.RoundTripper.
type provider struct {
	mu    sync.Mutex
	text  string
	away  bool
	calls int
}

func (p *provider) set(text string, away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text, p.away = text, away
}

func (p *provider) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.away {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(p.text)), Request: r}, nil
}

func jwksConfig(p http.RoundTripper) auth.VerifierConfig {
	return auth.VerifierConfig{
		JWKSURL: "https://idp.example/keys", HTTPClient: &http.Client{Transport: p},
		Issuer: "https://idp.example", Audience: "mail",
	}
}

// idp signs as the provider does.
func idp(t testing.TB, kid string, key *ecdsa.PrivateKey) func() string {
	i := issuerOf(t, auth.IssuerConfig{Key: must(auth.NewPrivateKey(kid, key)), Issuer: "https://idp.example", Audience: []string{"mail"}})
	return func() string { return issue(t, i, grantA()) }
}

func p256() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func TestJWKSEveryKeyType(t *testing.T) {
	t.Parallel()
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ec := p256()
	set := jwks(t, map[string]any{"ed": ed.Public(), "ec": ec.Public(), "rs": rsaKey().Public(), "p384": must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)).Public()})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, set) }))
	t.Cleanup(server.Close)
	v := verifierOf(t, auth.VerifierConfig{JWKSURL: server.URL, Issuer: "i", Audience: "a"})
	for kid, key := range map[string]auth.Key{
		"ed": must(auth.NewPrivateKey("ed", ed)), "ec": must(auth.NewPrivateKey("ec", ec)), "rs": must(auth.NewPrivateKey("rs", rsaKey())),
	} {
		token := issue(t, issuerOf(t, auth.IssuerConfig{Key: key, Issuer: "i", Audience: []string{"a"}}), grantA())
		if p, err := v.Verify(t.Context(), token); err != nil || p.TenantID != id(tenantA) {
			t.Errorf("%s: %+v, %v", kid, p, err)
		}
	}
	if !v.Ready() {
		t.Error("not ready")
	}
	if ids := v.KeyIDs(); len(ids) != 3 || slices.Contains(ids, "p384") {
		t.Errorf("keys %v", ids)
	}
	// Without a kid: only if the provider has one key of that algorithm.
	plain := must(auth.NewPrivateKey("", ec))
	token := issue(t, issuerOf(t, auth.IssuerConfig{Key: plain, Issuer: "i", Audience: []string{"a"}}), grantA())
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Error(err)
	}
}

// The provider rotates: a token with a new kid is verified at once, and the old key ends with its removal, also
// for tokens that are remembered.
func TestJWKSRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		oldKey, newKey := p256(), p256()
		oldToken, newToken := idp(t, "old", oldKey)(), idp(t, "new", newKey)()
		p := &provider{text: jwks(t, map[string]any{"old": oldKey.Public()})}
		v := verifierOf(t, jwksConfig(p))
		verify := func(token string) error {
			_, err := v.Verify(t.Context(), token)
			return err
		}
		if err := verify(oldToken); err != nil {
			t.Fatal(err)
		}
		p.set(jwks(t, map[string]any{"new": newKey.Public()}), false)
		if err := verify(oldToken); err != nil {
			t.Fatalf("before the refresh: %v", err)
		}
		if err := verify(newToken); err != nil {
			t.Fatalf("unknown kid: %v", err)
		}
		if p.asked() != 2 {
			t.Errorf("%d fetches, want 2", p.asked())
		}
		// The unknown kid of the old token may not cause another fetch so soon.
		if err := verify(oldToken); refusedFor(t, err) != auth.ReasonUnknownKey || p.asked() != 2 {
			t.Errorf("withdrawn key: %v, %d fetches", err, p.asked())
		}
	})
}

// A flood of made-up kids causes one fetch in 30 s, and refusals meanwhile are immediate.
func TestJWKSUnknownKidLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key := p256()
		p := &provider{text: jwks(t, map[string]any{"k": key.Public()})}
		v := verifierOf(t, jwksConfig(p))
		if _, err := v.Verify(t.Context(), idp(t, "k", key)()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for round := range 3 {
			var wg sync.WaitGroup
			for i := range 100 {
				token := idp(t, fmt.Sprintf("made-up-%d", i), key)()
				wg.Go(func() {
					if _, err := v.Verify(t.Context(), token); refusedFor(t, err) != auth.ReasonUnknownKey {
						t.Errorf("error %v", err)
					}
				})
			}
			wg.Wait()
			if n := p.asked(); n != 2+round {
				t.Errorf("round %d: %d fetches", round, n)
			}
			if d := time.Since(start) - time.Duration(round)*30*time.Second; d > 0 {
				t.Errorf("round %d took %s", round, d)
			}
			<-time.After(30 * time.Second)
		}
	})
}

// The provider is away: at the start nothing can be verified and that is said (503); tried again, it is found; away
// later, its keys go on counting.
func TestJWKSProviderAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key := p256()
		sign := idp(t, "k", key)
		p := &provider{text: jwks(t, map[string]any{"k": key.Public()}), away: true}
		v := verifierOf(t, jwksConfig(p))
		_, err := v.Verify(t.Context(), sign())
		if e, ok := errors.AsType[*auth.Error](err); !ok || e.Code != auth.CodeUnavailable || e.Status() != http.StatusServiceUnavailable || v.Ready() {
			t.Fatalf("never fetched: %v", err)
		}
		p.set(p.text, false)
		<-time.After(3 * time.Second) // the waits are 1 s, 2 s, 4 s, …
		if _, err := v.Verify(t.Context(), sign()); err != nil {
			t.Fatalf("after it came back: %v", err)
		}
		for _, text := range []string{p.text, "", "<html>", `{"keys":[]}`, `{"keys":[{"kty":"oct","k":"AAAA","kid":"k"}]}`, strings.Repeat(" ", 2<<20)} {
			p.set(text, text == p.text)
			before := p.asked()
			<-time.After(2 * time.Hour)
			if p.asked() <= before {
				t.Fatal("it is not asked again")
			}
			if _, err := v.Verify(t.Context(), sign()); err != nil {
				t.Fatalf("while it answers %.20q: %v", text, err)
			}
		}
	})
}

// It is asked about once an hour, and not at all after Close or the end of the context.
func TestJWKSStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key := p256()
		for _, byClose := range []bool{true, false} {
			p := &provider{text: jwks(t, map[string]any{"k": key.Public()})}
			ctx, cancel := context.WithCancel(t.Context())
			v, err := auth.NewVerifier(ctx, jwksConfig(p))
			if err != nil {
				t.Fatal(err)
			}
			<-time.After(10*time.Hour + time.Minute)
			if n := p.asked(); n < 11 || n > 13 {
				t.Errorf("%d fetches in ten hours", n)
			}
			if byClose {
				_ = v.Close()
			}
			cancel()
			_ = v.Close()
			n := p.asked()
			<-time.After(24 * time.Hour)
			if p.asked() != n {
				t.Error("it is asked after the end")
			}
			if _, err := v.Verify(t.Context(), idp(t, "k", key)()); err != nil {
				t.Errorf("known key after the end: %v", err)
			}
			if _, err := v.Verify(t.Context(), idp(t, "x", key)()); refusedFor(t, err) != auth.ReasonUnknownKey {
				t.Errorf("unknown key after the end: %v", err)
			}
		}
	})
}

// blocked is a provider that accepts and never answers.
type blocked struct{ cancelled atomic.Int32 }

func (b *blocked) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	b.cancelled.Add(1)
	return nil, r.Context().Err()
}

func TestJWKSContextAndClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &blocked{}
		v := verifierOf(t, jwksConfig(b))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := v.Verify(ctx, idp(t, "k", p256())())
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("error %v after %s", err, time.Since(start))
		}
		_ = v.Close()
		if d := time.Since(start); d != time.Second || b.cancelled.Load() != 1 {
			t.Errorf("Close took until %s, %d requests cancelled", d, b.cancelled.Load())
		}
	})
}

// A redirect is not followed, and a set's x5u and jku are not fetched.
func TestJWKSFollowsNothing(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	key := p256()
	var set map[string][]map[string]any
	if err := json.Unmarshal([]byte(jwks(t, map[string]any{"k": key.Public()})), &set); err != nil {
		t.Fatal(err)
	}
	set["keys"][0]["x5u"], set["keys"][0]["jku"], set["keys"][0]["x5c"] = other.URL, other.URL, []string{"!"}
	fetched := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, other.URL, http.StatusFound)
			fetched <- struct{}{}
			return
		}
		_ = json.NewEncoder(w).Encode(set)
	}))
	t.Cleanup(server.Close)
	cfg := auth.VerifierConfig{JWKSURL: server.URL + "/keys", Issuer: "https://idp.example", Audience: "mail"}
	if _, err := verifierOf(t, cfg).Verify(t.Context(), idp(t, "k", key)()); err != nil {
		t.Error(err)
	}
	cfg.JWKSURL = server.URL + "/redirect"
	v := verifierOf(t, cfg)
	<-fetched
	if _, err := v.Verify(t.Context(), idp(t, "k", key)()); refusedFor(t, err) != auth.ReasonProviderAway {
		t.Errorf("error %v", err)
	}
	if elsewhere.Load() != 0 {
		t.Error("it was followed")
	}
}

// What a set may hold, entry by entry: the good key beside it stays good.
func TestJWKSEntries(t *testing.T) {
	t.Parallel()
	good := p256()
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal([]byte(jwks(t, map[string]any{"good": good.Public(), "rs": rsaKey().Public()})), &set); err != nil {
		t.Fatal(err)
	}
	byKid := map[string]map[string]any{}
	for _, k := range set.Keys {
		byKid[k["kid"].(string)] = k
	}
	small := must(rsa.GenerateKey(rand.Reader, 2048)).N.Bytes()[:127]
	change := func(kid string, with map[string]any) map[string]any {
		k := map[string]any{}
		for name, value := range byKid[kid] {
			k[name] = value
		}
		k["kid"] = "odd"
		for name, value := range with {
			k[name] = value
		}
		return k
	}
	for name, entry := range map[string]any{
		"symmetric":      map[string]any{"kty": "oct", "kid": "odd", "k": b64(secretA), "alg": "HS256"},
		"for encryption": change("good", map[string]any{"use": "enc"}), "other alg": change("good", map[string]any{"alg": "ES384"}),
		"other curve": change("good", map[string]any{"crv": "P-384"}), "not on the curve": change("good", map[string]any{"x": change("good", nil)["y"]}),
		"short coordinate": change("good", map[string]any{"x": "AAAA"}), "small RSA": change("rs", map[string]any{"n": b64(string(small))}),
		"even exponent": change("rs", map[string]any{"e": "BA"}), "huge exponent": change("rs", map[string]any{"e": "_____w"}), "exponent 1": change("rs", map[string]any{"e": "AQ"}),
		"no kty": change("good", map[string]any{"kty": nil}), "RSA as EC": change("good", map[string]any{"kty": "RSA"}), "null": nil, "number": 1, "string": "key", "HS alg on RSA": change("rs", map[string]any{"alg": "HS256"}),
	} {
		text := must(json.Marshal(map[string]any{"keys": []any{entry, byKid["good"]}}))
		v := verifierOf(t, jwksConfig(&provider{text: string(text)}))
		if _, err := v.Verify(t.Context(), idp(t, "good", good)()); err != nil {
			t.Errorf("%s: the good key: %v", name, err)
		}
		if ids := v.KeyIDs(); !slices.Equal(ids, []string{"good"}) {
			t.Errorf("%s: keys %v", name, ids)
		}
	}
}
