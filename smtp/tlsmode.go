package smtp

import (
	"fmt"
	"strings"
)

// TLSMode says how a connection is protected. The zero value means
// [TLSStartTLS].
type TLSMode string

const (
	// TLSNone sends everything in the clear. Default port 25.
	TLSNone TLSMode = "none"
	// TLSStartTLS requires STARTTLS (RFC 3207) after the greeting; it never
	// falls back to an unprotected session. Default port 587.
	TLSStartTLS TLSMode = "tls"
	// TLSImplicit begins with a TLS handshake (RFC 8314 §3). Default port 465.
	TLSImplicit TLSMode = "ssl"
)

// ParseTLSMode reads "none", "tls" or "ssl", in any case, and the common
// aliases "starttls" and "implicit". The empty string is [TLSStartTLS]. The
// error for another word quotes it and names these.
func ParseTLSMode(s string) (TLSMode, error) {
	switch strings.ToLower(s) {
	case "none":
		return TLSNone, nil
	case "", "tls", "starttls":
		return TLSStartTLS, nil
	case "ssl", "implicit":
		return TLSImplicit, nil
	}
	return "", fmt.Errorf("smtp: unknown TLS mode %q: use none, tls (STARTTLS) or ssl (implicit TLS)", s)
}

// DefaultPort is the port that goes with the mode: 25, 587 or 465.
func (m TLSMode) DefaultPort() int {
	switch m {
	case TLSNone:
		return 25
	case TLSImplicit:
		return 465
	default:
		return 587
	}
}

// MarshalText gives the mode's word; the zero value gives "tls". The error is
// that of [ParseTLSMode] for a mode that is none.
func (m TLSMode) MarshalText() ([]byte, error) {
	p, err := ParseTLSMode(string(m))
	return []byte(p), err
}

// UnmarshalText is [ParseTLSMode]. On an error the mode is left as it was.
func (m *TLSMode) UnmarshalText(text []byte) error {
	p, err := ParseTLSMode(string(text))
	if err != nil {
		return err
	}
	*m = p
	return nil
}
