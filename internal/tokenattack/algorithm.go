package tokenattack

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/auth"
)

// algorithmAttacks: "none" in every spelling, and one algorithm's key for another.
func (s Suite) algorithmAttacks(now time.Time) []Attack {
	var all []Attack
	payload := s.claims(now, nil)
	sign := hs256([]byte(s.Secret))
	for _, alg := range []string{
		"none", "None", "NONE", "nOnE", "noNe", "none ", " none", "no\u200bne", "\\u006eone", "n\u043ene", "null", "", "NULL", "nil",
		"HS256 ", "hs256", "Hs256", "HS384", "HS512", "HS1", "PS256", "RS384", "RS512", "ES384", "ES512", "ES256K", "EdDSA ", "Ed448",
		"RS256", "ES256", "EdDSA", "dir", "A256KW", "RSA-OAEP", "HS256,none", "SHA256", "HMAC", "../../HS256",
	} {
		h := fmt.Sprintf(`{"alg":"%s","typ":"JWT","kid":"hs"}`, alg)
		all = append(all,
			Attack{"alg " + alg + " unsigned", forge(h, payload, nil)},
			Attack{"alg " + alg + " signed", forge(h, payload, sign)},
			Attack{"alg " + alg + " without kid", forge(fmt.Sprintf(`{"alg":"%s"}`, alg), payload, nil)})
	}
	for _, alg := range []string{`null`, `true`, `0`, `["HS256"]`, `{"alg":"HS256"}`, `["none"]`} {
		h := `{"alg":` + alg + `,"kid":"hs"}`
		all = append(all, Attack{"alg is " + alg, forge(h, payload, sign)}, Attack{"unsigned alg is " + alg, forge(h, payload, nil)})
	}
	all = append(all,
		Attack{"no alg", forge(`{"typ":"JWT","kid":"hs"}`, payload, sign)},
		Attack{"ALG", forge(`{"ALG":"HS256","kid":"hs"}`, payload, sign)},
		Attack{"two algs", forge(`{"alg":"HS256","alg":"none","kid":"hs"}`, payload, sign)},
		Attack{"two algs, one escaped", forge(`{"alg":"none","\u0061lg":"HS256","kid":"hs"}`, payload, sign)})
	return append(all, s.confusionAttacks(payload)...)
}

// confusionAttacks use what everybody knows, a public key, as an HMAC secret, in every encoding that a careless
// verifier may have at hand.
func (s Suite) confusionAttacks(payload any) []Attack {
	var all []Attack
	public := s.RSA
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
			all = append(all, Attack{"HS256 with " + name + " for " + kid, forge(map[string]any{"alg": "HS256", "kid": kid}, payload, hs256(secret))})
		}
		all = append(all, Attack{"HS256 with " + name + " without kid", forge(`{"alg":"HS256"}`, payload, hs256(secret))})
	}
	// A good key of one kid under the name of another.
	for _, key := range s.Keys {
		text := must(must(auth.NewIssuer(auth.IssuerConfig{Key: key})).Issue(s.grant())).Token.Reveal()
		parts := strings.Split(text, ".")
		for _, other := range s.Keys {
			if other.ID() == key.ID() {
				continue
			}
			all = append(all, Attack{
				fmt.Sprintf("%s token as kid %s", key.Algorithm(), other.ID()),
				b64(fmt.Sprintf(`{"alg":"%s","kid":"%s"}`, other.Algorithm(), other.ID())) + "." + parts[1] + "." + parts[2],
			})
		}
	}
	return all
}
