// Package sasl holds the client side of the SASL mechanisms (RFC 4422) that SMTP relays offer, and chooses
// one by what the server offers and what credentials there are: SCRAM-SHA-256 (RFC 7677), SCRAM-SHA-1
// (RFC 5802), CRAM-MD5 (RFC 2195), PLAIN (RFC 4616), LOGIN (no RFC, widely used), OAUTHBEARER (RFC 7628) and
// XOAUTH2 (Google's and Microsoft's older form of it).
//
// It knows octets only: base64, the AUTH command and the replies (RFC 4954) are package smtp's, its caller. It
// has no channel binding (the PLUS variants) and no server side.
//
// The caller drives a Mechanism like this: Start; Next for each 334 challenge; then Accepted after a 235, or
// Refused after any other final reply. An error of Start, Next or Accepted means that the exchange must not go
// on: cancel it with a lone "*" (RFC 4954 §4) or close the connection.
package sasl

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Names of the mechanisms, as on the wire.
const (
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA1   = "SCRAM-SHA-1"
	CramMD5     = "CRAM-MD5"
	Plain       = "PLAIN"
	Login       = "LOGIN"
	OAuthBearer = "OAUTHBEARER"
	XOAuth2     = "XOAUTH2"
)

// preference is the order of choice: the password's proof before the password itself, the standard before the
// vendor's form. It is a function because a package variable could be changed.
func preference() []string {
	return []string{ScramSHA256, ScramSHA1, CramMD5, Plain, Login, OAuthBearer, XOAuth2}
}

// Mechanism is one authentication exchange, client side. It is for one connection and one goroutine.
type Mechanism interface {
	// Name is the mechanism's name as on the wire, such as "SCRAM-SHA-256".
	Name() string
	// Start begins the exchange, or begins it anew after Refused. hasInitial says that the client speaks first:
	// initial then goes with the AUTH command or, where it does not fit in its line, in answer to an empty first
	// challenge (RFC 4954 §4). An initial response may be present and empty ("=" on the wire).
	Start(ctx context.Context) (initial []byte, hasInitial bool, err error)
	// Next answers a decoded challenge. The response may be empty.
	Next(ctx context.Context, challenge []byte) (response []byte, err error)
	// Accepted is called after the server's 235. It returns an error when the mechanism proves the server too
	// (SCRAM) and that proof is missing: the connection must then be closed.
	Accepted() error
	// Refused is called after any other final reply. It returns what the server said about the cause inside the
	// exchange (an *OAuthError), nil if nothing.
	Refused() error
}

// Refreshable says whether Start may be called once more on this mechanism after the server refused the
// credentials (535): true only for the OAuth mechanisms, once, when the token source can be asked again.
func Refreshable(m Mechanism) bool {
	o, ok := m.(*oauth)
	return ok && o.starts == 1
}

// ErrUnencrypted is returned by Choose when logging in would send a password, or a proof of it that can be
// guessed at leisure, over a connection without TLS.
var ErrUnencrypted = errors.New("sasl: will not authenticate over an unencrypted connection; use STARTTLS or implicit TLS")

// ErrServerNotVerified is returned when a SCRAM server reported success without proving that it knows the
// password (RFC 5802 §5), so that it may be an impostor.
var ErrServerNotVerified = errors.New("sasl: the server did not prove that it knows the password")

// NoMechanismError is returned by Choose when the server offers nothing that the credentials can use.
type NoMechanismError struct {
	Offered  []string // by the server, upper case
	Possible []string // with these credentials, by preference
}

// Error is one line with both lists.
func (e *NoMechanismError) Error() string {
	list := func(s []string) string {
		if len(s) == 0 {
			return "none"
		}
		return strings.Join(s, " ")
	}
	return fmt.Sprintf("sasl: no mechanism in common: the server offers %s, the credentials allow %s", list(e.Offered), list(e.Possible))
}

// Choose returns the best mechanism that the server offers and the credentials serve. offered are the words of
// the EHLO keyword AUTH in any case. encrypted says that the connection is protected by TLS, or that the caller
// accepts the danger; if false, ErrUnencrypted is returned for every mechanism, because the weakest of them sends
// the secret as it is and the others a proof that can be attacked offline. Other errors: those of
// Credentials.Validate, and *NoMechanismError.
func Choose(offered []string, encrypted bool, c *Credentials) (Mechanism, error) {
	if c == nil {
		return nil, errors.New("sasl: no credentials")
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	common := make(map[string]bool, len(offered))
	words := make([]string, 0, len(offered))
	for _, word := range offered {
		word = canonical(word)
		common[word] = true
		words = append(words, word)
	}
	possible := c.possible()
	var unusable error
	for _, name := range possible {
		if !common[name] {
			continue
		}
		if !encrypted {
			return nil, ErrUnencrypted
		}
		m, err := newMechanism(name, c)
		if err == nil {
			return m, nil
		}
		// SASLprep forbids some passwords that PLAIN can carry, so the next mechanism may do.
		if unusable == nil {
			unusable = err
		}
	}
	if unusable != nil {
		return nil, unusable
	}
	return nil, &NoMechanismError{Offered: words, Possible: possible}
}

// newMechanism makes the named mechanism, which the credentials serve.
func newMechanism(name string, c *Credentials) (Mechanism, error) {
	switch name {
	case ScramSHA256, ScramSHA1:
		return newScram(name, c)
	case CramMD5:
		return &cramMD5{username: c.Username, password: c.Password}, nil
	case Plain:
		return &plain{identity: c.Identity, username: c.Username, password: c.Password}, nil
	case Login:
		return &login{username: c.Username, password: c.Password}, nil
	default: // Validate has refused unknown names
		return &oauth{name: name, credentials: *c}, nil
	}
}

// canonical is a mechanism's name in upper case. "AUTH=PLAIN" is how servers of the nineties began the list.
func canonical(word string) string {
	return strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(word)), "AUTH=")
}
