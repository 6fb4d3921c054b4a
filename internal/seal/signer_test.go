package seal_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"

	"github.com/postrider/postrider/internal/seal"
)

func TestASignatureIsKnownAgain(t *testing.T) {
	bytesOf, signerOf, verifierOf := must[[]byte](t), must[*seal.Signer](t), must[*seal.Verifier](t)
	first := bytesOf(seal.GenerateSigning())
	old := signerOf(seal.OpenSigner(first))
	rotated := signerOf(seal.OpenSigner(bytesOf(seal.Rotate(first))))
	stranger := signerOf(seal.OpenSigner(bytesOf(seal.GenerateSigning())))
	data := []byte("checkpoint 17")
	sig := bytesOf(old.Sign(data))

	type verifier interface{ Verify(sig, data []byte) error }
	for _, c := range []struct {
		name     string
		verifier verifier
		sig      []byte
		data     string
		want     bool
	}{
		{"by its signer", old, sig, "checkpoint 17", true},
		{"by a keyset with a newer key", rotated, sig, "checkpoint 17", true},
		{"by the public keys", verifierOf(seal.OpenVerifier(old.Public())), sig, "checkpoint 17", true},
		{"by the public keys after rotation", verifierOf(seal.OpenVerifier(rotated.Public())), sig, "checkpoint 17", true},
		{"the newer key by the older keyset", old, bytesOf(rotated.Sign(data)), "checkpoint 17", false},
		{"by a stranger", stranger, sig, "checkpoint 17", false},
		{"of other data", old, sig, "checkpoint 18", false},
		{"cut", old, sig[:len(sig)-1], "checkpoint 17", false},
		{"empty", old, nil, "checkpoint 17", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.verifier.Verify(c.sig, []byte(c.data))
			if (err == nil) != c.want || err != nil && !errors.Is(err, seal.ErrSignature) {
				t.Errorf("got %v", err)
			}
		})
	}
	for i := range sig {
		flipped := bytes.Clone(sig)
		flipped[i] ^= 1
		if old.Verify(flipped, data) == nil {
			t.Errorf("it matches with octet %d changed", i)
		}
	}
}

func TestPublicKeysHoldNoSecret(t *testing.T) {
	keyset := must[[]byte](t)(seal.GenerateSigning())
	signer := must[*seal.Signer](t)(seal.OpenSigner(keyset))
	for _, secret := range secretsOf(t, keyset) {
		if bytes.Contains(signer.Public(), []byte(secret)) {
			t.Error("the private key is among the public ones")
		}
	}
	// The standard library knows the signature too: an auditor does not depend on Tink.
	var public struct {
		Key []struct{ KeyData struct{ Value string } }
	}
	if err := json.Unmarshal(signer.Public(), &public); err != nil {
		t.Fatal(err)
	}
	raw := must[[]byte](t)(base64.StdEncoding.DecodeString(public.Key[0].KeyData.Value))
	sig := must[[]byte](t)(signer.Sign([]byte("checkpoint")))
	if !ed25519.Verify(raw[len(raw)-ed25519.PublicKeySize:], []byte("checkpoint"), sig[5:]) {
		t.Error("crypto/ed25519 does not accept the signature")
	}
}
