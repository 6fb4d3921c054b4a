package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/auth"
)

// An attack is one token that must be answered with 401.
type attack struct {
	name  string
	token string
}

// target judges tokens with a key of every algorithm, two secrets, and keys without an id.
func target(t testing.TB, seen *decisions) (http.Handler, *auth.Verifier) {
	t.Helper()
	keys := append(allKeys(), must(auth.NewHMACKey("", []byte("another secret, for tokens without a kid header"))))
	verifier := verifierOf(t, auth.VerifierConfig{Keys: keys})
	guard := guardOf(t, auth.Config{Tokens: verifier, OnDecision: seen.add})
	return guard.Handler(who), verifier
}

// TestAttacks sends every token of the suite through the middleware: 401 to all, 500 to none, no panic, and no part
// of the token in the answer.
func TestAttacks(t *testing.T) {
	t.Parallel()
	var seen decisions
	handler, _ := target(t, &seen)
	now := time.Now()

	// The target is not one that refuses everything.
	good := forge(header(nil), claims(now, nil), hs256([]byte(secretA)))
	if w := ask(handler, "Bearer "+good); w.Code != http.StatusOK {
		t.Fatalf("the good token: %d %s", w.Code, w.Body)
	}
	attacks := attacks(t, now, good)
	names := map[string]bool{}
	for _, a := range attacks {
		if names[a.name] {
			t.Errorf("two attacks are called %q", a.name)
		}
		names[a.name] = true
		t.Run(a.name, func(t *testing.T) {
			w := ask(handler, "Bearer "+a.token)
			if w.Code != http.StatusUnauthorized || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer realm=") {
				t.Errorf("status %d, reason %s: %s", w.Code, seen.last().Reason, w.Body)
			}
			if len(a.token) > 20 && strings.Contains(w.Body.String(), a.token[len(a.token)/2:]) {
				t.Error("the answer shows a part of the token")
			}
			if d := seen.last(); d.Allowed || d.Principal != (auth.Principal{}) || d.Err == nil {
				t.Errorf("decision %+v", d)
			}
		})
	}
	if len(attacks) < 250 {
		t.Errorf("the suite has shrunk to %d attacks", len(attacks))
	}
	// Once more, now that good tokens are remembered.
	for _, a := range attacks {
		if w := ask(handler, "Bearer "+a.token); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: second time %d", a.name, w.Code)
		}
	}
}

func attacks(t testing.TB, now time.Time, good string) []attack {
	var all []attack
	for _, part := range [][]attack{
		algorithmAttacks(t, now), headerAttacks(now), signatureAttacks(now, good),
		claimAttacks(now), timeAttacks(now), roleAttacks(now), shapeAttacks(now, good),
	} {
		all = append(all, part...)
	}
	return all
}

// algorithmAttacks: "none" in every spelling, and one algorithm's key for another.
func algorithmAttacks(t testing.TB, now time.Time) []attack {
	var all []attack
	payload := claims(now, nil)
	sign := hs256([]byte(secretA))
	for _, alg := range []string{
		"none", "None", "NONE", "nOnE", "noNe", "none ", " none", "no\u200bne", "\\u006eone", "n\u043ene", "null", "", "NULL", "nil",
		"HS256 ", "hs256", "Hs256", "HS384", "HS512", "HS1", "PS256", "RS384", "RS512", "ES384", "ES512", "ES256K", "EdDSA ", "Ed448",
		"RS256", "ES256", "EdDSA", "dir", "A256KW", "RSA-OAEP", "HS256,none", "SHA256", "HMAC", "../../HS256",
	} {
		h := fmt.Sprintf(`{"alg":"%s","typ":"JWT","kid":"hs"}`, alg)
		all = append(all,
			attack{"alg " + alg + " unsigned", forge(h, payload, nil)},
			attack{"alg " + alg + " signed", forge(h, payload, sign)},
			attack{"alg " + alg + " without kid", forge(fmt.Sprintf(`{"alg":"%s"}`, alg), payload, nil)})
	}
	for _, alg := range []string{`null`, `true`, `0`, `["HS256"]`, `{"alg":"HS256"}`, `["none"]`} {
		h := `{"alg":` + alg + `,"kid":"hs"}`
		all = append(all, attack{"alg is " + alg, forge(h, payload, sign)}, attack{"unsigned alg is " + alg, forge(h, payload, nil)})
	}
	all = append(all,
		attack{"no alg", forge(`{"typ":"JWT","kid":"hs"}`, payload, sign)},
		attack{"ALG", forge(`{"ALG":"HS256","kid":"hs"}`, payload, sign)},
		attack{"two algs", forge(`{"alg":"HS256","alg":"none","kid":"hs"}`, payload, sign)},
		attack{"two algs, one escaped", forge(`{"alg":"none","\u0061lg":"HS256","kid":"hs"}`, payload, sign)})
	return append(all, confusionAttacks(t, payload)...)
}

// confusionAttacks use what everybody knows, a public key, as an HMAC secret, in every encoding that a careless
// verifier may have at hand.
func confusionAttacks(t testing.TB, payload any) []attack {
	var all []attack
	public := &rsaKey().PublicKey
	pkix := must(x509.MarshalPKIXPublicKey(public))
	pkcs1 := x509.MarshalPKCS1PublicKey(public)
	jwk := must(json.Marshal(map[string]string{"kty": "RSA", "n": base64.RawURLEncoding.EncodeToString(public.N.Bytes()), "e": "AQAB"}))
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})
	for name, secret := range map[string][]byte{
		"PKIX PEM": block, "PKIX PEM without newline": []byte(strings.TrimSpace(string(block))),
		"PKIX DER": pkix, "PKCS1 DER": pkcs1, "PKCS1 PEM": pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}),
		"modulus": public.N.Bytes(), "JWK": jwk, "empty secret": {}, "zero secret": make([]byte, 32),
	} {
		for _, kid := range []string{"rs", "es", "ed", "hs"} {
			all = append(all, attack{"HS256 with " + name + " for " + kid, forge(map[string]any{"alg": "HS256", "kid": kid}, payload, hs256(secret))})
		}
		all = append(all, attack{"HS256 with " + name + " without kid", forge(`{"alg":"HS256"}`, payload, hs256(secret))})
	}
	// A good key of one kid under the name of another.
	for _, key := range allKeys() {
		text := issue(t, issuerOf(t, auth.IssuerConfig{Key: key}), grantA())
		parts := strings.Split(text, ".")
		for _, other := range allKeys() {
			if other.ID() == key.ID() {
				continue
			}
			all = append(all, attack{
				fmt.Sprintf("%s token as kid %s", key.Algorithm(), other.ID()),
				b64(fmt.Sprintf(`{"alg":"%s","kid":"%s"}`, other.Algorithm(), other.ID())) + "." + parts[1] + "." + parts[2],
			})
		}
	}
	return all
}

// headerAttacks: key ids that reach for something else, and headers that bring their own key.
func headerAttacks(now time.Time) []attack {
	var all []attack
	payload := claims(now, nil)
	sign := hs256([]byte(secretA))
	for _, kid := range []string{
		"", " ", "hs ", " hs", "HS", "hs\x00", "hs\n", "hs;", "hs,rs", "./hs", "../../../../dev/null", "/dev/null", "file:///etc/passwd",
		"' OR '1'='1", "x' UNION SELECT 'secret'--", "hs'--", "${jndi:ldap://127.0.0.1/a}", "| cat /etc/passwd", "$(id)", "http://127.0.0.1/key",
		"%2e%2e%2f", "*", "\u202ehs", "h\u0455", strings.Repeat("k", 257), strings.Repeat("k", 1500), "0", "null", "undefined", "[object Object]",
	} {
		all = append(all,
			attack{fmt.Sprintf("kid %.40q of %d", kid, len(kid)), forge(header(map[string]any{"kid": kid}), payload, sign)},
			attack{fmt.Sprintf("kid %.40q of %d, empty secret", kid, len(kid)), forge(header(map[string]any{"kid": kid}), payload, hs256(nil))})
	}
	for _, kid := range []any{null, 0, true, []string{"hs"}, map[string]string{"kid": "hs"}} {
		all = append(all, attack{fmt.Sprintf("kid is %v", kid), forge(header(map[string]any{"kid": kid}), payload, sign)})
	}
	all = append(all,
		attack{"two kids", forge(`{"alg":"HS256","kid":"x","kid":"hs"}`, payload, sign)},
		attack{"two kids, one escaped", forge(`{"alg":"HS256","kid":"hs","\u006bid":"hs"}`, payload, sign)})

	// The attacker's own key, whole and valid: it must never be asked.
	own := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	ownKey := must(auth.NewPrivateKey("es", own))
	ownToken := must(must(auth.NewIssuer(auth.IssuerConfig{Key: ownKey})).Issue(grantA())).Token.Reveal()
	raw := must(own.PublicKey.Bytes())
	jwk := map[string]string{
		"kty": "EC", "crv": "P-256", "kid": "es", "alg": "ES256",
		"x": base64.RawURLEncoding.EncodeToString(raw[1:33]), "y": base64.RawURLEncoding.EncodeToString(raw[33:]),
	}
	all = append(all, attack{"foreign key under a known kid", ownToken})
	oct := map[string]string{"kty": "oct", "k": b64("attacker's secret, 32 octets long!!")}
	for name, value := range map[string]any{
		"jwk": jwk, "jku": "https://127.0.0.1:1/jwks.json", "x5u": "https://127.0.0.1:1/cert.pem", "x5c": []string{"MIIB"},
		"crit": []string{"exp"}, "b64": false,
	} {
		h := header(map[string]any{name: value})
		all = append(all,
			attack{name + " with a good signature", forge(h, payload, sign)},
			attack{name + " with an own signature", forge(h, payload, hs256([]byte("attacker's secret, 32 octets long!!")))},
			attack{name + " unsigned", forge(h, payload, nil)},
			attack{name + " null", forge(header(map[string]any{name: null}), payload, sign)},
			attack{name + " empty", forge(header(map[string]any{name: []string{}}), payload, sign)})
	}
	for _, h := range []map[string]any{
		{"alg": "HS256", "jwk": oct},
		{"alg": "ES256", "jwk": jwk},
		{"alg": "ES256", "kid": "es", "jwk": jwk},
		{"alg": "HS256", "kid": "hs", "crit": []string{"b64"}, "b64": false},
		{"alg": "HS256", "kid": "hs", "crit": "exp"},
	} {
		all = append(all, attack{"header " + toJSON(h), forge(h, payload, hs256([]byte("attacker's secret, 32 octets long!!")))})
	}
	for _, typ := range []any{"JWE", "", "dpop+jwt", "logout+jwt", "secevent+jwt", null, 1, []string{"JWT"}} {
		all = append(all, attack{fmt.Sprintf("typ %v", typ), forge(header(map[string]any{"typ": typ}), payload, sign)})
	}
	return all
}

// signatureAttacks change what is signed, or the signature.
func signatureAttacks(now time.Time, good string) []attack {
	parts := strings.Split(good, ".")
	head, payload, sig := parts[0], parts[1], parts[2]
	raw := must(base64.RawURLEncoding.DecodeString(sig))
	flip := func(i int) string {
		b := append([]byte(nil), raw...)
		b[i] ^= 1
		return base64.RawURLEncoding.EncodeToString(b)
	}
	zeros := func(n int) string { return base64.RawURLEncoding.EncodeToString(make([]byte, n)) }
	es := func(sig string) string {
		return b64(`{"alg":"ES256","kid":"es"}`) + "." + payload + "." + sig
	}
	other := b64(toJSON(claims(now, map[string]any{"tenant_id": tenantB})))
	last := sig[:len(sig)-1]
	return []attack{
		{"empty signature", head + "." + payload + "."},
		{"no signature", head + "." + payload},
		{"signature of another token", head + "." + other + "." + sig},
		{"first bit", head + "." + payload + "." + flip(0)},
		{"last bit", head + "." + payload + "." + flip(len(raw)-1)},
		{"truncated signature", head + "." + payload + "." + base64.RawURLEncoding.EncodeToString(raw[:31])},
		{"lengthened signature", head + "." + payload + "." + base64.RawURLEncoding.EncodeToString(append(raw[:32:32], 0))},
		{"zero signature", head + "." + payload + "." + zeros(32)},
		{"signature padded", good + "="},
		{"signature in hexadecimal", head + "." + payload + "." + fmt.Sprintf("%x", raw)},
		{"leftover bits", head + "." + payload + "." + last + string(nextLetter(sig[len(sig)-1]))},
		{"ES256 zero signature", es(zeros(64))},
		{"ES256 empty signature", es("")},
		{"ES256 short signature", es(zeros(63))},
		{"ES256 DER zero", es(b64("\x30\x06\x02\x01\x00\x02\x01\x00"))},
		{"ES256 ones", es(base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("\xff", 64))))},
		{"EdDSA zero signature", b64(`{"alg":"EdDSA","kid":"ed"}`) + "." + payload + "." + zeros(64)},
		{"EdDSA short signature", b64(`{"alg":"EdDSA","kid":"ed"}`) + "." + payload + "." + zeros(1)},
		{"RS256 zero signature", b64(`{"alg":"RS256","kid":"rs"}`) + "." + payload + "." + zeros(256)},
		{"RS256 one", b64(`{"alg":"RS256","kid":"rs"}`) + "." + payload + "." + base64.RawURLEncoding.EncodeToString(append(make([]byte, 255), 1))},
		{"foreign secret", forge(header(nil), claims(now, nil), hs256([]byte("not the secret of this verifier, but long")))},
		{"secret with newline", forge(header(nil), claims(now, nil), hs256([]byte(secretA+"\n")))},
		{"secret of the key without id", forge(header(nil), claims(now, nil), hs256([]byte("another secret, for tokens without a kid header")))},
	}
}

// nextLetter is the base64url letter that differs in the last, unused bit.
func nextLetter(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)^1]
}

// TestHeaderFieldAttacks: what is wrong before the token.
func TestHeaderFieldAttacks(t *testing.T) {
	t.Parallel()
	var seen decisions
	handler, _ := target(t, &seen)
	good := forge(header(nil), claims(time.Now(), nil), hs256([]byte(secretA)))
	for name, fields := range map[string][]string{
		"none":                 {},
		"empty":                {""},
		"two good ones":        {"Bearer " + good, "Bearer " + good},
		"a good and a bad":     {"Bearer " + good, "Bearer x"},
		"a good and an empty":  {"Bearer " + good, ""},
		"joined by a comma":    {"Bearer " + good + ", Bearer " + good},
		"joined by comma only": {"Bearer " + good + "," + good},
		"Basic":                {"Basic " + good},
		"scheme only":          {"Bearer"},
		"scheme and space":     {"Bearer "},
		"no space":             {"Bearer" + good},
		"tab":                  {"Bearer\t" + good},
		"leading space":        {" Bearer " + good},
		"no scheme":            {good},
		"quoted":               {`Bearer "` + good + `"`},
		"token68 parameter":    {"Bearer token=" + good + ", x"},
		"trailing word":        {"Bearer " + good + " x"},
		"inner space":          {"Bearer " + good[:40] + " " + good[40:]},
		"newline":              {"Bearer " + good + "\r\nX-Role: admin"},
		"null octet":           {"Bearer " + good + "\x00"},
		"percent encoded":      {"Bearer " + strings.ReplaceAll(good, ".", "%2E")},
		"fullwidth scheme":     {"Ｂearer " + good},
		"long scheme":          {strings.Repeat("B", 10_000) + " " + good},
		"huge":                 {"Bearer " + strings.Repeat("a", 9<<10)},
		"equals only":          {"Bearer ===="},
		"Kelvin":               {"Bea\u212aer " + good},
	} {
		t.Run(name, func(t *testing.T) {
			if w := ask(handler, fields...); w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
		})
	}
	t.Run("query, cookie, body and other fields", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodPost, "/?access_token="+good+"&token="+good, strings.NewReader("access_token="+good))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.AddCookie(&http.Cookie{Name: "access_token", Value: good})
		for _, name := range []string{"X-Authorization", "Proxy-Authorization", "X-Access-Token", "X-Forwarded-Authorization"} {
			r.Header.Set(name, "Bearer "+good)
		}
		r.Header.Set("X-Tenant-ID", tenantA)
		r.Header.Set("X-User-ID", userA)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized || seen.last().Reason != auth.ReasonNoHeader {
			t.Errorf("status %d, reason %s", w.Code, seen.last().Reason)
		}
	})
	for _, scheme := range []string{"Bearer ", "bearer ", "BEARER ", "bEaReR   "} {
		if w := ask(handler, scheme+good); w.Code != http.StatusOK {
			t.Errorf("%q is refused: %s", scheme, w.Body)
		}
	}
}
