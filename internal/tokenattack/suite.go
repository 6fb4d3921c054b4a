// Package tokenattack makes tokens that must be refused, every one with 401: the known tricks with JSON Web Tokens and
// some of ours. Package auth sends them through its middleware, the service's HTTP layer through its whole chain.
//
// It is test support: only tests import it. It panics if it cannot make a token.
package tokenattack

import (
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"time"

	"github.com/postrider/postrider/auth"
)

// SecondSecret is that of a key without an id, which the verifier must have beside Suite.Keys.
const SecondSecret = "another secret, for tokens without a kid header"

// Attack is one token that must be answered with 401.
type Attack struct {
	Name  string
	Token string
}

// Suite is what the verifier under attack trusts.
type Suite struct {
	// Keys are those of the verifier: HS256 as "hs", RS256 as "rs", ES256 as "es" and EdDSA as "ed".
	Keys []auth.Key
	// Secret is the one of "hs".
	Secret string
	// RSA is the public key of "rs".
	RSA *rsa.PublicKey
	// Tenant and User are in good standing, OtherTenant and OtherUser too.
	Tenant, OtherTenant, User, OtherUser string
}

// Good is a token that must be accepted: without one, a verifier that refuses everything would pass.
func (s Suite) Good(now time.Time) string {
	return forge(header(nil), s.claims(now, nil), hs256([]byte(s.Secret)))
}

// All makes the tokens.
func (s Suite) All(now time.Time) []Attack {
	good := s.Good(now)
	var all []Attack
	for _, part := range [][]Attack{
		s.algorithmAttacks(now), s.headerAttacks(now), s.signatureAttacks(now, good),
		s.claimAttacks(now), s.timeAttacks(now), s.roleAttacks(now), s.shapeAttacks(now, good),
	} {
		all = append(all, part...)
	}
	return all
}

// claims are those of a good token at now; with replaces or, given nil, removes some.
func (s Suite) claims(now time.Time, with map[string]any) map[string]any {
	c := map[string]any{
		"tenant_id": s.Tenant, "user_id": s.User, "role": "admin",
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

func (s Suite) grant() auth.Grant {
	return auth.Grant{TenantID: s.Tenant, UserID: s.User, Role: auth.RoleUser}
}

// header is that of a good HS256 token, with more parameters.
func header(with map[string]any) map[string]any {
	h := map[string]any{"alg": "HS256", "typ": "JWT", "kid": "hs"}
	maps.Copy(h, with)
	return h
}

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

func toJSON(v any) string {
	if s, ok := v.(string); ok {
		return s // JSON already
	}
	return string(must(json.Marshal(v)))
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// null is a claim that is there and null.
func null() json.RawMessage { return json.RawMessage("null") }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
