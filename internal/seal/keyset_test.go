package seal_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/seal"
)

func TestANewKeyReachesAllNodesBeforeItSeals(t *testing.T) {
	bytesOf, sealerOf := must[[]byte](t), must[*seal.Sealer](t)
	first := bytesOf(seal.Generate())
	added := bytesOf(seal.AddKey(first))
	promoted := bytesOf(seal.Promote(added))
	dropped := bytesOf(seal.DropOld(promoted))
	generations := []*seal.Sealer{
		sealerOf(seal.Open(first)), sealerOf(seal.Open(added)), sealerOf(seal.Open(promoted)), sealerOf(seal.Open(dropped)),
	}
	// Nodes of neighbouring steps run side by side, and each opens what the other seals.
	for i := range len(generations) - 2 {
		for _, pair := range [][2]*seal.Sealer{{generations[i], generations[i+1]}, {generations[i+1], generations[i]}} {
			sealed := bytesOf(pair[0].Seal(tenantA, purpose, []byte("hunter2")))
			if got, err := pair[1].Unseal(tenantA, purpose, sealed); err != nil || string(got) != "hunter2" {
				t.Errorf("between step %d and the next: %q, %v", i, got, err)
			}
		}
	}

	old := bytesOf(generations[1].Seal(tenantA, purpose, []byte("hunter2")))
	if generations[0].Stale(old) || generations[1].Stale(old) {
		t.Error("stale before the new key was promoted")
	}
	if !generations[2].Stale(old) {
		t.Error("not stale though another key is the primary")
	}
	secret := bytesOf(generations[2].Unseal(tenantA, purpose, old))
	resealed := bytesOf(generations[2].Seal(tenantA, purpose, secret))
	if generations[2].Stale(resealed) || generations[3].Stale(resealed) {
		t.Error("stale after it was sealed again")
	}
	if got, err := generations[3].Unseal(tenantA, purpose, resealed); err != nil || string(got) != "hunter2" {
		t.Errorf("after the old key was dropped: %q, %v", got, err)
	}
	_, err := generations[3].Unseal(tenantA, purpose, old)
	id, _ := seal.KeyID(old)
	if !errors.Is(err, seal.ErrKeyMissing) || !strings.Contains(err.Error(), id) {
		t.Errorf("want the missing key %s named, got %v", id, err)
	}
	if !generations[3].Stale([]byte("no secret")) {
		t.Error("what is no secret is not stale")
	}
}

func TestStepsOfARotationInOrder(t *testing.T) {
	for _, c := range []struct {
		name     string
		generate func() ([]byte, error)
	}{{"sealing", seal.Generate}, {"signing", seal.GenerateSigning}} {
		t.Run(c.name, func(t *testing.T) {
			bytesOf, keysOf := must[[]byte](t), must[[]seal.Key](t)
			first := bytesOf(c.generate())
			if _, err := seal.Promote(first); !errors.Is(err, seal.ErrNoNewKey) {
				t.Errorf("promoted without a new key: %v", err)
			}
			if same := bytesOf(seal.DropOld(first)); !slicesEqual(keysOf(seal.Keys(same)), keysOf(seal.Keys(first))) {
				t.Error("the only key was dropped")
			}
			added := bytesOf(seal.AddKey(first))
			if _, err := seal.AddKey(added); !errors.Is(err, seal.ErrKeyWaiting) {
				t.Errorf("a second key was added: %v", err)
			}
			if same := bytesOf(seal.DropOld(added)); len(keysOf(seal.Keys(same))) != 2 {
				t.Error("the key that waits was dropped")
			}
			rotated := bytesOf(seal.Rotate(bytesOf(seal.Rotate(first))))
			keys := keysOf(seal.Keys(rotated))
			if len(keys) != 3 || keys[0].Primary || keys[1].Primary || !keys[2].Primary || keys[0].ID != keysOf(seal.Keys(first))[0].ID {
				t.Errorf("keys after two rotations: %v", keys)
			}
			if left := keysOf(seal.Keys(bytesOf(seal.DropOld(rotated)))); len(left) != 1 || left[0] != keys[2] {
				t.Errorf("keys after the old ones were dropped: %v of %v", left, keys)
			}
		})
	}
}

func slicesEqual(a, b []seal.Key) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

func TestWhatIsNoKeysetIsRefused(t *testing.T) {
	bytesOf := must[[]byte](t)
	sealing, signing := bytesOf(seal.Generate()), bytesOf(seal.GenerateSigning())
	public := must[*seal.Signer](t)(seal.OpenSigner(signing)).Public()
	raw := bytes.ReplaceAll(sealing, []byte(`"TINK"`), []byte(`"RAW"`))
	disabled := bytes.ReplaceAll(sealing, []byte(`"ENABLED"`), []byte(`"DISABLED"`))
	for _, c := range []struct {
		name                    string
		text                    []byte
		sealer, signer, verifer bool
	}{
		{"sealing", sealing, true, false, false},
		{"signing", signing, false, true, false},
		{"public", public, false, false, true},
		{"nothing", nil, false, false, false},
		{"an empty object", []byte("{}"), false, false, false},
		{"no JSON", []byte("hunter2"), false, false, false},
		{"cut", sealing[:len(sealing)/2], false, false, false},
		{"encrypted", []byte(`{"encryptedKeyset":"aHVudGVyMg=="}`), false, false, false},
		{"keys without their id in front", raw, false, false, false},
		{"its key disabled", disabled, false, false, false},
		{"too long", append(bytes.Repeat([]byte(" "), 1<<20), sealing...), false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			check := func(what string, want bool, err error) {
				t.Helper()
				if (err == nil) != want {
					t.Errorf("%s: %v", what, err)
				}
				if err == nil {
					return
				}
				if !errors.Is(err, seal.ErrKeyset) {
					t.Errorf("%s: want ErrKeyset, got %v", what, err)
				}
				if strings.Contains(err.Error(), "hunter2") || len(err.Error()) > 200 {
					t.Errorf("%s: the error shows what it read: %v", what, err)
				}
			}
			_, err := seal.Open(c.text)
			check("Open", c.sealer, err)
			_, err = seal.OpenSigner(c.text)
			check("OpenSigner", c.signer, err)
			_, err = seal.OpenVerifier(c.text)
			check("OpenVerifier", c.verifer, err)
			_, err = seal.Keys(c.text)
			check("Keys", c.sealer || c.signer, err)
			for _, step := range []func([]byte) ([]byte, error){seal.AddKey, seal.Promote, seal.DropOld, seal.Rotate} {
				if _, err := step(c.text); !c.sealer && !c.signer {
					check("a step of rotation", false, err)
				}
			}
		})
	}
}

func FuzzOpen(f *testing.F) {
	sealing, signing := must[[]byte](f)(seal.Generate()), must[[]byte](f)(seal.GenerateSigning())
	f.Add(sealing)
	f.Add(signing)
	f.Add(must[*seal.Signer](f)(seal.OpenSigner(signing)).Public())
	f.Add(sealing[:100])
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := seal.Open(data); err == nil {
			sealed, err := s.Seal(tenantA, purpose, []byte("hunter2"))
			if err != nil {
				t.Fatalf("a keyset that opens does not seal: %v", err)
			}
			if got, err := s.Unseal(tenantA, purpose, sealed); err != nil || string(got) != "hunter2" {
				t.Fatalf("a keyset that seals does not open: %v", err)
			}
		}
		if s, err := seal.OpenSigner(data); err == nil {
			sig, err := s.Sign([]byte("checkpoint"))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(sig, []byte("checkpoint")); err != nil {
				t.Fatal(err)
			}
		}
		if next, err := seal.Rotate(data); err == nil {
			if _, err := seal.Keys(next); err != nil {
				t.Fatalf("a rotated keyset is not one: %v", err)
			}
		}
		_, _ = seal.OpenVerifier(data)
	})
}
