package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/signature"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// ErrSignature is returned for a signature that no key of the keyset made over these octets.
var ErrSignature = errors.New("the signature does not match")

// Verifier checks signatures of a [Signer]; it holds public keys only. It may be used by several
// goroutines at once.
type Verifier struct {
	verifier tink.Verifier
}

// OpenVerifier returns the Verifier of the public keyset that [Signer.Public] wrote.
// Errors: [ErrKeyset].
func OpenVerifier(public []byte) (*Verifier, error) {
	handle, err := read(public, verifying())
	if err != nil {
		return nil, err
	}
	return newVerifier(handle)
}

func newVerifier(public *keyset.Handle) (*Verifier, error) {
	v, err := signature.NewVerifier(public)
	if err != nil {
		return nil, broken(verifying().name)
	}
	return &Verifier{v}, nil
}

// Verify returns nil if a key of the keyset signed data, and else [ErrSignature].
func (v *Verifier) Verify(sig, data []byte) error {
	if err := v.verifier.Verify(sig, data); err != nil {
		return fmt.Errorf("seal: %w", ErrSignature)
	}
	return nil
}

// Signer signs with the primary key of a signing keyset and verifies with all of them. It may be
// used by several goroutines at once. Printed in any way it shows the id of its primary key
// and nothing else.
type Signer struct {
	pen *pen // a pointer, for the reason that Sealer.box is one
}

type pen struct {
	signer   tink.Signer
	verifier *Verifier
	public   []byte
	primary  string
}

// OpenSigner returns the Signer of a keyset that [GenerateSigning] made. Errors: [ErrKeyset].
func OpenSigner(secret []byte) (*Signer, error) {
	handle, err := read(secret, signing())
	if err != nil {
		return nil, err
	}
	signer, err := signature.NewSigner(handle)
	if err != nil {
		return nil, broken(signing().name)
	}
	public, err := handle.Public()
	if err != nil {
		return nil, broken(signing().name)
	}
	verifier, err := newVerifier(public)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := public.WriteWithNoSecrets(keyset.NewJSONWriter(&b)); err != nil {
		return nil, broken(signing().name)
	}
	b.WriteByte('\n')
	return &Signer{&pen{signer, verifier, b.Bytes(), primaryOf(keysOf(handle))}}, nil
}

// Sign returns the Ed25519 signature of data, with the id of the key in front: 69 octets.
func (s *Signer) Sign(data []byte) ([]byte, error) {
	sig, err := s.pen.signer.Sign(data)
	if err != nil {
		return nil, errors.New("seal: a checkpoint cannot be signed")
	}
	return sig, nil
}

// Verify returns nil if a key of the keyset, be it an older one, signed data, and else
// [ErrSignature].
func (s *Signer) Verify(sig, data []byte) error { return s.pen.verifier.Verify(sig, data) }

// Public returns the public keys as a keyset in JSON, for [OpenVerifier] on another machine. It
// holds no secret.
func (s *Signer) Public() []byte { return bytes.Clone(s.pen.public) }

// String says which key is the primary.
func (s *Signer) String() string {
	if s == nil || s.pen == nil {
		return "seal.Signer(none)"
	}
	return "seal.Signer(key " + s.pen.primary + ")"
}

// Format prints the same as String for every verb, also for %#v and %x.
func (s *Signer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue logs the same as String.
func (s *Signer) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText encodes the same as String, also in JSON.
func (s *Signer) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
