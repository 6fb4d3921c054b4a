package mail

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// idnaProfile turns domains into A-labels the way programs that look names up
// do (RFC 5891 §5), without the transitional mapping that would change ß. It
// is never written. Lengths are checked here, with clearer words.
var idnaProfile = idna.New(
	idna.MapForLookup(),
	idna.BidiRule(),
	idna.Transitional(false),
	idna.StrictDomainName(true),
)

const (
	maxDomainOctets = 255 // RFC 5321 §4.5.3.1.2
	maxLabelOctets  = 63  // RFC 1035 §2.3.4
	// maxUnicodeDomain bounds what is given to the A-label algorithm, whose
	// time grows with the square of a label's length.
	maxUnicodeDomain = 4 * maxDomainOctets
)

// given is the address as a fault shows it: the text that was parsed, or the
// fields of an Address, put together only if there is a fault.
type given struct {
	text string
	addr *Address
}

// String quotes and cuts the address.
func (g given) String() string {
	if g.addr != nil {
		return show(g.addr.String())
	}
	return show(g.text)
}

// checkAddress finds the first fault of an address; l is resolved.
func checkAddress(a *Address, g given, l *Limits) *Fault {
	if a.bad != nil {
		f := a.bad.fault
		return &f
	}
	if a.LocalPart == "" && a.Domain == "" {
		if a.Name != "" {
			return fault(CodeRequired, "address of %s is missing; give one such as user@example.com", show(a.Name))
		}
		return fault(CodeRequired, "address is empty; give one such as user@example.com")
	}
	if f := checkText("display name of the address", a.Name, false); f != nil {
		return f
	}
	if len(a.Name) > l.NameOctets {
		return fault(CodeTooLong, "display name %s has %d octets; at most %d are allowed", show(a.Name), len(a.Name), l.NameOctets)
	}
	if f := checkLocalPart(a.LocalPart, g); f != nil {
		return f
	}
	wire, f := checkDomain(a.Domain, g)
	if f != nil {
		return f
	}
	local := localPartOctets(a.LocalPart)
	if local > l.LocalPartOctets {
		return fault(CodeTooLong, "address %s has %d octets before its @; at most %d are allowed", g, local, l.LocalPartOctets)
	}
	if n := local + 1 + len(wire); n > l.AddressOctets {
		return fault(CodeTooLong, "address %s has %d octets; at most %d are allowed", g, n, l.AddressOctets)
	}
	return nil
}

// checkLocalPart checks what a quoted or unquoted local part means: any
// printable text (RFC 5321 §4.1.2, QcontentSMTP; RFC 6531 §3.3). It is not
// normalised: RFC 6532 §3.1 asks writers for NFC, but only the receiving
// domain knows which spelling its mailbox has.
func checkLocalPart(local string, g given) *Fault {
	if local == "" {
		return noLocalPart(g)
	}
	if f := checkText("part before the @", local, false); f != nil {
		f.Code = CodeInvalidAddress
		f.Detail = "address " + g.String() + ": " + f.Detail
		return f
	}
	return nil
}

// noLocalPart is the fault of an empty local part. RFC 5321 has "" stand for
// one; nobody has such a mailbox, and in an Address it is a field forgotten.
func noLocalPart(g given) *Fault {
	return fault(CodeInvalidAddress, "address %s has nothing before its @; write it as user@example.com", g)
}

// needsIDNA tells whether a domain must go through the A-label algorithm:
// because it is not ASCII, or to check A-labels that the caller wrote.
func needsIDNA(domain string) bool {
	for i := range len(domain) {
		c := domain[i]
		if c >= utf8.RuneSelf {
			return true
		}
		if (c == 'x' || c == 'X') && (i == 0 || domain[i-1] == '.') && len(domain)-i >= 4 &&
			strings.EqualFold(domain[i:i+4], "xn--") {
			return true
		}
	}
	return false
}

// checkDomain checks a domain and gives it as it is on the wire.
func checkDomain(domain string, g given) (wire string, _ *Fault) {
	if needsIDNA(domain) {
		if len(domain) > maxUnicodeDomain {
			return "", fault(CodeInvalidAddress, "address %s has a domain of %d octets; at most %d are possible", g, len(domain), maxDomainOctets)
		}
		ascii, err := idnaProfile.ToASCII(domain)
		if err != nil || !utf8.ValidString(domain) {
			return "", fault(CodeInvalidAddress, "address %s has a domain that cannot be written in A-labels (RFC 5890); check its spelling", g)
		}
		domain = ascii
	}
	labels, start := 0, 0
	for i := 0; i <= len(domain); i++ {
		if i < len(domain) && octetClass[domain[i]]&classLDH != 0 {
			continue
		}
		if i < len(domain) && domain[i] != '.' {
			return "", domainOctetFault(domain, i, g)
		}
		label := domain[start:i]
		if f := checkLabel(domain, label, i == len(domain), g); f != nil {
			return "", f
		}
		labels++
		start = i + 1
	}
	top := domain[strings.LastIndexByte(domain, '.')+1:]
	switch {
	case labels < 2:
		return "", fault(CodeInvalidAddress, "address %s needs a domain with at least two labels (user@example.com)", g)
	case isDigits(top):
		return "", fault(CodeInvalidAddress, "address %s has a domain that ends in a number; give a domain name, not an IP address", g)
	case len(domain) > maxDomainOctets:
		return "", fault(CodeInvalidAddress, "address %s has a domain of %d octets; at most %d are possible", g, len(domain), maxDomainOctets)
	}
	return domain, nil
}

// domainOctetFault says what is wrong with an octet that no domain can have.
func domainOctetFault(domain string, i int, g given) *Fault {
	switch c := domain[i]; {
	case domain[0] == '[':
		return fault(CodeInvalidAddress, "address %s has an address literal; give a domain name such as example.com", g)
	case c == '@':
		return fault(CodeInvalidAddress, "address %s has more than one @; write it as user@example.com", g)
	case c == ' ' || c == '\t':
		return fault(CodeInvalidAddress, "address %s has a space in its domain; remove it, or separate several addresses by commas", g)
	default:
		return fault(CodeInvalidAddress, "address %s has %q in its domain; only letters, digits, hyphens and dots can stand there", g, c)
	}
}

// checkLabel checks one label of letters, digits and hyphens.
func checkLabel(domain, label string, last bool, g given) *Fault {
	switch {
	case domain == "":
		return fault(CodeInvalidAddress, "address %s has nothing after its @", g)
	case label == "" && last:
		return fault(CodeInvalidAddress, "address %s ends in a dot; remove it", g)
	case label == "":
		return fault(CodeInvalidAddress, "address %s has a domain with an empty label; remove the extra dot", g)
	case len(label) > maxLabelOctets:
		return fault(CodeInvalidAddress, "address %s has a domain label of %d octets; at most %d are possible", g, len(label), maxLabelOctets)
	case label[0] == '-' || label[len(label)-1] == '-':
		return fault(CodeInvalidAddress, "address %s has a domain label that begins or ends with a hyphen", g)
	}
	return nil
}

// isDigits tells whether s has nothing but digits.
func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// checkText checks text that goes into a header field or a command: UTF-8
// without control characters, which could end a line (RFC 5322 §2.2). TAB is
// allowed where the caller says so. what names the text in the fault.
func checkText(what, s string, tab bool) *Fault {
	ascii := true
	for i := range len(s) {
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			ascii = false
		case c >= ' ' && c != 0x7f, c == '\t' && tab:
		case c == '\r' || c == '\n':
			return fault(CodeControlCharacter, "%s has a line break at octet %d; remove it", what, i)
		default:
			return fault(CodeControlCharacter, "%s has the control character %U at octet %d; remove it", what, c, i)
		}
	}
	if ascii {
		return nil
	}
	if !utf8.ValidString(s) {
		return fault(CodeInvalidUTF8, "%s is not UTF-8; convert it from its charset", what)
	}
	for i := range len(s) - 1 {
		// C1 controls are C2 80 to C2 9F.
		if s[i] == 0xc2 && s[i+1] < 0xa0 {
			return fault(CodeControlCharacter, "%s has the control character %U at octet %d; remove it", what, s[i+1], i)
		}
	}
	return nil
}
