package mail

import (
	"strings"
	"unicode/utf8"
)

// ParseAddress parses one mailbox as people and programs write it:
//
//	zoe@example.com
//	<zoe@example.com>
//	Zoë Example <zoe@example.com>
//	"Example, Zoë" <zoe@example.com>
//	=?utf-8?q?Zo=C3=AB?= <zoe@example.com>
//
// Encoded words in the display name are decoded (RFC 2047; a word that cannot
// be stays as it is), dots in it need no quotes. Comments, folding, obsolete
// syntax, groups and address literals are refused. The address is checked
// with the default limits; [Addr] and validation serve those who have their
// own. The error is a [Fault] without a field.
func ParseAddress(s string) (Address, error) {
	l := DefaultLimits()
	a, f := parseWithin(s, &l)
	if f != nil {
		return Address{}, *f
	}
	return a, nil
}

// parseWithin parses and checks one mailbox.
func parseWithin(s string, l *Limits) (Address, *Fault) {
	a, f := parseMailbox(s)
	if f == nil {
		f = checkAddress(&a, given{text: s}, l)
	}
	if f != nil {
		return Address{}, f
	}
	return a, nil
}

// ParseAddressList parses mailboxes separated by commas, each as ParseAddress
// does. All faults are reported together: the error is [Faults] with fields
// "[0]", "[1]" and so on. An empty list is a fault.
func ParseAddressList(s string) ([]Address, error) {
	if strings.Trim(s, " \t") == "" {
		return nil, Faults{*fault(CodeRequired, "address list is empty; give at least one address")}
	}
	if i := topLevel(s, ':'); i >= 0 && !strings.ContainsAny(s[:i], "@[") {
		return nil, Faults{*groupFault(given{text: s})}
	}
	limits := DefaultLimits()
	var list []Address
	var faults Faults
	for i := 0; ; i++ {
		end := topLevel(s, ',')
		one := s
		if end >= 0 {
			one = s[:end]
		}
		a, f := parseWithin(one, &limits)
		switch {
		case f == nil:
			list = append(list, a)
		case len(faults) < maxListFaults:
			if f.Code == CodeRequired {
				f.Detail = "address is empty; remove the extra comma"
			}
			faults.addAt(at("", i), f)
		}
		if end < 0 {
			break
		}
		s = s[end+1:]
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return list, nil
}

// maxListFaults bounds what a hostile list can make us say.
const maxListFaults = 100

// topLevel finds the first c outside quoted strings and angle brackets, -1 if
// there is none.
func topLevel(s string, c byte) int {
	quoted, angle := false, false
	for i := 0; i < len(s); i++ {
		switch b := s[i]; {
		case quoted:
			switch b {
			case '\\':
				i++
			case '"':
				quoted = false
			}
		case b == c && (!angle || c == '>'):
			return i
		case b == '"':
			quoted = true
		case b == '<':
			angle = true
		case b == '>':
			angle = false
		}
	}
	return -1
}

// parseMailbox parses without looking at limits.
func parseMailbox(s string) (Address, *Fault) {
	s = strings.Trim(s, " \t")
	if s == "" {
		return Address{}, fault(CodeRequired, "address is empty; give one such as user@example.com")
	}
	if f := checkText("address", s, true); f != nil {
		return Address{}, f
	}
	g := given{text: s}
	open := topLevel(s, '<')
	if open < 0 {
		if s[0] != '"' && strings.Contains(s, "<") {
			return Address{}, openQuote(g)
		}
		return parseAddrSpec(s, g)
	}
	name, f := parsePhrase(s[:open], g)
	if f != nil {
		return Address{}, f
	}
	spec := s[open+1:]
	end := topLevel(spec, '>')
	switch {
	case end < 0:
		return Address{}, fault(CodeInvalidAddress, "address %s has no > after its <", g)
	case end < len(spec)-1:
		return Address{}, fault(CodeInvalidAddress, "address %s has text after its >; separate several addresses by commas", g)
	}
	spec = strings.Trim(spec[:end], " \t")
	if spec == "" {
		return Address{}, fault(CodeInvalidAddress, "address %s has nothing between < and >", g)
	}
	a, f := parseAddrSpec(spec, g)
	a.Name = name
	return a, f
}

// parseAddrSpec parses local-part@domain; whole is what the caller gave.
func parseAddrSpec(s string, whole given) (Address, *Fault) {
	var local, domain string
	if s[0] == '"' {
		content, rest, ok := cutQuoted(s)
		if !ok {
			return Address{}, openQuote(whole)
		}
		if rest == "" || rest[0] != '@' {
			return Address{}, fault(CodeInvalidAddress, "address %s has no @ after its quoted local part; write \"name\"@example.com, or \"name\" <user@example.com>", whole)
		}
		local, domain = content, rest[1:]
	} else {
		i := strings.IndexByte(s, '@')
		if i < 0 {
			return Address{}, explain(s, whole, fault(CodeInvalidAddress, "address %s has no @; write it as user@example.com, and quote a display name that has a comma", whole))
		}
		local, domain = s[:i], s[i+1:]
		if !isDotString(local) {
			return Address{}, explain(s, whole, dotStringFault(local, whole))
		}
	}
	if f := checkLocalPart(local, whole); f != nil {
		return Address{}, f
	}
	if _, f := checkDomain(domain, whole); f != nil {
		return Address{}, explain(domain, whole, f)
	}
	return Address{LocalPart: local, Domain: domain}, nil
}

// dotStringFault says why an unquoted local part is not one.
func dotStringFault(local string, whole given) *Fault {
	switch {
	case local == "":
		return noLocalPart(whole)
	case local[0] == '.':
		return fault(CodeInvalidAddress, "address %s begins with a dot; remove it", whole)
	case local[len(local)-1] == '.':
		return fault(CodeInvalidAddress, "address %s has a dot before its @; remove it", whole)
	case strings.Contains(local, ".."):
		return fault(CodeInvalidAddress, "address %s has two dots in a row; write one", whole)
	}
	for _, r := range local {
		if r < utf8.RuneSelf && r != '.' && !isAtext(byte(r)) {
			return fault(CodeInvalidAddress, "address %s has %q before its @, which must be quoted: \"…\"@example.com", whole, r)
		}
	}
	return fault(CodeInvalidAddress, "address %s has no local part that can be used", whole)
}

// explain gives a clearer fault than f where an addr-spec at fault shows a
// syntax that people know from elsewhere and that is not taken here.
func explain(s string, whole given, f *Fault) *Fault {
	// An address literal has colons but is no group: its fault is named as a
	// domain's.
	switch i := strings.IndexAny(s, "(:;,["); {
	case i < 0 || s[i] == '[':
		return f
	case s[0] == '@' && strings.Contains(s, ":"):
		return fault(CodeInvalidAddress, "address %s has a source route; leave out everything up to the colon", whole)
	case s[i] == '(':
		return fault(CodeInvalidAddress, "address %s has a comment in parentheses; remove it, or write the name before <…>", whole)
	case s[i] == ',':
		return fault(CodeInvalidAddress, "address %s is more than one address; give them one by one, and quote a display name that has a comma", whole)
	default:
		return groupFault(whole)
	}
}

// openQuote is the fault of a quoted string without an end.
func openQuote(whole given) *Fault {
	return fault(CodeInvalidAddress, "address %s has a quote that does not end; close it with \"", whole)
}

// groupFault refuses the groups of RFC 5322 §3.4.
func groupFault(whole given) *Fault {
	return fault(CodeInvalidAddress, "address %s is a group (name: members;); give its members one by one, and quote a display name that has a colon or semicolon", whole)
}

// cutQuoted takes a quoted-string off the beginning of s, which begins with a
// quote, and gives what it means.
func cutQuoted(s string) (content, rest string, ok bool) {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return s[1:i], s[i+1:], true
		case '\\':
			return cutEscaped(s)
		}
	}
	return "", "", false
}

// cutEscaped is cutQuoted for strings with quoted-pairs.
func cutEscaped(s string) (content, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			i++
			if i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

// parsePhrase parses a display name: atoms, quoted strings and encoded words.
func parsePhrase(s string, whole given) (string, *Fault) {
	var words phraseWords
	for s = strings.TrimLeft(s, " \t"); s != ""; s = strings.TrimLeft(s, " \t") {
		if s[0] == '"' {
			content, rest, ok := cutQuoted(s)
			if !ok {
				return "", openQuote(whole)
			}
			words.plain(content)
			s = rest
			continue
		}
		end := 0
		for end < len(s) && (s[end] >= utf8.RuneSelf || isAtext(s[end]) || s[end] == '.') {
			end++
		}
		if end == 0 {
			switch s[0] {
			case ':', ';':
				return "", groupFault(whole)
			case '(':
				return "", fault(CodeInvalidAddress, "address %s has a comment in parentheses; remove it, or quote the display name", whole)
			}
			return "", fault(CodeInvalidAddress, "address %s has %q in its display name, which must be quoted: \"…\" <user@example.com>", whole, s[0])
		}
		words.atom(s[:end])
		s = s[end:]
	}
	name := words.String()
	if f := checkText("display name of the address", name, false); f != nil {
		return "", f
	}
	return name, nil
}
