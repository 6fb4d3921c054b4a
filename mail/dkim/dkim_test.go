package dkim_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/mail/dkim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newRSA makes an RSA key; New decides what it is good for.
func newRSA(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newSigner(t testing.TB, cfg dkim.Config) *dkim.Signer {
	t.Helper()
	if cfg.Domain == "" {
		cfg.Domain = "example.com"
	}
	s, err := dkim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func render(t testing.TB, c *mail.Composed) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != c.Size() {
		t.Fatalf("Size is %d, written were %d", c.Size(), b.Len())
	}
	return b.Bytes()
}

// verify checks all signatures against the signers' own records.
func verify(t testing.TB, message []byte, signers ...*dkim.Signer) []*msgauth.Verification {
	t.Helper()
	records := map[string]string{}
	for _, s := range signers {
		name, text := s.DNSRecord()
		records[name] = text
	}
	vs, err := msgauth.VerifyWithOptions(bytes.NewReader(message), &msgauth.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) {
			if text, ok := records[name]; ok {
				return []string{text}, nil
			}
			return nil, fmt.Errorf("no record %s", name)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return vs
}

func newsletter() *mail.Message {
	return &mail.Message{
		From: mail.Addr("Zoë <zoe@example.com>"), To: mail.Addrs("bob@example.net"),
		Subject: "Grüße", Text: "Hello  \n\nWörld \n\n\n", HTML: "<p>Hello</p>",
		Attachments:         []mail.Attachment{mail.BytesAttachment("a.bin", bytes.Repeat([]byte{1, 2, 3}, 1000))},
		ListUnsubscribe:     []string{"https://example.com/u/1", "mailto:leave@example.com"},
		ListUnsubscribePost: true,
	}
}

func TestSignVerifies(t *testing.T) {
	big := newsletter()
	big.Attachments = append(big.Attachments, mail.BytesAttachment("big.bin", bytes.Repeat([]byte("x\r\n \n"), 100_000)))
	eight := newsletter()
	eight.Attachments = nil
	keys := map[string]crypto.Signer{"rsa": newRSA(t, 2048), "ed25519": newEd25519(t)}
	for name, m := range map[string]*mail.Message{"small": newsletter(), "streamed": big, "8bit": eight} {
		for algorithm, key := range keys {
			t.Run(name+" "+algorithm, func(t *testing.T) {
				c, err := m.Compose(&mail.ComposeOptions{EightBit: name == "8bit"})
				if err != nil {
					t.Fatal(err)
				}
				s := newSigner(t, dkim.Config{Selector: algorithm, Key: key})
				signed, err := s.Sign(c)
				if err != nil {
					t.Fatal(err)
				}
				message := render(t, signed)
				vs := verify(t, message, s)
				if len(vs) != 1 || vs[0].Err != nil {
					t.Fatalf("verification: %+v", vs[0])
				}
				if signed.MessageID() != c.MessageID() || !bytes.HasSuffix(message, render(t, c)) {
					t.Error("signing changed the message itself")
				}
				for _, want := range []string{"List-Unsubscribe", "List-Unsubscribe-Post", "From", "To", "Subject", "Date", "Message-ID", "Content-Type"} {
					if !containsFold(vs[0].HeaderKeys, want) {
						t.Errorf("%s is not signed: %v", want, vs[0].HeaderKeys)
					}
				}
				for _, line := range strings.Split(string(message), "\r\n") {
					if len(line) > 998 {
						t.Errorf("line of %d octets", len(line))
					}
				}
			})
		}
	}
}

func containsFold(list []string, want string) bool {
	for _, s := range list {
		if strings.EqualFold(s, want) {
			return true
		}
	}
	return false
}

func TestSignTwice(t *testing.T) {
	c, err := newsletter().Compose(nil)
	if err != nil {
		t.Fatal(err)
	}
	one := newSigner(t, dkim.Config{Selector: "r1", Key: newRSA(t, 2048)})
	two := newSigner(t, dkim.Config{Selector: "e1", Key: newEd25519(t), Expiry: time.Hour})
	for _, s := range []*dkim.Signer{one, two} {
		if c, err = s.Sign(c); err != nil {
			t.Fatal(err)
		}
	}
	vs := verify(t, render(t, c), one, two)
	if len(vs) != 2 {
		t.Fatalf("%d signatures", len(vs))
	}
	for _, v := range vs {
		if v.Err != nil {
			t.Error(v.Err)
		}
	}
	if vs[0].Expiration.IsZero() {
		t.Error("the second signature does not expire")
	}
}

// What is added to a signed message must break the signature, or not, by what
// is oversigned.
func TestOversigning(t *testing.T) {
	m := newsletter()
	m.ListUnsubscribe, m.ListUnsubscribePost = nil, false
	c, err := m.Compose(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newSigner(t, dkim.Config{Selector: "s", Key: newEd25519(t)})
	signed, err := s.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	message := render(t, signed)
	for field, holds := range map[string]bool{
		"From: evil@example.org": false, "To: x@example.org": false, "Cc: x@example.org": false,
		"Subject: other": false, "Date: Mon, 02 Jan 2006 15:04:05 +0000": false, "Reply-To: x@example.org": false,
		"Content-Type: text/html": false, "Message-ID: <a@b.example>": false, "Sender: x@example.org": false,
		"Received: from a by b": true, "X-Spam: no": true, "List-Unsubscribe: <mailto:x@example.org>": true,
	} {
		vs := verify(t, slicesConcat([]byte(field+"\r\n"), message), s)
		if len(vs) != 1 || (vs[0].Err == nil) != holds {
			t.Errorf("with %q on top: %v", field, vs[0].Err)
		}
	}
	if vs := verify(t, append(bytes.Clone(message), "more\r\n"...), s); vs[0].Err == nil {
		t.Error("a longer body still verifies")
	}
}

func slicesConcat(a, b []byte) []byte { return append(bytes.Clone(a), b...) }

func TestHeaderKeysOfCaller(t *testing.T) {
	c, err := newsletter().Compose(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newSigner(t, dkim.Config{Selector: "s", Key: newEd25519(t), HeaderKeys: []string{"From", "Subject"}})
	signed, err := s.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	vs := verify(t, render(t, signed), s)
	if vs[0].Err != nil || len(vs[0].HeaderKeys) != 2 {
		t.Errorf("got %+v", vs[0])
	}
}

func TestSignRaw(t *testing.T) {
	raw := "From: a@example.com\nTo: b@example.com\nSubject: x\n\nhello\n"
	c, err := mail.ComposeRaw(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(raw)), nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newSigner(t, dkim.Config{Selector: "s", Key: newEd25519(t)})
	signed, err := s.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	if vs := verify(t, render(t, signed), s); vs[0].Err != nil {
		t.Error(vs[0].Err)
	}
}

func TestSignedCannotBeDowngraded(t *testing.T) {
	m := newsletter()
	c, err := m.Compose(&mail.ComposeOptions{EightBit: true})
	if err != nil {
		t.Fatal(err)
	}
	if !c.Envelope().EightBit {
		t.Fatal("message is not 8-bit")
	}
	signed, err := newSigner(t, dkim.Config{Selector: "s", Key: newEd25519(t)}).Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signed.Downgrade(); err == nil || !strings.Contains(err.Error(), "signed") {
		t.Errorf("Downgrade gave %v", err)
	}
}

func TestSignContentError(t *testing.T) {
	broken := errors.New("disk on fire")
	opened := 0
	m := newsletter()
	m.Attachments = []mail.Attachment{{Filename: "x", Size: 100_000, Open: func() (io.ReadCloser, error) { opened++; return nil, broken }}}
	c, err := m.Compose(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = newSigner(t, dkim.Config{Selector: "s", Key: newEd25519(t)}).Sign(c)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "attachments[0].content") {
		t.Errorf("got %v", err)
	}
	if opened != 1 {
		t.Errorf("opened %d times", opened)
	}
}

func TestNewFaults(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak := &rsa.PrivateKey{PublicKey: newRSA(t, 1024).PublicKey}
	weak.N.Rsh(weak.N, 512)
	for _, tc := range []struct {
		cfg  dkim.Config
		want []string
	}{
		{dkim.Config{}, []string{"domain", "selector", "key is missing"}},
		{dkim.Config{Domain: "localhost", Selector: "a b", Key: ec}, []string{"one label", "' '", "ecdsa"}},
		{dkim.Config{Domain: "bücher.example", Selector: "s", Key: weak}, []string{"A-labels", "512 bits"}},
		{dkim.Config{Domain: "a..example", Selector: strings.Repeat("s", 64), Key: newEd25519(t), Expiry: -1}, []string{"0 octets", "64 octets", "expiry"}},
		{dkim.Config{Domain: "a.example", Selector: "s", Key: newEd25519(t), HeaderKeys: []string{"Subject\r\nX", ""}}, []string{"From is missing", "empty", "not a field name"}},
		{dkim.Config{Domain: "a.example", Selector: "s", Key: newEd25519(t), HeaderKeys: []string{"From", strings.Repeat("x", 950)}}, []string{"fit a line"}},
		{dkim.Config{Domain: "a.example\r\nX: y", Selector: "s;x", Key: newEd25519(t)}, []string{"domain", "selector"}},
	} {
		_, err := dkim.New(tc.cfg)
		if err == nil {
			t.Errorf("%+v: no error", tc.cfg)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is not in %q", want, err)
			}
		}
	}
	if _, err := dkim.New(dkim.Config{Domain: "a.example", Selector: "s", Key: newRSA(t, 1024)}); err != nil {
		t.Errorf("RSA 1024: %v", err)
	}
}

func TestParseKey(t *testing.T) {
	rsaKey, edKey := newRSA(t, 2048), newEd25519(t)
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})
	for _, good := range [][]byte{pkcs8(rsaKey), pkcs8(edKey), pkcs1, append([]byte("a comment\n"), pkcs1...)} {
		if _, err := dkim.ParseKey(good); err != nil {
			t.Error(err)
		}
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{
		nil, []byte("hello"), pkcs8(ec), pkcs1[:200],
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")}),
		pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("secret")}),
		pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("secret")}),
		pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"DEK-Info": "x"}, Bytes: []byte("secret")}),
	} {
		if _, err := dkim.ParseKey(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.30q: %v", bad, err)
		}
	}
}

func ExampleSigner_Sign() {
	_, key, err := ed25519.GenerateKey(rand.Reader) // in a program: dkim.ParseKey
	if err != nil {
		fmt.Println(err)
		return
	}
	signer, err := dkim.New(dkim.Config{Domain: "example.com", Selector: "mail2026", Key: key})
	if err != nil {
		fmt.Println(err)
		return
	}
	m := mail.Message{From: mail.Addr("zoe@example.com"), To: mail.Addrs("bob@example.net"), Text: "Hello"}
	composed, err := m.Compose(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	signed, err := signer.Sign(composed)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(signed.Size() > composed.Size())
	name, _ := signer.DNSRecord()
	fmt.Println("public key at", name)
	// Output:
	// true
	// public key at mail2026._domainkey.example.com
}

func BenchmarkSign25MiB(b *testing.B) {
	m := newsletter()
	m.Attachments = []mail.Attachment{mail.BytesAttachment("a.bin", make([]byte, 25<<20))}
	c, err := m.Compose(nil)
	if err != nil {
		b.Fatal(err)
	}
	s := newSigner(b, dkim.Config{Selector: "s", Key: newEd25519(b)})
	b.SetBytes(c.Size())
	for b.Loop() {
		if _, err := s.Sign(c); err != nil {
			b.Fatal(err)
		}
	}
}
