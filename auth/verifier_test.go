package auth_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/postrider/postrider/auth"
)

// refusedFor returns the reason of a refusal.
func refusedFor(t *testing.T, err error) auth.Reason {
	t.Helper()
	e, ok := errors.AsType[*auth.Error](err)
	if !ok {
		t.Fatalf("error %v, want an *auth.Error", err)
	}
	return e.Reason
}

func TestIssueAndVerify(t *testing.T) {
	t.Parallel()
	for _, key := range allKeys() {
		t.Run(string(key.Algorithm()), func(t *testing.T) {
			t.Parallel()
			issuer := issuerOf(t, auth.IssuerConfig{Key: key, Issuer: "https://issuer.example", Audience: []string{"postrider", "other"}})
			issued, err := issuer.Issue(auth.Grant{TenantID: tenantA, UserID: userA, Role: auth.RoleAdmin, Lifetime: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			verify := key
			if public, ok := key.Public(); ok {
				if verify = public; public.CanSign() {
					t.Error("the public key can sign")
				}
			}
			v := verifierOf(t, auth.VerifierConfig{Keys: []auth.Key{verify}, Issuer: "https://issuer.example", Audience: "postrider"})
			for range 2 { // computed, then remembered
				p, err := v.Verify(t.Context(), issued.Token.Reveal())
				if err != nil {
					t.Fatal(err)
				}
				want := auth.Principal{
					TenantID: id(tenantA), UserID: id(userA), Role: auth.RoleAdmin, Kind: auth.KindToken, Scope: auth.ScopeFull,
					TokenID: issued.ID, Issuer: "https://issuer.example", IssuedAt: issued.IssuedAt, ExpiresAt: issued.ExpiresAt,
				}
				if p != want {
					t.Errorf("principal %+v, want %+v", p, want)
				}
			}
			// An independent implementation reads the same claims and the kid.
			token, _, err := jwt.NewParser(jwt.WithStrictDecoding()).ParseUnverified(issued.Token.Reveal(), jwt.MapClaims{})
			if err != nil || token.Header["kid"] != key.ID() || token.Header["alg"] != string(key.Algorithm()) {
				t.Errorf("header %v, error %v", token.Header, err)
			}
			for _, claim := range []string{"tenant_id", "user_id", "role", "exp", "iat", "nbf", "jti", "iss", "aud"} {
				if _, ok := token.Claims.(jwt.MapClaims)[claim]; !ok {
					t.Errorf("claim %s is missing", claim)
				}
			}
		})
	}
}

func TestIssuerRefuses(t *testing.T) {
	t.Parallel()
	issuer := issuerOf(t, auth.IssuerConfig{Key: testKeys()[auth.HS256]})
	for name, g := range map[string]auth.Grant{
		"no tenant":    {UserID: userA, Role: auth.RoleUser},
		"tenant":       {TenantID: "tenant-1", UserID: userA, Role: auth.RoleUser},
		"user":         {TenantID: tenantA, UserID: "42", Role: auth.RoleUser},
		"nil UUID":     {TenantID: "00000000-0000-0000-0000-000000000000", UserID: userA, Role: auth.RoleUser},
		"braces":       {TenantID: "{" + tenantA + "}", UserID: userA, Role: auth.RoleUser},
		"no role":      {TenantID: tenantA, UserID: userA},
		"role":         {TenantID: tenantA, UserID: userA, Role: "Admin"},
		"operator":     {TenantID: tenantA, UserID: userA, Role: "operator"},
		"negative":     {TenantID: tenantA, UserID: userA, Role: auth.RoleUser, Lifetime: -time.Hour},
		"ten years":    {TenantID: tenantA, UserID: userA, Role: auth.RoleUser, Lifetime: 10 * 366 * 24 * time.Hour},
		"a nanosecond": {TenantID: tenantA, UserID: userA, Role: auth.RoleUser, Lifetime: 1},
	} {
		if issued, err := issuer.Issue(g); err == nil {
			t.Errorf("%s: issued %v", name, issued.ID)
		}
	}
	public, _ := testKeys()[auth.ES256].Public()
	for name, cfg := range map[string]auth.IssuerConfig{
		"no key":         {},
		"public key":     {Key: public},
		"lifetime":       {Key: testKeys()[auth.HS256], Lifetime: 400 * 24 * time.Hour},
		"empty audience": {Key: testKeys()[auth.HS256], Audience: []string{""}},
		"claim exp":      {Key: testKeys()[auth.HS256], Claims: auth.ClaimNames{Role: "exp"}},
		"same claims":    {Key: testKeys()[auth.HS256], Claims: auth.ClaimNames{TenantID: "x", UserID: "x"}},
	} {
		if _, err := auth.NewIssuer(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestVerifierConfig(t *testing.T) {
	t.Parallel()
	hs := testKeys()[auth.HS256]
	for name, c := range map[string]struct {
		cfg  auth.VerifierConfig
		want string
	}{
		"nothing":       {auth.VerifierConfig{}, "no key"},
		"empty key":     {auth.VerifierConfig{Keys: []auth.Key{{}}}, "keys[0] is empty"},
		"same id":       {auth.VerifierConfig{Keys: []auth.Key{hs, hs}}, `id "hs"`},
		"many keys":     {auth.VerifierConfig{Keys: make([]auth.Key, 17)}, "17 keys"},
		"leeway":        {auth.VerifierConfig{Keys: []auth.Key{hs}, Leeway: time.Hour}, "leeway"},
		"roles":         {auth.VerifierConfig{Keys: []auth.Key{hs}, Roles: map[string]auth.Role{"x": "root"}}, `"root"`},
		"plain http":    {auth.VerifierConfig{JWKSURL: "http://idp.example/keys", Issuer: "i", Audience: "a"}, "https"},
		"no issuer":     {auth.VerifierConfig{JWKSURL: "https://idp.example/keys", Audience: "a"}, "needs Issuer"},
		"no audience":   {auth.VerifierConfig{JWKSURL: "https://idp.example/keys", Issuer: "i"}, "needs Audience"},
		"URL":           {auth.VerifierConfig{JWKSURL: "keys.json", Issuer: "i", Audience: "a"}, "URL"},
		"password":      {auth.VerifierConfig{JWKSURL: "https://u:hunter2@idp.example/keys", Issuer: "i", Audience: "a"}, "password"},
		"negative":      {auth.VerifierConfig{Keys: []auth.Key{hs}, MaxLifetime: -1}, "negative"},
		"renamed twice": {auth.VerifierConfig{Keys: []auth.Key{hs}, Claims: auth.ClaimNames{Role: "tenant_id"}}, "different names"},
	} {
		_, err := auth.NewVerifier(t.Context(), c.cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
	// All faults at once.
	_, err := auth.NewVerifier(t.Context(), auth.VerifierConfig{Leeway: time.Hour, MaxLifetime: -1})
	if n := strings.Count(err.Error(), "\n") + 1; n != 3 {
		t.Errorf("%d faults in %q", n, err)
	}
}

// Rotation: new and old keys count side by side, then the old one is taken away.
func TestRotation(t *testing.T) {
	t.Parallel()
	oldKey := must(auth.NewHMACKey("2025", []byte(strings.Repeat("o", 32))))
	newKey := must(auth.NewHMACKey("2026", []byte(strings.Repeat("n", 32))))
	before := issue(t, issuerOf(t, auth.IssuerConfig{Key: oldKey}), grantA())
	after := issue(t, issuerOf(t, auth.IssuerConfig{Key: newKey}), grantA())
	both := verifierOf(t, auth.VerifierConfig{Keys: []auth.Key{newKey, oldKey}})
	for _, token := range []string{before, after} {
		if _, err := both.Verify(t.Context(), token); err != nil {
			t.Error(err)
		}
	}
	now := verifierOf(t, auth.VerifierConfig{Keys: []auth.Key{newKey}})
	if _, err := now.Verify(t.Context(), before); refusedFor(t, err) != auth.ReasonUnknownKey {
		t.Errorf("old token: %v", err)
	}
	// Without ids each key of the algorithm is tried.
	plainOld := must(auth.NewHMACKey("", []byte(strings.Repeat("o", 32))))
	token := issue(t, issuerOf(t, auth.IssuerConfig{Key: plainOld}), grantA())
	if _, err := both.Verify(t.Context(), token); err != nil {
		t.Errorf("without kid: %v", err)
	}
}

func TestClaimNamesAndRoles(t *testing.T) {
	t.Parallel()
	names := auth.ClaimNames{TenantID: "https://idp.example/org", UserID: "sub", Role: "group"}
	v := verifierOf(t, auth.VerifierConfig{
		Keys: []auth.Key{testKeys()[auth.HS256]}, Claims: names, Roles: map[string]auth.Role{"mail-admins": auth.RoleAdmin},
	})
	payload := map[string]any{"https://idp.example/org": tenantA, "sub": strings.ToUpper(userA), "group": "mail-admins", "exp": time.Now().Add(time.Hour).Unix()}
	sign := hs256([]byte(secretA))
	p, err := v.Verify(t.Context(), forge(header(nil), payload, sign))
	if err != nil || p.TenantID != id(tenantA) || p.UserID != id(userA) || p.Role != auth.RoleAdmin || !p.IssuedAt.IsZero() || p.TokenID != "" {
		t.Errorf("principal %+v, error %v", p, err)
	}
	payload["group"] = "admin" // the map replaces our own words
	if _, err := v.Verify(t.Context(), forge(header(nil), payload, sign)); refusedFor(t, err) != auth.ReasonRole {
		t.Errorf("error %v", err)
	}
	// The issuer can write the same names.
	i := issuerOf(t, auth.IssuerConfig{Key: testKeys()[auth.HS256], Claims: auth.ClaimNames{TenantID: "org", Role: "r"}})
	own := verifierOf(t, auth.VerifierConfig{Keys: []auth.Key{testKeys()[auth.HS256]}, Claims: auth.ClaimNames{TenantID: "org", Role: "r"}})
	if p, err := own.Verify(t.Context(), issue(t, i, grantA())); err != nil || p.TenantID != id(tenantA) {
		t.Errorf("principal %+v, error %v", p, err)
	}
}

func TestIssuerAndAudience(t *testing.T) {
	t.Parallel()
	key := testKeys()[auth.HS256]
	token := func(iss string, aud ...string) string {
		return issue(t, issuerOf(t, auth.IssuerConfig{Key: key, Issuer: iss, Audience: aud}), grantA())
	}
	v := verifierOf(t, auth.VerifierConfig{Keys: []auth.Key{key}, Issuer: "i", Audience: "a"})
	for _, c := range []struct {
		token string
		want  auth.Reason
	}{
		{token("i", "a"), ""},
		{token("i", "b", "a"), ""},
		{token("", "a"), auth.ReasonIssuer},
		{token("I", "a"), auth.ReasonIssuer},
		{token("i"), auth.ReasonAudience},
		{token("i", "A"), auth.ReasonAudience},
		{token("i", "a "), auth.ReasonAudience},
	} {
		_, err := v.Verify(t.Context(), c.token)
		if c.want == "" && err != nil || c.want != "" && refusedFor(t, err) != c.want {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	anybody := verifierOf(t, auth.VerifierConfig{Keys: []auth.Key{key}, AnyAudience: true})
	if _, err := anybody.Verify(t.Context(), token("i", "somebody")); err != nil {
		t.Error(err)
	}
}

// Expiry and its kin to the second, with a clock that stands still. Each token is asked for twice, so that the
// remembered ones are judged by the same rule.
func TestTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := verifierOf(t, auth.VerifierConfig{Keys: []auth.Key{testKeys()[auth.HS256]}})
		strict := verifierOf(t, auth.VerifierConfig{Keys: []auth.Key{testKeys()[auth.HS256]}, Leeway: -1})
		now := time.Now()
		for _, c := range []struct {
			name         string
			with         map[string]any
			want, strict auth.Reason
		}{
			{"good", nil, "", ""},
			{"ends now", map[string]any{"exp": now.Unix()}, "", auth.ReasonExpired},
			{"ended 29 s ago", map[string]any{"exp": now.Unix() - 29}, "", auth.ReasonExpired},
			{"ended 30 s ago", map[string]any{"exp": now.Unix() - 30}, auth.ReasonExpired, auth.ReasonExpired},
			{"ends in 1 s", map[string]any{"exp": now.Unix() + 1}, "", ""},
			{"begins in 30 s", map[string]any{"nbf": now.Unix() + 30}, "", auth.ReasonNotYet},
			{"begins in 31 s", map[string]any{"nbf": now.Unix() + 31}, auth.ReasonNotYet, auth.ReasonNotYet},
			{"made in 30 s", map[string]any{"iat": now.Unix() + 30}, "", auth.ReasonNotYet},
			{"made in 31 s", map[string]any{"iat": now.Unix() + 31}, auth.ReasonNotYet, auth.ReasonNotYet},
			{"fractions", map[string]any{"exp": float64(now.Unix()) + 10.5, "iat": float64(now.Unix()) - 0.5}, "", ""},
			{"a year", map[string]any{"exp": now.Add(366 * 24 * time.Hour).Unix()}, "", ""},
			{"more than a year", map[string]any{"exp": now.Add(366*24*time.Hour + time.Minute).Unix()}, auth.ReasonTooFar, auth.ReasonTooFar},
			{"no times but exp", map[string]any{"nbf": nil, "iat": nil}, "", ""},
			{"no exp", map[string]any{"exp": nil}, auth.ReasonNoExpiry, auth.ReasonNoExpiry},
		} {
			token := forge(header(nil), claims(now, c.with), hs256([]byte(secretA)))
			for range 2 {
				for verifier, want := range map[*auth.Verifier]auth.Reason{v: c.want, strict: c.strict} {
					_, err := verifier.Verify(t.Context(), token)
					if want == "" && err != nil || want != "" && refusedFor(t, err) != want {
						t.Errorf("%s: error %v, want %q", c.name, err, want)
					}
				}
			}
		}
	})
}

// A remembered token ends when it ends.
func TestCacheExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := verifierOf(t, auth.VerifierConfig{Keys: []auth.Key{testKeys()[auth.ES256]}})
		token := issue(t, issuerOf(t, auth.IssuerConfig{Key: testKeys()[auth.ES256], Lifetime: time.Minute}), grantA())
		for range 89 { // 60 s and 30 s of leeway, the last one excluded
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Second)
		}
		<-time.After(time.Second)
		_, err := v.Verify(t.Context(), token)
		if e, ok := errors.AsType[*auth.Error](err); !ok || e.Code != auth.CodeExpiredToken {
			t.Errorf("error %v", err)
		}
	})
}

// The cache is bounded, and tokens that it forgot are computed again.
func TestCacheBounded(t *testing.T) {
	t.Parallel()
	v := verifierOf(t, auth.VerifierConfig{Keys: []auth.Key{testKeys()[auth.HS256]}, CacheSize: 8})
	issuer := issuerOf(t, auth.IssuerConfig{Key: testKeys()[auth.HS256]})
	var tokens []string
	for range 100 {
		tokens = append(tokens, issue(t, issuer, grantA()))
	}
	for range 3 {
		for _, token := range tokens {
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := auth.CacheLen(v); n > 8 {
		t.Errorf("%d entries, may be 8", n)
	}
}

// What we issue is good to an independent implementation, by way of a key set that it wrote itself.
func TestIndependentVerifier(t *testing.T) {
	t.Parallel()
	key := rsaKey()
	jwk := must(jwkset.NewJWKFromKey(key.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: "rs", ALG: "RS256"}}))
	token := issue(t, issuerOf(t, auth.IssuerConfig{Key: testKeys()[auth.RS256]}), grantA())
	parsed, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return jwk.Key(), nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding())
	if err != nil || !parsed.Valid {
		t.Error(err)
	}
	// And theirs to us.
	theirs := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"tenant_id": tenantB, "user_id": userB, "role": "user", "exp": jwt.NewNumericDate(time.Now().Add(time.Hour)),
	})
	theirs.Header["kid"] = "rs"
	text := must(theirs.SignedString(key))
	v := verifierOf(t, auth.VerifierConfig{Keys: allKeys()})
	if p, err := v.Verify(t.Context(), text); err != nil || p.TenantID != id(tenantB) {
		t.Errorf("principal %+v, error %v", p, err)
	}
}

// Errors carry code and reason, and nothing of the token.
func TestErrorText(t *testing.T) {
	t.Parallel()
	v := verifierOf(t, auth.VerifierConfig{Keys: allKeys()})
	now := time.Now()
	for _, a := range suite().All(now) {
		_, err := v.Verify(t.Context(), a.Token)
		if err == nil {
			t.Errorf("%s: no error", a.Name)
			continue
		}
		text := fmt.Sprintf("%v %+v %q", err, err, err)
		for part := range strings.SplitSeq(a.Token, ".") {
			if len(part) > 12 && strings.Contains(text, part[:12]) {
				t.Errorf("%s: the error shows the token: %s", a.Name, text)
			}
		}
	}
}
