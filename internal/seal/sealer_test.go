package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/seal"
)

const purpose = "relay password"

var (
	tenantA = uuid.MustParse("0190a000-0000-7000-8000-00000000000a")
	tenantB = uuid.MustParse("0190a000-0000-7000-8000-00000000000b")
)

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newSealer(t testing.TB) (*seal.Sealer, []byte) {
	t.Helper()
	keyset := must[[]byte](t)(seal.Generate())
	return must[*seal.Sealer](t)(seal.Open(keyset)), keyset
}

func TestASecretOpensAgain(t *testing.T) {
	s, _ := newSealer(t)
	rapid.Check(t, func(r *rapid.T) {
		secret := rapid.SliceOf(rapid.Byte()).Draw(r, "secret")
		tenant := uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(r, "tenant"))
		purpose := rapid.StringN(1, 40, -1).Draw(r, "purpose")
		sealed, err := s.Seal(tenant, purpose, secret)
		if err != nil {
			r.Fatal(err)
		}
		if len(sealed) != len(secret)+33 {
			r.Fatalf("%d octets became %d", len(secret), len(sealed))
		}
		if len(secret) > 4 && bytes.Contains(sealed, secret) {
			r.Fatal("the secret stands in the sealed text")
		}
		again, err := s.Seal(tenant, purpose, secret)
		if err != nil || bytes.Equal(again, sealed) {
			r.Fatalf("sealed twice, it is the same (%v)", err)
		}
		got, err := s.Unseal(tenant, purpose, sealed)
		if err != nil || !bytes.Equal(got, secret) {
			r.Fatalf("got %q, %v", got, err)
		}
		if s.Stale(sealed) {
			r.Fatal("stale at once")
		}
	})
}

func TestASecretOpensInItsPlaceOnly(t *testing.T) {
	s, _ := newSealer(t)
	other, _ := newSealer(t)
	sealed := must[[]byte](t)(s.Seal(tenantA, purpose, []byte("hunter2")))
	for _, c := range []struct {
		name    string
		sealer  *seal.Sealer
		tenant  uuid.UUID
		purpose string
		sealed  []byte
		want    error
	}{
		{"another tenant", s, tenantB, purpose, sealed, seal.ErrAltered},
		{"the operator", s, uuid.Nil, purpose, sealed, seal.ErrAltered},
		{"another purpose", s, tenantA, "webhook secret", sealed, seal.ErrAltered},
		{"a longer purpose", s, tenantA, purpose + "\x00", sealed, seal.ErrAltered},
		{"no purpose", s, tenantA, "", sealed, seal.ErrPurpose},
		{"another keyset", other, tenantA, purpose, sealed, seal.ErrKeyMissing},
		{"nothing", s, tenantA, purpose, nil, seal.ErrNotSealed},
		{"plain text", s, tenantA, purpose, []byte("a password that was never sealed at all"), seal.ErrNotSealed},
		{"another version", s, tenantA, purpose, append([]byte{0}, sealed[1:]...), seal.ErrNotSealed},
		{"one octet more", s, tenantA, purpose, append(bytes.Clone(sealed), 0), seal.ErrAltered},
		{"another key's id", s, tenantA, purpose, append([]byte{1, 9, 9, 9, 9}, sealed[5:]...), seal.ErrKeyMissing},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.sealer.Unseal(c.tenant, c.purpose, c.sealed)
			if !errors.Is(err, c.want) || got != nil {
				t.Errorf("got %q, %v; want %v", got, err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
	if _, err := s.Seal(tenantA, "", nil); !errors.Is(err, seal.ErrPurpose) {
		t.Errorf("sealed without a purpose: %v", err)
	}
}

func TestADamagedSecretDoesNotOpen(t *testing.T) {
	s, _ := newSealer(t)
	sealed := must[[]byte](t)(s.Seal(tenantA, purpose, []byte("hunter2")))
	for n := range sealed {
		if _, err := s.Unseal(tenantA, purpose, sealed[:n]); err == nil {
			t.Errorf("it opens when cut to %d of %d octets", n, len(sealed))
		}
		for bit := range 8 {
			flipped := bytes.Clone(sealed)
			flipped[n] ^= 1 << bit
			if _, err := s.Unseal(tenantA, purpose, flipped); err == nil {
				t.Errorf("it opens with bit %d of octet %d flipped", bit, n)
			}
		}
	}
}

func TestManySealAtOnce(t *testing.T) {
	s, keyset := newSealer(t)
	reader := must[*seal.Sealer](t)(seal.Open(keyset))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				secret := fmt.Appendf(nil, "secret %d of %d", j, i)
				sealed, err := s.Seal(tenantA, purpose, secret)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := reader.Unseal(tenantA, purpose, sealed); err != nil || !bytes.Equal(got, secret) {
					t.Errorf("got %q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestNothingSecretIsPrinted(t *testing.T) {
	s, keyset := newSealer(t)
	signing := must[[]byte](t)(seal.GenerateSigning())
	signer := must[*seal.Signer](t)(seal.OpenSigner(signing))
	for _, c := range []struct {
		name   string
		value  any
		keyset []byte
	}{{"sealer", s, keyset}, {"signer", signer, signing}} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			holder := struct {
				Exported any
				hidden   any
			}{c.value, c.value}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				fmt.Fprintf(&out, verb+"\n"+verb+"\n", c.value, holder)
			}
			slog.New(slog.NewJSONHandler(&out, nil)).Info("started", "key", c.value, "all", holder)
			slog.New(slog.NewTextHandler(&out, nil)).Info("started", "key", c.value, "all", holder)
			text := must[[]byte](t)(json.Marshal(map[string]any{"key": c.value}))
			out.Write(text)
			for _, secret := range secretsOf(t, c.keyset) {
				if strings.Contains(out.String(), secret) {
					t.Errorf("a key is printed in %s", out.String())
				}
			}
			key := must[[]seal.Key](t)(seal.Keys(c.keyset))[0].ID
			if !strings.Contains(string(text), key) {
				t.Errorf("the key's id %s is not in %s", key, text)
			}
		})
	}
	var none *seal.Sealer
	var nobody seal.Signer
	if got := fmt.Sprint(none, &nobody); !strings.Contains(got, "none") {
		t.Errorf("nil prints as %q", got)
	}
}

// secretsOf returns the key material of a keyset in the forms that a careless printer
// would give it.
func secretsOf(t testing.TB, keyset []byte) []string {
	t.Helper()
	var parsed struct {
		Key []struct{ KeyData struct{ Value string } }
	}
	if err := json.Unmarshal(keyset, &parsed); err != nil || len(parsed.Key) == 0 {
		t.Fatalf("cannot read %s: %v", keyset, err)
	}
	var secrets []string
	for _, k := range parsed.Key {
		raw := must[[]byte](t)(base64.StdEncoding.DecodeString(k.KeyData.Value))
		raw = raw[4:24] // in the midst of the key, behind the tags of its encoding
		secrets = append(secrets, k.KeyData.Value, fmt.Sprintf("%x", raw), strings.Trim(fmt.Sprintf("%d", raw), "[]"), string(raw))
	}
	return secrets
}

func FuzzUnseal(f *testing.F) {
	s, _ := newSealer(f)
	sealed := must[[]byte](f)(s.Seal(tenantA, purpose, []byte("hunter2")))
	f.Add([]byte(nil), purpose)
	f.Add(sealed[:5], purpose)
	f.Add(sealed, "webhook secret")
	f.Add(sealed[:len(sealed)-1], purpose)
	f.Fuzz(func(t *testing.T, data []byte, purpose string) {
		if got, err := s.Unseal(tenantB, purpose, data); err == nil || got != nil {
			t.Errorf("opened %x to %q", data, got)
		}
		// With the right key's id in front the rest is what decides.
		if got, err := s.Unseal(tenantB, purpose, append(bytes.Clone(sealed[:5]), data...)); err == nil || got != nil {
			t.Errorf("opened %x to %q", data, got)
		}
		seal.KeyID(data)
		s.Stale(data)
	})
}
