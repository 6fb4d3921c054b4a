package mail

import (
	"strings"
	"unicode/utf8"
)

// Address is a mailbox: an optional display name and local-part@domain, RFC
// 5322 §3.4 and RFC 5321 §4.1.2. Addresses compare with ==. The zero Address
// is none at all.
//
// The fields hold what is meant, not how it is written: no quotes, no escapes
// and no encoded words in Name or LocalPart, and Domain in Unicode or as
// A-labels, as the caller has it.
type Address struct {
	// Name is the display name; empty: none.
	Name string
	// LocalPart is the part before the @ without quotes, as `john.doe` or
	// `john doe`. Non-ASCII needs SMTPUTF8 at every hop (RFC 6531).
	LocalPart string
	// Domain is a domain name with at least two labels, as "example.com",
	// "bücher.example" or "xn--bcher-kva.example". No address literals.
	Domain string

	bad *badAddress // text that Addr could not parse; nil otherwise
}

// badAddress is a text that is no address, and why.
type badAddress struct {
	text  string
	fault Fault
}

// Addr is ParseAddress for places where an error is in the way, such as a
// composite literal. It never fails: a fault in s is kept in the Address and
// reported by Err, Validate and Compose, by the last two with its field. The
// limits on lengths are left to them too, so that a caller's own [Limits]
// count.
func Addr(s string) Address {
	a, f := parseMailbox(s)
	if f != nil {
		return Address{bad: &badAddress{text: s, fault: *f}}
	}
	return a
}

// Addrs gives Addr for each text.
func Addrs(s ...string) []Address {
	if len(s) == 0 {
		return nil
	}
	as := make([]Address, len(s))
	for i := range s {
		as[i] = Addr(s[i])
	}
	return as
}

// Err gives what is wrong with the address: the fault that Addr kept, or the
// first one that validation with the default limits finds; nil if nothing. It
// is a [Fault] without a field. A zero Address is at fault: CodeRequired.
func (a Address) Err() error {
	l := DefaultLimits()
	if f := checkAddress(&a, given{addr: &a}, &l); f != nil {
		return *f
	}
	return nil
}

// IsZero tells whether there is no address at all.
func (a Address) IsZero() bool { return a == Address{} }

// NeedsSMTPUTF8 tells whether the local part is not ASCII, so that the
// address can only be used where SMTPUTF8 is offered (RFC 6531 §3.1). A
// non-ASCII domain alone does not need it: A-labels stand in for it.
func (a Address) NeedsSMTPUTF8() bool { return !isASCII(a.LocalPart) }

// Mailbox gives local-part@domain as SMTP wants it (RFC 5321 §4.1.2): the
// local part quoted only if it must be, the domain as A-labels, no angle
// brackets. It is empty for the zero Address and for one that Addr could not
// parse; for an Address at fault otherwise it is not fit for use.
func (a Address) Mailbox() string {
	if a.LocalPart == "" && a.Domain == "" {
		return ""
	}
	domain := a.Domain
	if needsIDNA(domain) {
		if wire, err := idnaProfile.ToASCII(domain); err == nil {
			domain = wire
		}
	}
	var room [96]byte // on the stack, for all but a few
	return string(appendAddrSpec(room[:0], a.LocalPart, domain))
}

// String gives the address for people: `"Doe, John" <john@example.com>` or
// plain `john@example.com`, with UTF-8 as it is and the domain as the caller
// gave it. ParseAddress reads a valid address back as the same. It gives the
// original text for an Address that Addr could not parse.
func (a Address) String() string {
	switch {
	case a.bad != nil:
		return a.bad.text
	case a.LocalPart == "" && a.Domain == "" && a.Name == "":
		return ""
	}
	b := make([]byte, 0, len(a.Name)+len(a.LocalPart)+len(a.Domain)+8)
	if a.Name == "" {
		return string(appendAddrSpec(b, a.LocalPart, a.Domain))
	}
	if isPhrase(a.Name) {
		b = append(b, a.Name...)
	} else {
		b = appendQuoted(b, a.Name)
	}
	b = append(b, " <"...)
	b = appendAddrSpec(b, a.LocalPart, a.Domain)
	return string(append(b, '>'))
}

// appendAddrSpec appends local-part@domain.
func appendAddrSpec(b []byte, local, domain string) []byte {
	if isDotString(local) {
		b = append(b, local...)
	} else {
		b = appendQuoted(b, local)
	}
	b = append(b, '@')
	return append(b, domain...)
}

// appendQuoted appends s as a quoted-string, RFC 5322 §3.2.4: only " and \
// are escaped.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// localPartOctets is the length of the local part on the wire.
func localPartOctets(local string) int {
	if isDotString(local) {
		return len(local)
	}
	return len(local) + 2 + strings.Count(local, `"`) + strings.Count(local, `\`)
}

// isDotString tells whether a local part can stand without quotes: atoms
// joined by single dots, RFC 5321 §4.1.2 with the atext of RFC 6531 §3.3.
func isDotString(s string) bool {
	if s == "" {
		return false
	}
	dot := true // no dot may come first
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if dot {
				return false
			}
			dot = true
		case c >= utf8.RuneSelf || isAtext(c):
			dot = false
		default:
			return false
		}
	}
	return !dot
}

// isPhrase tells whether a display name can stand without quotes: atoms
// joined by single spaces. What looks like an encoded word is quoted, so that
// nobody decodes it (RFC 2047 §5).
func isPhrase(s string) bool {
	space := true
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ':
			if space {
				return false
			}
			space = true
		case c >= utf8.RuneSelf || isAtext(c):
			space = false
		default:
			return false
		}
	}
	return !space && !strings.Contains(s, "=?")
}

// isAtext is the ASCII part of atext, RFC 5322 §3.2.3.
func isAtext(c byte) bool {
	return octetClass[c]&classAtext != 0
}

// Bits of octetClass.
const (
	classAtext = 1 << iota // RFC 5322 §3.2.3
	classLDH               // letters, digits, hyphen: RFC 5890 §2.3.1
)

// octetClass holds the classes of each octet. It is never written.
var octetClass = func() (class [256]uint8) {
	for c := byte('!'); c <= '~'; c++ {
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if alnum || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0 {
			class[c] |= classAtext
		}
		if alnum || c == '-' {
			class[c] |= classLDH
		}
	}
	return class
}()

// isASCII tells whether s has no octet above 127.
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
