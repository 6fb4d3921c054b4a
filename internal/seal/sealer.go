package seal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/google/uuid"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/tink"
)

var (
	// ErrNotSealed is returned for octets that cannot be a sealed secret: too few, or of
	// another form.
	ErrNotSealed = errors.New("not a sealed secret")

	// ErrKeyMissing is returned for a secret whose key is not in the keyset: it was dropped,
	// or this node was not given it yet.
	ErrKeyMissing = errors.New("the keyset lacks the key of this secret")

	// ErrAltered is returned for a secret that was changed, or that was sealed for another tenant
	// or purpose.
	ErrAltered = errors.New("the secret was altered, or belongs to another tenant or purpose")

	// ErrPurpose is returned for an empty purpose: a mistake of the caller.
	ErrPurpose = errors.New("a purpose must be named")
)

const (
	prefixSize = 5           // Tink's version octet, 1, and the key's id, big-endian
	overhead   = 5 + 12 + 16 // prefix, nonce and tag of AES-GCM
)

// Sealer seals and opens secrets with the keys of one keyset. It may be used by several goroutines
// at once. Printed in any way it shows the id of its primary key and nothing else.
type Sealer struct {
	// A pointer, so that a Sealer that is printed as part of a struct, where its methods are
	// not called, prints as an address.
	box *box
}

type box struct {
	aead    tink.AEAD
	primary string
	keys    []Key
}

// Open returns the Sealer of a keyset that [Generate] made. Errors: [ErrKeyset].
func Open(secret []byte) (*Sealer, error) {
	handle, err := read(secret, sealing())
	if err != nil {
		return nil, err
	}
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, broken(sealing().name)
	}
	return &Sealer{&box{primitive, primaryOf(keysOf(handle)), keysOf(handle)}}, nil
}

func primaryOf(keys []Key) string {
	for _, k := range keys {
		if k.Primary {
			return k.ID
		}
	}
	return ""
}

// Seal encrypts plaintext, which may be empty, for one tenant and one purpose. The zero tenant is the
// operator. A purpose may name a row too ("relay password "+id): then rows of a tenant cannot be
// exchanged either. The result is 33 octets longer than the plaintext and differs each time.
func (s *Sealer) Seal(tenant uuid.UUID, purpose string, plaintext []byte) ([]byte, error) {
	if purpose == "" {
		return nil, fmt.Errorf("seal: %w", ErrPurpose)
	}
	sealed, err := s.box.aead.Encrypt(plaintext, associated(tenant, purpose))
	if err != nil {
		return nil, errors.New("seal: a secret cannot be encrypted")
	}
	return sealed, nil
}

// Unseal opens what Seal returned for the same tenant and purpose. Errors: [ErrNotSealed],
// [ErrKeyMissing], [ErrAltered], [ErrPurpose].
func (s *Sealer) Unseal(tenant uuid.UUID, purpose string, sealed []byte) ([]byte, error) {
	if purpose == "" {
		return nil, fmt.Errorf("seal: %w", ErrPurpose)
	}
	id, ok := KeyID(sealed)
	if !ok {
		return nil, fmt.Errorf("seal: %w", ErrNotSealed)
	}
	if !slices.ContainsFunc(s.box.keys, func(k Key) bool { return k.ID == id }) {
		return nil, fmt.Errorf("seal: %w: it was sealed with key %s, and the primary is %s", ErrKeyMissing, id, s.box.primary)
	}
	plaintext, err := s.box.aead.Decrypt(sealed, associated(tenant, purpose))
	if err != nil {
		return nil, fmt.Errorf("seal: %w (key %s)", ErrAltered, id)
	}
	return plaintext, nil
}

// Stale reports whether sealed should be opened and sealed again: its key is not the primary. It
// says true also of what is no sealed secret at all.
func (s *Sealer) Stale(sealed []byte) bool {
	id, ok := KeyID(sealed)
	return !ok || id != s.box.primary
}

// Keys names the keys of the Sealer, the oldest first.
func (s *Sealer) Keys() []Key { return slices.Clone(s.box.keys) }

// KeyID names the key with which sealed was sealed; false if it has not the form of a
// sealed secret.
func KeyID(sealed []byte) (string, bool) {
	if len(sealed) < overhead || sealed[0] != 1 {
		return "", false
	}
	return keyName(binary.BigEndian.Uint32(sealed[1:prefixSize])), true
}

// associated binds a secret to its place. The tenant has a fixed size and stands last, so no two
// places give the same octets.
func associated(tenant uuid.UUID, purpose string) []byte {
	b := append([]byte("postrider secret 1\x00"), purpose...)
	b = append(b, 0)
	return append(b, tenant[:]...)
}

// String says which key is the primary.
func (s *Sealer) String() string {
	if s == nil || s.box == nil {
		return "seal.Sealer(none)"
	}
	return "seal.Sealer(key " + s.box.primary + ")"
}

// Format prints the same as String for every verb, also for %#v and %x.
func (s *Sealer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue logs the same as String.
func (s *Sealer) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText encodes the same as String, also in JSON.
func (s *Sealer) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
