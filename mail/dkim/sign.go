package dkim

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/postrider/postrider/mail"
)

// Config is what a Signer needs. It is copied by New.
type Config struct {
	// Domain is the signing domain, tag d=, in A-labels (RFC 8616 §4). For
	// DMARC it must be the domain of From or above it. Required.
	Domain string
	// Selector names the key within the domain, tag s=: its public half is
	// the TXT record at Selector._domainkey.Domain. Required.
	Selector string
	// Key is an *rsa.PrivateKey, an ed25519.PrivateKey, or another
	// crypto.Signer with such a public key, for instance in a hardware
	// module. RSA keys have 1024 to 4096 bits: RFC 8301 §3.2 forbids shorter
	// ones, asks for 2048, and lets verifiers refuse longer ones. Required.
	Key crypto.Signer
	// HeaderKeys are the names of the header fields to sign, each as often
	// as it is listed, counted from the bottom of the header; a name listed
	// more often than it appears forbids another one. From must be among
	// them. nil: by the message, see [Signer.Sign].
	HeaderKeys []string
	// Expiry is how long the signature holds, tag x=, in whole seconds.
	// Zero: for ever.
	Expiry time.Duration
	// Now gives the time from which Expiry counts. nil: time.Now.
	Now func() time.Time
}

// Signer signs messages. It is safe for concurrent use if its key is, as those
// of the standard library are.
type Signer struct{ cfg Config }

// New checks cfg. The error joins all its faults and shows nothing of the key.
func New(cfg Config) (*Signer, error) {
	var errs []error
	if err := checkName(cfg.Domain, 2); err != nil {
		errs = append(errs, fmt.Errorf("dkim: domain: %w", err))
	}
	if err := checkName(cfg.Selector, 1); err != nil {
		errs = append(errs, fmt.Errorf("dkim: selector: %w", err))
	}
	if err := checkKey(cfg.Key); err != nil {
		errs = append(errs, err)
	}
	if cfg.HeaderKeys != nil {
		cfg.HeaderKeys = slices.Clone(cfg.HeaderKeys)
		if err := checkHeaderKeys(cfg.HeaderKeys); err != nil {
			errs = append(errs, err)
		}
	}
	if cfg.Expiry < 0 || cfg.Expiry > 0 && cfg.Expiry < time.Second {
		errs = append(errs, fmt.Errorf("dkim: expiry is %v; give at least 1s, or 0 for none", cfg.Expiry))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Signer{cfg: cfg}, nil
}

// Sign gives the message with a DKIM-Signature field on top; c stays as it
// is. It reads the message twice, the header and the whole, and holds nothing
// of the body.
//
// Unless Config.HeaderKeys says otherwise, it signs every field of RFC 6376
// §5.4.1 that the message has, and those that must be unique once more.
//
// The octets of a signed message are fixed: it cannot be downgraded, so
// compose it 7-bit clean (the default) if its relay may not have 8BITMIME.
// Errors are those of the content's openers or of the key.
func (s *Signer) Sign(c *mail.Composed) (*mail.Composed, error) {
	keys := s.cfg.HeaderKeys
	if keys == nil {
		names, err := fieldNames(c)
		if err != nil {
			return nil, fmt.Errorf("dkim: %w", err)
		}
		keys = headerKeys(names)
	}
	options := dkim.SignOptions{
		Domain: s.cfg.Domain, Selector: s.cfg.Selector, Signer: s.cfg.Key,
		Hash:                   crypto.SHA256,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed,
		BodyCanonicalization:   dkim.CanonicalizationRelaxed,
		HeaderKeys:             keys,
	}
	if s.cfg.Expiry > 0 {
		options.Expiration = s.cfg.Now().Add(s.cfg.Expiry)
	}
	signer, err := dkim.NewSigner(&options)
	if err != nil {
		return nil, err
	}
	_, err = c.WriteTo(signer)
	// Close in any case: it ends the signer's goroutine and waits for it.
	if cerr := signer.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("dkim: %w", cerr)
	}
	if err != nil {
		return nil, err
	}
	return c.Prepend([]byte(signer.Signature())), nil
}

// errHeaderRead ends a pass that needs the header only.
var errHeaderRead = errors.New("header read")

// nameReader collects the names of the header fields written to it.
type nameReader struct {
	names []string
	rest  []byte // a line without its end
}

// Write takes the next octets of the message.
func (r *nameReader) Write(p []byte) (int, error) {
	r.rest = append(r.rest, p...)
	for {
		line, rest, ok := bytes.Cut(r.rest, []byte("\r\n"))
		if !ok {
			return len(p), nil
		}
		if len(line) == 0 {
			return len(p), errHeaderRead
		}
		if name, _, ok := bytes.Cut(line, []byte(":")); ok && line[0] != ' ' && line[0] != '\t' {
			r.names = append(r.names, strings.ToLower(string(name)))
		}
		r.rest = rest
	}
}

// fieldNames gives the names of the message's header fields in lower case.
func fieldNames(c *mail.Composed) ([]string, error) {
	var r nameReader
	if _, err := c.WriteTo(&r); err != nil && !errors.Is(err, errHeaderRead) {
		return nil, err
	}
	return r.names, nil
}

var _ io.Writer = (*nameReader)(nil)
