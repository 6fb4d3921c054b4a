package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
)

// The sizes of RSA keys in bits, RFC 8301 §3.2.
const (
	minRSA = 1024
	maxRSA = 4096
)

// checkKey checks that a key can sign.
func checkKey(key crypto.Signer) error {
	if key == nil {
		return errors.New("dkim: key is missing")
	}
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < minRSA || bits > maxRSA {
			return fmt.Errorf("dkim: RSA key has %d bits; RFC 8301 allows %d to %d, make one of 2048", bits, minRSA, maxRSA)
		}
	case ed25519.PublicKey:
		if len(public) != ed25519.PublicKeySize {
			return errors.New("dkim: Ed25519 key is not whole")
		}
	default:
		return fmt.Errorf("dkim: key with a public key of type %T cannot sign; use RSA or Ed25519", public)
	}
	return nil
}

// ParseKey reads a private key in PEM form: PKCS #8 ("PRIVATE KEY", RSA or
// Ed25519) or PKCS #1 ("RSA PRIVATE KEY"), not encrypted. Octets before the
// first private key, such as comments, are left out of account. The error
// shows nothing of the key.
func ParseKey(text []byte) (crypto.Signer, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("dkim: no private key found; give PEM text with a block PRIVATE KEY or RSA PRIVATE KEY")
		}
		text = rest
		switch block.Type {
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, errors.New("dkim: block PRIVATE KEY cannot be read as PKCS #8")
			}
			signer, ok := key.(crypto.Signer)
			if !ok {
				return nil, fmt.Errorf("dkim: key of type %T cannot sign; use RSA or Ed25519", key)
			}
			return checked(signer)
		case "RSA PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, errors.New("dkim: key is encrypted; decrypt it first")
			}
			key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
			if err != nil {
				return nil, errors.New("dkim: block RSA PRIVATE KEY cannot be read as PKCS #1")
			}
			return checked(key)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("dkim: key is encrypted; decrypt it first")
		}
	}
}

// checked gives a key that can sign.
func checked(key crypto.Signer) (crypto.Signer, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	return key, nil
}

// DNSRecord gives the name and the text of the TXT record that publishes the
// signer's public key (RFC 6376 §3.6.1, RFC 8463 §4). A text over 255 octets,
// as of RSA keys, must be entered as several strings of one record.
func (s *Signer) DNSRecord() (name, text string) {
	name = s.cfg.Selector + "._domainkey." + s.cfg.Domain
	switch public := s.cfg.Key.Public().(type) {
	case ed25519.PublicKey:
		text = "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)
	case *rsa.PublicKey:
		// Cannot fail for an RSA key.
		der, _ := x509.MarshalPKIXPublicKey(public)
		text = "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	}
	return name, text
}
