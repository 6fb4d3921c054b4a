package auth

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// ParseKey reads one PEM block: a private key (PKCS #8, PKCS #1 or SEC 1), a public key (PKIX or PKCS #1) or a
// certificate, whose names and dates are not looked at. The algorithm follows the key: RSA is RS256, P-256 is
// ES256, Ed25519 is EdDSA. Encrypted keys and further blocks are refused. Errors never show the key.
func ParseKey(id string, text []byte) (Key, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return Key{}, fmt.Errorf("auth: key %q: not a PEM block", id)
	}
	if next, _ := pem.Decode(rest); next != nil {
		return Key{}, fmt.Errorf("auth: key %q: more than one PEM block: give each key on its own", id)
	}
	var (
		private any
		public  crypto.PublicKey
		err     error
	)
	switch block.Type {
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = certificate.PublicKey
		}
	default:
		return Key{}, fmt.Errorf("auth: key %q: a PEM block of type %q is not supported: convert it with openssl pkcs8 -topk8 -nocrypt", id, block.Type)
	}
	if err != nil {
		// The cause may quote the key's octets.
		return Key{}, fmt.Errorf("auth: key %q: the PEM block of type %q cannot be read", id, block.Type)
	}
	if private == nil {
		return NewPublicKey(id, public)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return Key{}, fmt.Errorf("auth: key %q: %T cannot sign", id, private)
	}
	return NewPrivateKey(id, signer)
}
