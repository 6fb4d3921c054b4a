package seal

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/signature"
)

var (
	// ErrKeyset is returned for what is not a keyset of the kind that is needed.
	ErrKeyset = errors.New("not a usable keyset")

	// ErrKeyWaiting is returned by [AddKey] if the keyset has a key already that waits to be
	// promoted.
	ErrKeyWaiting = errors.New("the keyset has a new key already: promote it before you add another")

	// ErrNoNewKey is returned by [Promote] if the newest key is the primary already.
	ErrNoNewKey = errors.New("the keyset has no key newer than its primary: add one first")
)

// maxKeyset bounds, in octets, what is parsed: a keyset of a hundred keys has 30 KiB.
const maxKeyset = 256 << 10

// kind is what the keys of a keyset are for.
type kind struct {
	name     string // for error messages
	typeURL  string // Tink's name of the key type
	template func() *tinkpb.KeyTemplate
}

// Only the key types that this package generates are taken: others seal without the key's id in
// front, or ask a server on the network for their keys.
func sealing() kind {
	return kind{"sealing", "type.googleapis.com/google.crypto.tink.AesGcmKey", aead.AES256GCMKeyTemplate}
}

func signing() kind {
	return kind{"signing", "type.googleapis.com/google.crypto.tink.Ed25519PrivateKey", signature.ED25519KeyTemplate}
}

func verifying() kind {
	return kind{"public", "type.googleapis.com/google.crypto.tink.Ed25519PublicKey", nil}
}

// Key names one key of a keyset and shows nothing of it.
type Key struct {
	ID      string // eight hexadecimal digits, as in the messages of this package
	Primary bool   // this key seals or signs
}

// Generate returns a new keyset with one key for sealing, as JSON.
func Generate() ([]byte, error) { return generate(sealing()) }

// GenerateSigning returns a new keyset with one key for signing checkpoints, as JSON.
func GenerateSigning() ([]byte, error) { return generate(signing()) }

func generate(k kind) ([]byte, error) {
	handle, err := keyset.NewHandle(k.template())
	if err != nil {
		return nil, fmt.Errorf("seal: making a %s key: %w", k.name, err)
	}
	return write(handle)
}

// AddKey returns the keyset with one more key, which opens (or verifies) and does not seal
// (or sign) yet. It takes keysets of both kinds. Errors: [ErrKeyset], [ErrKeyWaiting].
func AddKey(secret []byte) ([]byte, error) {
	handle, k, err := readEither(secret)
	if err != nil {
		return nil, err
	}
	keys := keysOf(handle)
	if !keys[len(keys)-1].Primary {
		return nil, fmt.Errorf("seal: %w", ErrKeyWaiting)
	}
	m := keyset.NewManagerFromHandle(handle)
	if _, err := m.Add(k.template()); err != nil {
		return nil, fmt.Errorf("seal: adding a %s key: %w", k.name, err)
	}
	return finish(m, k)
}

// Promote returns the keyset with its newest key as the primary. Errors: [ErrKeyset],
// [ErrNoNewKey].
func Promote(secret []byte) ([]byte, error) {
	handle, k, err := readEither(secret)
	if err != nil {
		return nil, err
	}
	newest, err := handle.Entry(handle.Len() - 1)
	if err != nil {
		return nil, broken(k.name)
	}
	if newest.IsPrimary() {
		return nil, fmt.Errorf("seal: %w", ErrNoNewKey)
	}
	m := keyset.NewManagerFromHandle(handle)
	if err := m.SetPrimary(newest.KeyID()); err != nil {
		return nil, fmt.Errorf("seal: the newest key %s cannot become the primary: %w", keyName(newest.KeyID()), err)
	}
	return finish(m, k)
}

// Rotate is [AddKey] and [Promote] in one, for a service of one node.
func Rotate(secret []byte) ([]byte, error) {
	added, err := AddKey(secret)
	if err != nil {
		return nil, err
	}
	return Promote(added)
}

// DropOld returns the keyset without the keys that are older than its primary. It keeps a newer
// one that waits to be promoted. What only those keys can open is lost. Errors: [ErrKeyset].
func DropOld(secret []byte) ([]byte, error) {
	handle, k, err := readEither(secret)
	if err != nil {
		return nil, err
	}
	m := keyset.NewManagerFromHandle(handle)
	for i := range handle.Len() {
		entry, err := handle.Entry(i)
		if err != nil {
			return nil, broken(k.name)
		}
		if entry.IsPrimary() {
			break
		}
		if err := m.Delete(entry.KeyID()); err != nil {
			return nil, fmt.Errorf("seal: dropping key %s: %w", keyName(entry.KeyID()), err)
		}
	}
	return finish(m, k)
}

// Keys names the keys of a keyset of either kind, the oldest first. Errors: [ErrKeyset].
func Keys(secret []byte) ([]Key, error) {
	handle, _, err := readEither(secret)
	if err != nil {
		return nil, err
	}
	return keysOf(handle), nil
}

// keysOf names the keys of a handle, the oldest first: Tink appends new ones.
func keysOf(handle *keyset.Handle) []Key {
	info := handle.KeysetInfo()
	keys := make([]Key, len(info.GetKeyInfo()))
	for i, k := range info.GetKeyInfo() {
		keys[i] = Key{ID: keyName(k.GetKeyId()), Primary: k.GetKeyId() == info.GetPrimaryKeyId()}
	}
	return keys
}

func keyName(id uint32) string { return fmt.Sprintf("%08x", id) }

// readEither reads a secret keyset of either kind.
func readEither(secret []byte) (*keyset.Handle, kind, error) {
	if handle, err := read(secret, signing()); err == nil {
		return handle, signing(), nil
	}
	handle, err := read(secret, sealing())
	if err != nil {
		return nil, kind{}, broken("sealing or signing")
	}
	return handle, sealing(), nil
}

// read parses a keyset and holds each of its keys to the kind. The causes that the libraries
// give are left out of the error: they quote the text that they could not read.
func read(secret []byte, k kind) (*keyset.Handle, error) {
	if len(secret) > maxKeyset {
		return nil, broken(k.name)
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(secret)))
	if err != nil || handle.Len() == 0 {
		return nil, broken(k.name)
	}
	for _, info := range handle.KeysetInfo().GetKeyInfo() {
		if info.GetTypeUrl() != k.typeURL || info.GetOutputPrefixType() != tinkpb.OutputPrefixType_TINK {
			return nil, broken(k.name)
		}
	}
	if _, err := handle.Primary(); err != nil {
		return nil, broken(k.name)
	}
	return handle, nil
}

func broken(name string) error {
	return fmt.Errorf("seal: %w: want a %s keyset as this program makes them, in JSON, whole and unencrypted", ErrKeyset, name)
}

func finish(m *keyset.Manager, k kind) ([]byte, error) {
	handle, err := m.Handle()
	if err != nil {
		return nil, broken(k.name)
	}
	return write(handle)
}

func write(handle *keyset.Handle) ([]byte, error) {
	var b bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&b)); err != nil {
		return nil, errors.New("seal: the keyset cannot be written as JSON")
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
