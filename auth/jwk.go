package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"

	"github.com/postrider/postrider/auth/internal/strictjson"
)

// maxJWKs bounds a provider's set; large ones have about ten keys.
const maxJWKs = 64

var errNoKeys = errors.New("the set holds no key that can be used here: RSA, P-256 or Ed25519, for signatures, with a kid")

// parseJWKS reads a key set (RFC 7517 §5). Keys that cannot be used are left out, as §5 asks, so that one odd key
// does not void the set; an empty result is an error. Symmetric keys are left out: a published secret lets everybody
// sign. Certificates and URLs inside keys (x5c, x5u) are neither read nor followed. Of keys with the same kid and
// algorithm the first counts.
func parseJWKS(text []byte) ([]Key, error) {
	set, err := strictjson.Object(text)
	if err != nil {
		return nil, err
	}
	value, ok := set.Get("keys")
	if !ok {
		return nil, errors.New("the set has no member keys")
	}
	var entries []json.RawMessage
	if err := json.Unmarshal(value, &entries); err != nil {
		return nil, errors.New("the member keys is not an array")
	}
	if len(entries) > maxJWKs {
		return nil, errors.New("the set holds more keys than are read")
	}
	var keys []Key
	seen := map[string]bool{}
	for _, entry := range entries {
		members, err := strictjson.Object(entry)
		if err != nil {
			continue
		}
		key, err := parseJWK(members)
		if mark := key.id + " " + string(key.alg); err == nil && !seen[mark] {
			seen[mark] = true
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errNoKeys
	}
	return keys, nil
}

var errJWK = errors.New("not a public key for signatures")

func parseJWK(m strictjson.Members) (Key, error) {
	if use, ok := m.Get("use"); ok { // RFC 7517 §4.2
		if s, _ := strictjson.String(use); s != "sig" {
			return Key{}, errJWK
		}
	}
	kid := member(m, "kid")
	var (
		key Key
		err error
	)
	switch member(m, "kty") {
	case "RSA": // RFC 7518 §6.3.1
		n, e := octets(m, "n"), octets(m, "e")
		if len(n) == 0 || len(e) == 0 || len(e) > 4 {
			return Key{}, errJWK
		}
		exponent := new(big.Int).SetBytes(e).Int64()
		if exponent > 1<<31-1 {
			return Key{}, errJWK
		}
		key, err = NewPublicKey(kid, &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent)})
	case "EC": // RFC 7518 §6.2.1: coordinates have the full length
		x, y := octets(m, "x"), octets(m, "y")
		if member(m, "crv") != "P-256" || len(x) != 32 || len(y) != 32 {
			return Key{}, errJWK
		}
		var public *ecdsa.PublicKey
		public, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
		if err == nil {
			key, err = NewPublicKey(kid, public)
		}
	case "OKP": // RFC 8037 §2
		if member(m, "crv") != "Ed25519" {
			return Key{}, errJWK
		}
		key, err = NewPublicKey(kid, ed25519.PublicKey(octets(m, "x")))
	default:
		return Key{}, errJWK
	}
	if err != nil {
		return Key{}, err
	}
	if alg, ok := m.Get("alg"); ok { // RFC 7517 §4.4: the key is for this algorithm only
		if s, _ := strictjson.String(alg); s != string(key.alg) && (s != "Ed25519" || key.alg != EdDSA) {
			return Key{}, errJWK
		}
	}
	return key, nil
}

func member(m strictjson.Members, name string) string {
	value, _ := m.Get(name)
	s, _ := strictjson.String(value)
	return s
}

func octets(m strictjson.Members, name string) []byte {
	b, _ := base64.RawURLEncoding.DecodeString(member(m, name))
	return b
}
