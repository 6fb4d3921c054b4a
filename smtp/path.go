package smtp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// maxPath bounds an address; RFC 5321 §4.5.3.1.3 says 256, and servers that
// take more should be left to say so.
const maxPath = 1000

// splitPath parts a mailbox at the @ between local part and domain and checks
// that it cannot end the path or begin a parameter (RFC 5321 §4.1.2).
func splitPath(a string) (local, domain string, err error) {
	if len(a) > maxPath {
		return "", "", fmt.Errorf("address is longer than %d octets", maxPath)
	}
	if !utf8.ValidString(a) {
		return "", "", errors.New("address is not UTF-8")
	}
	for _, c := range []byte(a) {
		if c < ' ' || c == 0x7f {
			return "", "", errors.New("address has a control character")
		}
	}
	at := strings.LastIndexByte(a, '@')
	if strings.HasPrefix(a, `"`) {
		end := quotedEnd(a)
		if end < 0 || end < len(a) && a[end] != '@' {
			return "", "", errors.New("address has a broken quoted local part")
		}
		at = end
	} else if at < 0 {
		at = len(a) // RFC 5321 §4.5.1: "postmaster" alone is an address
	}
	local = a[:at]
	if at < len(a) {
		domain = a[at+1:]
		if domain == "" {
			return "", "", errors.New("address has no domain after the @")
		}
	}
	if local == "" {
		return "", "", errors.New("address has no local part")
	}
	unquoted := local
	if local[0] == '"' {
		unquoted = ""
	}
	if strings.ContainsAny(unquoted, ` <>"\`) || strings.ContainsAny(domain, ` <>"\@`) {
		return "", "", errors.New("address has a character that needs quoting")
	}
	return local, domain, nil
}

// quotedEnd gives the index after the closing quote, -1 if there is none.
func quotedEnd(a string) int {
	for i := 1; i < len(a); i++ {
		switch a[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// path gives the address as it goes into <>: the domain as A-labels. needsUTF8 says
// that it needs SMTPUTF8.
func path(a string) (p string, needsUTF8 bool, err error) {
	local, domain, err := splitPath(a)
	if err != nil {
		return "", false, err
	}
	needsUTF8 = !ascii(local)
	if ascii(domain) {
		return a, needsUTF8, nil
	}
	d, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		return "", false, fmt.Errorf("address has an invalid domain: %w", err)
	}
	return local + "@" + d, needsUTF8, nil
}

// ascii looks at eight octets at a time: it sees all of the content.
func ascii[S string | []byte](s S) bool {
	b := []byte(s) // no copy: for a string the compiler sees that it does not escape
	const high = 0x8080808080808080
	for len(b) >= 32 {
		v := binary.NativeEndian.Uint64(b) | binary.NativeEndian.Uint64(b[8:]) |
			binary.NativeEndian.Uint64(b[16:]) | binary.NativeEndian.Uint64(b[24:])
		if v&high != 0 {
			return false
		}
		b = b[32:]
	}
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// notifyParam gives the value of NOTIFY (RFC 3461 §4.1).
func notifyParam(n []DSNNotify) (string, error) {
	words := make([]string, 0, len(n))
	for _, w := range n {
		switch w {
		case NotifyNever, NotifySuccess, NotifyFailure, NotifyDelay:
		default:
			return "", fmt.Errorf("unknown notification %q: use NEVER, or some of SUCCESS, FAILURE, DELAY", string(w))
		}
		if w == NotifyNever && len(n) > 1 {
			return "", errors.New("notification NEVER stands alone")
		}
		if !slices.Contains(words, string(w)) {
			words = append(words, string(w))
		}
	}
	return strings.Join(words, ","), nil
}

// originalRecipient gives the value of ORCPT (RFC 3461 §4.2; RFC 6533 §3 for
// UTF-8).
func originalRecipient(s string) (string, error) {
	kind, addr, ok := strings.Cut(s, ";")
	if !ok {
		kind, addr = "rfc822", s
		if !ascii(s) {
			kind = "utf-8"
		}
	}
	if kind == "" || !isDomain(kind) || !utf8.ValidString(addr) {
		return "", errors.New("original recipient is not type;address")
	}
	if strings.ContainsFunc(addr, unicode.IsControl) {
		return "", errors.New("original recipient has a control character")
	}
	if strings.EqualFold(kind, "utf-8") {
		return kind + ";" + utf8Xtext(addr), nil
	}
	if !ascii(addr) {
		return "", errors.New("original recipient in UTF-8 needs the type utf-8")
	}
	return kind + ";" + xtext(addr), nil
}

// xtext encodes a parameter's value (RFC 3461 §4).
func xtext(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' || r == '+' || r == '=' }) {
		return s // as nearly all are
	}
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < '!' || c > '~' || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// utf8Xtext encodes an internationalised address in ASCII (RFC 6533 §3,
// utf-8-addr-xtext), which fits into any ORCPT.
func utf8Xtext(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < '!' || r > '~' || r == '+' || r == '=' || r == '\\' {
			b.WriteString(`\x{`)
			b.WriteString(strings.ToUpper(strconv.FormatInt(int64(r), 16)))
			b.WriteByte('}')
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
