package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"

	"github.com/golang-jwt/jwt/v5"
)

// Algorithm is a signature algorithm by its name in JOSE (RFC 7518 §3.1, RFC 8037 §3.1).
type Algorithm string

// The algorithms. There is no "none", and no way to name one: a key brings its algorithm with it.
const (
	HS256 Algorithm = "HS256" // HMAC with SHA-256; the verifier can sign too
	RS256 Algorithm = "RS256" // RSASSA-PKCS1-v1_5 with SHA-256
	ES256 Algorithm = "ES256" // ECDSA on P-256 with SHA-256
	EdDSA Algorithm = "EdDSA" // Ed25519
)

const (
	minSecret  = 32   // octets: RFC 7518 §3.2 asks for a key as long as the hash
	minRSABits = 2048 // RFC 7518 §3.3
	maxRSABits = 8192 // a larger key only makes verifying slow
	maxKeyID   = 256  // octets of a kid
)

// Key signs or verifies tokens with the one algorithm that its material is for (RFC 8725 §3.1). It prints without
// its secret. The zero Key is refused everywhere.
type Key struct {
	id     string
	alg    Algorithm
	method jwt.SigningMethod
	verify any // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	sign   any // nil for a public key
}

// NewHMACKey makes a key for HS256. The secret must be random and have at least 32 octets. It is copied. A PEM
// block is refused: whoever gives a public key for a secret lets everybody sign. id is the kid; it may be empty
// if no token carries one.
func NewHMACKey(id string, secret []byte) (Key, error) {
	if len(secret) < minSecret {
		return Key{}, fmt.Errorf("auth: key %q: the HS256 secret has %d octets, needs at least %d: make one with openssl rand -base64 48", id, len(secret), minSecret)
	}
	if bytes.Contains(secret, []byte("-----BEGIN ")) {
		return Key{}, fmt.Errorf("auth: key %q: the HS256 secret is a PEM block: use ParseKey for it", id)
	}
	if err := checkKeyID(id); err != nil {
		return Key{}, err
	}
	own := bytes.Clone(secret)
	return Key{id: id, alg: HS256, method: jwt.SigningMethodHS256, verify: own, sign: own}, nil
}

// NewPublicKey makes a key that verifies only: *rsa.PublicKey of 2048 to 8192 bits for RS256, *ecdsa.PublicKey on
// P-256 for ES256, ed25519.PublicKey for EdDSA.
func NewPublicKey(id string, public crypto.PublicKey) (Key, error) {
	if err := checkKeyID(id); err != nil {
		return Key{}, err
	}
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k == nil || k.N == nil || k.N.BitLen() < minRSABits || k.N.BitLen() > maxRSABits || k.E < 3 || k.E%2 == 0 {
			return Key{}, fmt.Errorf("auth: key %q: RSA keys need %d to %d bits and an odd exponent of at least 3", id, minRSABits, maxRSABits)
		}
		return Key{id: id, alg: RS256, method: jwt.SigningMethodRS256, verify: k}, nil
	case *ecdsa.PublicKey:
		if k == nil || k.Curve != elliptic.P256() {
			return Key{}, fmt.Errorf("auth: key %q: ES256 needs a key on the curve P-256", id)
		}
		if _, err := k.ECDH(); err != nil { // the point is not on the curve
			return Key{}, fmt.Errorf("auth: key %q: not a point on P-256", id)
		}
		return Key{id: id, alg: ES256, method: jwt.SigningMethodES256, verify: k}, nil
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return Key{}, fmt.Errorf("auth: key %q: an Ed25519 public key has %d octets", id, ed25519.PublicKeySize)
		}
		return Key{id: id, alg: EdDSA, method: jwt.SigningMethodEdDSA, verify: k}, nil
	}
	return Key{}, fmt.Errorf("auth: key %q: %T is not supported: use RSA, ECDSA on P-256 or Ed25519", id, public)
}

// NewPrivateKey makes a key that signs and verifies: *rsa.PrivateKey, *ecdsa.PrivateKey or ed25519.PrivateKey.
func NewPrivateKey(id string, private crypto.Signer) (Key, error) {
	switch k := private.(type) {
	case *rsa.PrivateKey:
		if k == nil {
			return Key{}, errNoPrivateKey
		}
	case *ecdsa.PrivateKey:
		if k == nil {
			return Key{}, errNoPrivateKey
		}
	case ed25519.PrivateKey:
		if len(k) != ed25519.PrivateKeySize {
			return Key{}, errNoPrivateKey
		}
	default:
		return Key{}, fmt.Errorf("auth: key %q: %T is not supported: use *rsa.PrivateKey, *ecdsa.PrivateKey or ed25519.PrivateKey", id, private)
	}
	key, err := NewPublicKey(id, private.Public())
	if err != nil {
		return Key{}, err
	}
	key.sign = private
	return key, nil
}

var errNoPrivateKey = errors.New("auth: the private key is empty")

func checkKeyID(id string) error {
	if len(id) > maxKeyID {
		return fmt.Errorf("auth: a key id has %d octets, may have %d", len(id), maxKeyID)
	}
	return nil
}

// ID is the kid (RFC 7515 §4.1.4).
func (k Key) ID() string { return k.id }

// Algorithm is the one algorithm that the key is for; empty for the zero Key.
func (k Key) Algorithm() Algorithm { return k.alg }

// CanSign reports whether the key holds what an Issuer needs.
func (k Key) CanSign() bool { return k.sign != nil }

// Public returns the key without what it signs with; false for HS256, whose secret is both.
func (k Key) Public() (Key, bool) {
	if k.alg == HS256 || k.alg == "" {
		return Key{}, false
	}
	k.sign = nil
	return k, true
}

// String tells id and algorithm.
func (k Key) String() string { return fmt.Sprintf("%s key %q", k.alg, k.id) }

// Format prints what String does, for every verb: %+v would otherwise print the secret.
func (k Key) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, k.String()) }

// LogValue logs what String tells.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText writes what String tells, also into JSON.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// checkSignature reports whether signature is the key's over input, by the key's own algorithm.
func (k Key) checkSignature(input string, signature []byte) bool {
	return k.method.Verify(input, signature, k.verify) == nil
}
