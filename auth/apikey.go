package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
)

// How keys begin. A letter of their alphabet is never an underscore, so no prefix hides another.
const (
	keyPrefix      = "pr_"
	testPrefix     = "pr_test_"
	operatorPrefix = "pr_operator_"
)

// secretSize is 256 bits: with so many random ones a plain hash is as good as a slow one.
const secretSize = 32

// keyEncoding is base32 of RFC 4648 §6 in lower case: a key can be marked with a double click, read over a
// telephone and put into a URL or a shell without quoting.
var keyEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// KeyHash is the SHA-256 of a key's text, which is what a store keeps.
type KeyHash [sha256.Size]byte

// IsZero reports whether there is no hash. No key has it.
func (h KeyHash) IsZero() bool { return h == KeyHash{} }

// String is the hash in hexadecimal. It is no secret: it opens nothing.
func (h KeyHash) String() string { return hex.EncodeToString(h[:]) }

// ParseKeyHash reads what String wrote.
func ParseKeyHash(s string) (KeyHash, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(KeyHash{}) {
		return KeyHash{}, errors.New("auth: a key hash has 64 hexadecimal digits")
	}
	return KeyHash(b), nil
}

// Matches compares in constant time. The zero hash matches nothing.
func (h KeyHash) Matches(other KeyHash) bool {
	return subtle.ConstantTimeCompare(h[:], other[:]) == 1 && !h.IsZero()
}

// APIKey is a key as its owner holds it. Its text is pr_ or pr_test_ and then, in base32, its id, its tenant's id, a
// secret of 256 bits and a checksum (68 octets, 109 characters): the id finds the row, the tenant lets it be looked
// for under row-level security, and the checksum refuses mistyped and made-up keys without a look into the store.
// It prints without its secret.
type APIKey struct {
	id, tenant uuid.UUID
	test       bool
	text       string
}

const (
	keySize    = 16 + 16 + secretSize + 4
	keyTextLen = (keySize*8 + 4) / 5
)

// GenerateAPIKey makes a key for a tenant. Show Reveal's text once, and store Hash with ID. test makes a key that
// begins with pr_test_, which a program can refuse to send real mail for.
func GenerateAPIKey(tenant uuid.UUID, test bool) (APIKey, error) {
	if tenant == uuid.Nil {
		return APIKey{}, errors.New("auth: an API key needs a tenant")
	}
	k := APIKey{id: newID(time.Now()), tenant: tenant, test: test}
	var secret [secretSize]byte
	_, _ = rand.Read(secret[:]) // never fails (crypto/rand)
	b := append(append(append(make([]byte, 0, keySize), k.id[:]...), k.tenant[:]...), secret[:]...)
	k.text = k.prefix() + encodeWithSum(b)
	return k, nil
}

func (k APIKey) prefix() string {
	if k.test {
		return testPrefix
	}
	return keyPrefix
}

// ParseAPIKey reads a key's text, in its one spelling. It proves nothing but that the text is whole. The error
// does not show the text.
func ParseAPIKey(text string) (APIKey, error) {
	k := APIKey{text: text}
	rest, ok := strings.CutPrefix(text, testPrefix)
	if k.test = ok; !ok {
		if rest, ok = strings.CutPrefix(text, keyPrefix); !ok {
			return APIKey{}, errKeyText
		}
	}
	if len(rest) != keyTextLen {
		return APIKey{}, errKeyText
	}
	b, ok := decodeWithSum(rest)
	if !ok {
		return APIKey{}, errKeyText
	}
	k.id, k.tenant = uuid.UUID(b[:16]), uuid.UUID(b[16:32])
	if k.id == uuid.Nil || k.tenant == uuid.Nil {
		return APIKey{}, errKeyText
	}
	return k, nil
}

var errKeyText = errors.New("auth: not a whole API key")

// encodeWithSum appends a checksum to b and encodes both.
func encodeWithSum(b []byte) string {
	return keyEncoding.EncodeToString(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b)))
}

// decodeWithSum refuses what encodeWithSum does not write, also another spelling of the same octets.
func decodeWithSum(s string) ([]byte, bool) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, false
	}
	b, err := keyEncoding.DecodeString(s)
	if err != nil || len(b) < 4 {
		return nil, false
	}
	b, sum := b[:len(b)-4], b[len(b)-4:]
	if crc32.ChecksumIEEE(b) != binary.BigEndian.Uint32(sum) || encodeWithSum(b[:len(b):len(b)]) != s {
		return nil, false
	}
	return b, true
}

// ID is the key's id, a UUIDv7. It is no secret.
func (k APIKey) ID() uuid.UUID { return k.id }

// TenantID is the tenant that the key says it is of.
func (k APIKey) TenantID() uuid.UUID { return k.tenant }

// Test reports whether the key begins with pr_test_.
func (k APIKey) Test() bool { return k.test }

// Hash is what a store keeps of the key. It covers the whole text, so that no part can be exchanged.
func (k APIKey) Hash() KeyHash { return sha256.Sum256([]byte(k.text)) }

// Reveal is the whole text: for the answer to its creation, once.
func (k APIKey) Reveal() string { return k.text }

// String tells the prefix and the id.
func (k APIKey) String() string { return k.prefix() + redacted + " " + k.id.String() }

// Format prints what String does, for every verb.
func (k APIKey) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, k.String()) }

// LogValue logs what String tells.
func (k APIKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText writes what String tells, also into JSON.
func (k APIKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// GenerateOperatorKey makes a key of the whole installation: its text, to be shown once, and the hash for
// Config.Operator.
func GenerateOperatorKey() (Secret, KeyHash) {
	var secret [secretSize]byte
	_, _ = rand.Read(secret[:]) // never fails (crypto/rand)
	text := operatorPrefix + encodeWithSum(append(make([]byte, 0, secretSize+4), secret[:]...))
	return NewSecret(text), sha256.Sum256([]byte(text))
}

// HashOperatorKey returns the hash of a key that GenerateOperatorKey made, for programs that are given the key
// itself. A text that it cannot have made is refused: an operator key that a person made up can be guessed.
func HashOperatorKey(key Secret) (KeyHash, error) {
	text := key.Reveal()
	rest, ok := strings.CutPrefix(text, operatorPrefix)
	if b, whole := decodeWithSum(rest); !ok || !whole || len(b) != secretSize {
		return KeyHash{}, errors.New("auth: not a whole operator key")
	}
	return sha256.Sum256([]byte(text)), nil
}

func verifyOperator(want KeyHash, text string) (Principal, *Error) {
	if want.IsZero() {
		return Principal{}, refusal(CodeInvalidKey, ReasonNotAccepted)
	}
	if !want.Matches(sha256.Sum256([]byte(text))) {
		return Principal{}, refusal(CodeInvalidKey, ReasonKeySecret)
	}
	return Principal{Kind: KindOperator, Scope: ScopeFull}, nil
}
