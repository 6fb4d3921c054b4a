package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/auth"
)

func TestHMACKey(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"", "change-me", strings.Repeat("x", 31)} {
		_, err := auth.NewHMACKey("k", []byte(secret))
		if err == nil || !strings.Contains(err.Error(), "at least 32") || secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("%d octets: %v", len(secret), err)
		}
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(rsaKey().Public()))})
	if _, err := auth.NewHMACKey("k", public); err == nil {
		t.Error("a public key is taken for a secret")
	}
	secret := []byte(strings.Repeat("x", 32))
	key := must(auth.NewHMACKey("k", secret))
	token := issue(t, issuerOf(t, auth.IssuerConfig{Key: key}), grantA())
	clear(secret) // the key has its own copy
	if _, err := verifierOf(t, auth.VerifierConfig{Keys: []auth.Key{key}}).Verify(t.Context(), token); err != nil {
		t.Error(err)
	}
	if _, ok := key.Public(); ok {
		t.Error("a secret has a public part")
	}
	if _, err := auth.NewHMACKey(strings.Repeat("k", 257), []byte(secretA)); err == nil {
		t.Error("a kid of 257 octets")
	}
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ec := p256()
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate := must(x509.CreateCertificate(rand.Reader, template, template, ec.Public(), ec))
	for name, c := range map[string]struct {
		text string
		alg  auth.Algorithm
		sign bool
	}{
		"RSA PKCS8":   {block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(rsaKey()))), auth.RS256, true},
		"RSA PKCS1":   {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey())), auth.RS256, true},
		"RSA PKIX":    {block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(rsaKey().Public()))), auth.RS256, false},
		"RSA PKCS1 p": {block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)), auth.RS256, false},
		"EC SEC1":     {block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ec))), auth.ES256, true},
		"EC PKCS8":    {block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ec))), auth.ES256, true},
		"EC cert":     {block("CERTIFICATE", certificate), auth.ES256, false},
		"Ed PKCS8":    {block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ed))), auth.EdDSA, true},
		"Ed PKIX":     {"text before\n" + block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(ed.Public()))) + "text behind", auth.EdDSA, false},
		"P-384":       {text: block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(p384)))},
		"nothing":     {text: "secret"},
		"two":         {text: block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(ed.Public()))) + block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(ed.Public())))},
		"encrypted":   {text: block("ENCRYPTED PRIVATE KEY", []byte("x"))},
		"broken":      {text: block("PRIVATE KEY", []byte("broken secret"))},
		"broken cert": {text: block("CERTIFICATE", []byte("x"))},
	} {
		key, err := auth.ParseKey("k", []byte(c.text))
		if (err == nil) != (c.alg != "") || key.Algorithm() != c.alg || key.CanSign() != c.sign {
			t.Errorf("%s: %v, %v", name, key, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
}

func TestKeyMaterial(t *testing.T) {
	t.Parallel()
	var (
		noRSA *rsa.PrivateKey
		noEC  *ecdsa.PrivateKey
	)
	for name, private := range map[string]crypto.Signer{"nil": nil, "nil RSA": noRSA, "nil EC": noEC, "short Ed25519": ed25519.PrivateKey("x")} {
		if _, err := auth.NewPrivateKey("k", private); err == nil {
			t.Errorf("private %s is taken", name)
		}
	}
	var noPublic *rsa.PublicKey
	n := rsaKey().N
	for name, public := range map[string]crypto.PublicKey{
		"nil": nil, "nil RSA": noPublic, "no modulus": &rsa.PublicKey{E: 3}, "small": &rsa.PublicKey{N: new(big.Int).Rsh(n, 1025), E: 65537},
		"exponent 1": &rsa.PublicKey{N: n, E: 1}, "even exponent": &rsa.PublicKey{N: n, E: 4}, "secret": []byte(secretA), "short Ed25519": ed25519.PublicKey("x"), "empty EC": &ecdsa.PublicKey{},
	} {
		if _, err := auth.NewPublicKey("k", public); err == nil {
			t.Errorf("public %s is taken", name)
		}
	}
}

func TestParseWords(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"user", "admin"} {
		if r, err := auth.ParseRole(s); err != nil || string(r) != s {
			t.Errorf("%q: %q, %v", s, r, err)
		}
	}
	for _, s := range []string{"full", "sending"} {
		if sc, err := auth.ParseScope(s); err != nil || string(sc) != s {
			t.Errorf("%q: %q, %v", s, sc, err)
		}
	}
	for _, s := range []string{"", "Admin", "admin ", "FULL", "operator"} {
		if _, err := auth.ParseRole(s); err == nil {
			t.Errorf("role %q", s)
		}
		if _, err := auth.ParseScope(s); err == nil {
			t.Errorf("scope %q", s)
		}
	}
	if got, err := auth.ParseID(strings.ToUpper(tenantA)); err != nil || got != id(tenantA) {
		t.Errorf("upper case: %v, %v", got, err)
	}
}
