package sasl

import (
	"testing"

	"github.com/xdg-go/scram"
)

// TestScramVectors plays the examples of RFC 5802 §5 and RFC 7677 §3. It is inside the package because the
// nonce of an example must be set, which nobody else may do.
func TestScramVectors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, nonce string
		hash        scram.HashGeneratorFcn
		c           [2]string
		s           [2]string
	}{
		{
			ScramSHA1, "fyko+d2lbbFgONRv9qkxdawL", scram.SHA1,
			[2]string{"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL", "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="},
			[2]string{"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
		},
		{
			ScramSHA256, "rOprNGfwEbeRWgbNEkqO", scram.SHA256,
			[2]string{"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="},
			[2]string{"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
		},
	}
	for _, test := range tests {
		m, err := newScram(test.name, &Credentials{Username: "user", Password: "pencil"})
		if err != nil {
			t.Fatal(err)
		}
		m.client.WithNonceGenerator(func() string { return test.nonce })
		first, _, err := m.Start(t.Context())
		if err != nil || string(first) != test.c[0] {
			t.Fatalf("%s: first %q, %v", test.name, first, err)
		}
		final, err := m.Next(t.Context(), []byte(test.s[0]))
		if err != nil || string(final) != test.c[1] {
			t.Fatalf("%s: final %q, %v", test.name, final, err)
		}
		if last, err := m.Next(t.Context(), []byte(test.s[1])); err != nil || len(last) != 0 {
			t.Fatalf("%s: last %q, %v", test.name, last, err)
		}
		if err := m.Accepted(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
