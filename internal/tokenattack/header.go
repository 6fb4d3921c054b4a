package tokenattack

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/auth"
)

// headerAttacks: key ids that reach for something else, and headers that bring their own key.
func (s Suite) headerAttacks(now time.Time) []Attack {
	var all []Attack
	payload := s.claims(now, nil)
	sign := hs256([]byte(s.Secret))
	for _, kid := range []string{
		"", " ", "hs ", " hs", "HS", "hs\x00", "hs\n", "hs;", "hs,rs", "./hs", "../../../../dev/null", "/dev/null", "file:///etc/passwd",
		"' OR '1'='1", "x' UNION SELECT 'secret'--", "hs'--", "${jndi:ldap://127.0.0.1/a}", "| cat /etc/passwd", "$(id)", "http://127.0.0.1/key",
		"%2e%2e%2f", "*", "\u202ehs", "h\u0455", strings.Repeat("k", 257), strings.Repeat("k", 1500), "0", "null", "undefined", "[object Object]",
	} {
		all = append(all,
			Attack{fmt.Sprintf("kid %.40q of %d", kid, len(kid)), forge(header(map[string]any{"kid": kid}), payload, sign)},
			Attack{fmt.Sprintf("kid %.40q of %d, empty secret", kid, len(kid)), forge(header(map[string]any{"kid": kid}), payload, hs256(nil))})
	}
	for _, kid := range []any{null(), 0, true, []string{"hs"}, map[string]string{"kid": "hs"}} {
		all = append(all, Attack{fmt.Sprintf("kid is %v", kid), forge(header(map[string]any{"kid": kid}), payload, sign)})
	}
	all = append(all,
		Attack{"two kids", forge(`{"alg":"HS256","kid":"x","kid":"hs"}`, payload, sign)},
		Attack{"two kids, one escaped", forge(`{"alg":"HS256","kid":"hs","\u006bid":"hs"}`, payload, sign)})

	// The attacker's own key, whole and valid: it must never be asked.
	own := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	ownKey := must(auth.NewPrivateKey("es", own))
	ownToken := must(must(auth.NewIssuer(auth.IssuerConfig{Key: ownKey})).Issue(s.grant())).Token.Reveal()
	raw := must(own.PublicKey.Bytes())
	jwk := map[string]string{
		"kty": "EC", "crv": "P-256", "kid": "es", "alg": "ES256",
		"x": base64.RawURLEncoding.EncodeToString(raw[1:33]), "y": base64.RawURLEncoding.EncodeToString(raw[33:]),
	}
	all = append(all, Attack{"foreign key under a known kid", ownToken})
	oct := map[string]string{"kty": "oct", "k": b64("attacker's secret, 32 octets long!!")}
	for name, value := range map[string]any{
		"jwk": jwk, "jku": "https://127.0.0.1:1/jwks.json", "x5u": "https://127.0.0.1:1/cert.pem", "x5c": []string{"MIIB"},
		"crit": []string{"exp"}, "b64": false,
	} {
		h := header(map[string]any{name: value})
		all = append(all,
			Attack{name + " with a good signature", forge(h, payload, sign)},
			Attack{name + " with an own signature", forge(h, payload, hs256([]byte("attacker's secret, 32 octets long!!")))},
			Attack{name + " unsigned", forge(h, payload, nil)},
			Attack{name + " null", forge(header(map[string]any{name: null()}), payload, sign)},
			Attack{name + " empty", forge(header(map[string]any{name: []string{}}), payload, sign)})
	}
	for _, h := range []map[string]any{
		{"alg": "HS256", "jwk": oct},
		{"alg": "ES256", "jwk": jwk},
		{"alg": "ES256", "kid": "es", "jwk": jwk},
		{"alg": "HS256", "kid": "hs", "crit": []string{"b64"}, "b64": false},
		{"alg": "HS256", "kid": "hs", "crit": "exp"},
	} {
		all = append(all, Attack{"header " + toJSON(h), forge(h, payload, hs256([]byte("attacker's secret, 32 octets long!!")))})
	}
	for _, typ := range []any{"JWE", "", "dpop+jwt", "logout+jwt", "secevent+jwt", null(), 1, []string{"JWT"}} {
		all = append(all, Attack{fmt.Sprintf("typ %v", typ), forge(header(map[string]any{"typ": typ}), payload, sign)})
	}
	return all
}

// signatureAttacks change what is signed, or the signature.
func (s Suite) signatureAttacks(now time.Time, good string) []Attack {
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
	other := b64(toJSON(s.claims(now, map[string]any{"tenant_id": s.OtherTenant})))
	last := sig[:len(sig)-1]
	return []Attack{
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
		{"foreign secret", forge(header(nil), s.claims(now, nil), hs256([]byte("not the secret of this verifier, but long")))},
		{"secret with newline", forge(header(nil), s.claims(now, nil), hs256([]byte(s.Secret+"\n")))},
		{"secret of the key without id", forge(header(nil), s.claims(now, nil), hs256([]byte("another secret, for tokens without a kid header")))},
	}
}

// nextLetter is the base64url letter that differs in the last, unused bit.
func nextLetter(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)^1]
}
