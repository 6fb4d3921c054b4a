package mail_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/postrider/postrider/mail"
	"pgregory.net/rapid"
)

func TestParseAddress(t *testing.T) {
	for _, tc := range []struct {
		in      string
		want    mail.Address
		mailbox string // as on the wire
	}{
		{"user@example.com", mail.Address{LocalPart: "user", Domain: "example.com"}, "user@example.com"},
		{"user+tag@sub.example.com", mail.Address{LocalPart: "user+tag", Domain: "sub.example.com"}, "user+tag@sub.example.com"},
		{" \tuser@example.com ", mail.Address{LocalPart: "user", Domain: "example.com"}, "user@example.com"},
		{"<user@example.com>", mail.Address{LocalPart: "user", Domain: "example.com"}, "user@example.com"},
		{"John Doe <john@example.com>", mail.Address{Name: "John Doe", LocalPart: "john", Domain: "example.com"}, "john@example.com"},
		{"John Q. Public<john@example.com>", mail.Address{Name: "John Q. Public", LocalPart: "john", Domain: "example.com"}, "john@example.com"},
		{"John \t Doe < john@example.com >", mail.Address{Name: "John Doe", LocalPart: "john", Domain: "example.com"}, "john@example.com"},
		{`"Doe, John" <john@example.com>`, mail.Address{Name: "Doe, John", LocalPart: "john", Domain: "example.com"}, "john@example.com"},
		{`"a \"b\" \\ c" <john@example.com>`, mail.Address{Name: `a "b" \ c`, LocalPart: "john", Domain: "example.com"}, "john@example.com"},
		{`"<x@y.z>" <john@example.com>`, mail.Address{Name: "<x@y.z>", LocalPart: "john", Domain: "example.com"}, "john@example.com"},
		{`"John" D "oe"<john@example.com>`, mail.Address{Name: "John D oe", LocalPart: "john", Domain: "example.com"}, "john@example.com"},
		{`"" <john@example.com>`, mail.Address{LocalPart: "john", Domain: "example.com"}, "john@example.com"},
		{"Zoë <zoe@example.com>", mail.Address{Name: "Zoë", LocalPart: "zoe", Domain: "example.com"}, "zoe@example.com"},
		{"=?utf-8?q?Zo=C3=AB_X?= <zoe@example.com>", mail.Address{Name: "Zoë X", LocalPart: "zoe", Domain: "example.com"}, "zoe@example.com"},
		{"=?ISO-8859-1*en?B?Wm/r?= <zoe@example.com>", mail.Address{Name: "Zoë", LocalPart: "zoe", Domain: "example.com"}, "zoe@example.com"},
		{"=?utf-8?q?a?= =?utf-8?q?_b?= c =?utf-8?q?d?= <a@example.com>", mail.Address{Name: "a b c d", LocalPart: "a", Domain: "example.com"}, "a@example.com"},
		{"=?utf-8?q?Zo=C3?= =?UTF-8?b?qw==?= <a@example.com>", mail.Address{Name: "Zoë", LocalPart: "a", Domain: "example.com"}, "a@example.com"},
		{"=?utf-8?q?a?= =?iso-8859-1?q?=EB?= <a@example.com>", mail.Address{Name: "aë", LocalPart: "a", Domain: "example.com"}, "a@example.com"},
		{"=?klingon?q?a?= =?klingon?q?b?= <a@example.com>", mail.Address{Name: "=?klingon?q?a?= =?klingon?q?b?=", LocalPart: "a", Domain: "example.com"}, "a@example.com"},
		{"=?utf-8?q?a=?= <a@example.com>", mail.Address{Name: "=?utf-8?q?a=?=", LocalPart: "a", Domain: "example.com"}, "a@example.com"},
		{"=?utf-8?q?a=c3=ab=2?= <a@example.com>", mail.Address{Name: "=?utf-8?q?a=c3=ab=2?=", LocalPart: "a", Domain: "example.com"}, "a@example.com"},
		{"=?utf-8?q?=c3=ab?= <a@example.com>", mail.Address{Name: "ë", LocalPart: "a", Domain: "example.com"}, "a@example.com"},
		{"=?utf-8?q?a=gg?= <a@example.com>", mail.Address{Name: "=?utf-8?q?a=gg?=", LocalPart: "a", Domain: "example.com"}, "a@example.com"},
		{"=?utf-8?b?a?= <a@example.com>", mail.Address{Name: "=?utf-8?b?a?=", LocalPart: "a", Domain: "example.com"}, "a@example.com"},
		{"=?utf-8?x?a?= <a@example.com>", mail.Address{Name: "=?utf-8?x?a?=", LocalPart: "a", Domain: "example.com"}, "a@example.com"},
		{"=?utf-8?q?= =??q?a?= =? <a@example.com>", mail.Address{Name: "=?utf-8?q?= =??q?a?= =?", LocalPart: "a", Domain: "example.com"}, "a@example.com"},
		{"=?utf-8?q?=ff?= <a@example.com>", mail.Address{Name: "\ufffd", LocalPart: "a", Domain: "example.com"}, "a@example.com"},
		{`"=?utf-8?q?a?=" <a@example.com>`, mail.Address{Name: "=?utf-8?q?a?=", LocalPart: "a", Domain: "example.com"}, "a@example.com"},
		{`"john doe"@example.com`, mail.Address{LocalPart: "john doe", Domain: "example.com"}, `"john doe"@example.com`},
		{`"john.doe"@example.com`, mail.Address{LocalPart: "john.doe", Domain: "example.com"}, "john.doe@example.com"},
		{`"a..b"@example.com`, mail.Address{LocalPart: "a..b", Domain: "example.com"}, `"a..b"@example.com`},
		{`"a\"b\\c\d"@example.com`, mail.Address{LocalPart: `a"b\cd`, Domain: "example.com"}, `"a\"b\\cd"@example.com`},
		{`"a@b"@example.com`, mail.Address{LocalPart: "a@b", Domain: "example.com"}, `"a@b"@example.com`},
		{`X <"a>b"@example.com>`, mail.Address{Name: "X", LocalPart: "a>b", Domain: "example.com"}, `"a>b"@example.com`},
		{"zoë@example.com", mail.Address{LocalPart: "zoë", Domain: "example.com"}, "zoë@example.com"},
		{"user@bücher.example", mail.Address{LocalPart: "user", Domain: "bücher.example"}, "user@xn--bcher-kva.example"},
		{"user@BÜCHER.example", mail.Address{LocalPart: "user", Domain: "BÜCHER.example"}, "user@xn--bcher-kva.example"},
		{"user@straße.example", mail.Address{LocalPart: "user", Domain: "straße.example"}, "user@xn--strae-oqa.example"},
		{"user@xn--bcher-kva.example", mail.Address{LocalPart: "user", Domain: "xn--bcher-kva.example"}, "user@xn--bcher-kva.example"},
		{"用户@例子.广告", mail.Address{LocalPart: "用户", Domain: "例子.广告"}, "用户@xn--fsqu00a.xn--4rr70v"},
		{"user@Example.COM", mail.Address{LocalPart: "user", Domain: "Example.COM"}, "user@Example.COM"},
		{"user@1.2.example.c0m", mail.Address{LocalPart: "user", Domain: "1.2.example.c0m"}, "user@1.2.example.c0m"},
		{"user@r3---sn-x.example.com", mail.Address{LocalPart: "user", Domain: "r3---sn-x.example.com"}, "user@r3---sn-x.example.com"},
		{"!#$%&'*+-/=?^_`{|}~@example.com", mail.Address{LocalPart: "!#$%&'*+-/=?^_`{|}~", Domain: "example.com"}, "!#$%&'*+-/=?^_`{|}~@example.com"},
	} {
		got, err := mail.ParseAddress(tc.in)
		if err != nil || got != tc.want {
			t.Errorf("ParseAddress(%q) = %+v, %v; want %+v", tc.in, got, err, tc.want)
			continue
		}
		if got.Mailbox() != tc.mailbox {
			t.Errorf("ParseAddress(%q).Mailbox() = %q; want %q", tc.in, got.Mailbox(), tc.mailbox)
		}
		if again, err := mail.ParseAddress(got.String()); err != nil || again != got {
			t.Errorf("ParseAddress(%q) = %+v, %v; want %+v again", got.String(), again, err, got)
		}
		if mail.Addr(tc.in) != got {
			t.Errorf("Addr(%q) differs from ParseAddress", tc.in)
		}
	}
}

func TestParseAddressFaults(t *testing.T) {
	for _, tc := range []struct {
		in   string
		code mail.FaultCode
		want string // in the message
	}{
		{"", mail.CodeRequired, "address is empty"},
		{" \t", mail.CodeRequired, "address is empty"},
		{"user@example", mail.CodeInvalidAddress, `address "user@example" needs a domain with at least two labels (user@example.com)`},
		{"@example.com", mail.CodeInvalidAddress, `address "@example.com" has nothing before its @`},
		{"user@@example.com", mail.CodeInvalidAddress, "more than one @"},
		{"user@a@example.com", mail.CodeInvalidAddress, "more than one @"},
		{"user@", mail.CodeInvalidAddress, "nothing after its @"},
		{"user", mail.CodeInvalidAddress, "no @"},
		{"@", mail.CodeInvalidAddress, "nothing before its @"},
		{"us..er@example.com", mail.CodeInvalidAddress, "two dots in a row"},
		{".user@example.com", mail.CodeInvalidAddress, "begins with a dot"},
		{"user.@example.com", mail.CodeInvalidAddress, "dot before its @"},
		{"..@example.com", mail.CodeInvalidAddress, "begins with a dot"},
		{"us er@example.com", mail.CodeInvalidAddress, "must be quoted"},
		{"us\"er@example.com", mail.CodeInvalidAddress, "must be quoted"},
		{`"user@example.com`, mail.CodeInvalidAddress, "quote that does not end"},
		{`"user\`, mail.CodeInvalidAddress, "quote that does not end"},
		{`"user" @example.com`, mail.CodeInvalidAddress, "no @ after its quoted local part"},
		{`""@example.com`, mail.CodeInvalidAddress, "nothing before its @"},
		{`"John Doe" john@example.com`, mail.CodeInvalidAddress, "no @ after its quoted local part"},
		{"\"a\tb\"@example.com", mail.CodeInvalidAddress, "control character"},
		{"user@example..com", mail.CodeInvalidAddress, "empty label"},
		{"user@.example.com", mail.CodeInvalidAddress, "empty label"},
		{"user@example.com.", mail.CodeInvalidAddress, "ends in a dot"},
		{"user@-example.com", mail.CodeInvalidAddress, "hyphen"},
		{"user@example-.com", mail.CodeInvalidAddress, "hyphen"},
		{"user@exa_mple.com", mail.CodeInvalidAddress, `'_' in its domain`},
		{"user@example .com", mail.CodeInvalidAddress, "space in its domain"},
		{"user@127.0.0.1", mail.CodeInvalidAddress, "ends in a number"},
		{"user@[127.0.0.1]", mail.CodeInvalidAddress, "address literal"},
		{"user@[IPv6:::1]", mail.CodeInvalidAddress, "address literal"},
		{"user@xn--zzzzzzz-.example", mail.CodeInvalidAddress, "A-labels"},
		{"user@a\u00b7\u200db.example", mail.CodeInvalidAddress, "A-labels"},
		{"user@\u2460\uff0e.example", mail.CodeInvalidAddress, "empty label"},
		{"user@example.com (John)", mail.CodeInvalidAddress, "comment"},
		{"user(x)@example.com", mail.CodeInvalidAddress, "comment"},
		{"John (x) <user@example.com>", mail.CodeInvalidAddress, "comment"},
		{"Friends: a@example.com, b@example.com;", mail.CodeInvalidAddress, "group"},
		{"Friends: A <a@example.com>;", mail.CodeInvalidAddress, "group"},
		{"undisclosed-recipients:;", mail.CodeInvalidAddress, "group"},
		{"a@example.com, b@example.com", mail.CodeInvalidAddress, "more than one address"},
		{"A <a@example.com>, b@example.com", mail.CodeInvalidAddress, "text after its >"},
		{"Doe, John <john@example.com>", mail.CodeInvalidAddress, `',' in its display name, which must be quoted`},
		{"A <a@example.com", mail.CodeInvalidAddress, "no > after its <"},
		{`"A <a@example.com>`, mail.CodeInvalidAddress, "quote that does not end"},
		{`A " <a@example.com>`, mail.CodeInvalidAddress, "quote that does not end"},
		{"A <>", mail.CodeInvalidAddress, "nothing between < and >"},
		{"<@relay.example,@b.example:a@example.com>", mail.CodeInvalidAddress, "source route"},
		{"a@b.example\r\nBcc: c@example.com", mail.CodeControlCharacter, "line break at octet 11"},
		{"a@b.example\x00", mail.CodeControlCharacter, "U+0000"},
		{"a\u0085b@example.com", mail.CodeControlCharacter, "U+0085"},
		{"=?utf-8?q?a=0D=0AX?= <a@example.com>", mail.CodeControlCharacter, "line break"},
		{"Z\xebo <a@example.com>", mail.CodeInvalidUTF8, "not UTF-8"},
	} {
		a, err := mail.ParseAddress(tc.in)
		var f mail.Fault
		if !errors.As(err, &f) {
			t.Errorf("ParseAddress(%q) = %+v, %v; want a Fault", tc.in, a, err)
			continue
		}
		if !a.IsZero() || f.Code != tc.code || f.Field != "" || !strings.Contains(f.Detail, tc.want) {
			t.Errorf("ParseAddress(%q): %s %q; want %s with %q", tc.in, f.Code, f.Detail, tc.code, tc.want)
		}
		kept := mail.Addr(tc.in)
		if kept.Err() == nil || kept.IsZero() || kept.String() != tc.in || kept.Mailbox() != "" {
			t.Errorf("Addr(%q) keeps err %v, String %q, Mailbox %q", tc.in, kept.Err(), kept.String(), kept.Mailbox())
		}
	}
}

func TestFaultsShowLittleOfTheirText(t *testing.T) {
	_, err := mail.ParseAddress(strings.Repeat("ü", 1<<20))
	if err == nil || len(err.Error()) > 300 {
		t.Errorf("error has %d octets", len(err.Error()))
	}
	_, err = mail.ParseAddress("a\x1b[31mb")
	if err == nil || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("error carries an escape sequence: %q", err)
	}
	// Time must not grow with the square of the words.
	if _, err = mail.ParseAddress(strings.Repeat("=?utf-8?q?a?= ", 1<<17) + "<a@example.com>"); err == nil || !strings.Contains(err.Error(), "display name") {
		t.Errorf("endless display name: %v", err)
	}
	_, err = mail.ParseAddress("user@" + strings.Repeat("ü.", 4096) + "example")
	if err == nil || !strings.Contains(err.Error(), "at most 255") {
		t.Errorf("huge domain: %v", err)
	}
}

func TestAddressLimits(t *testing.T) {
	label := strings.Repeat("a", 63)
	long := label + "." + label + "." + label // 191
	for _, tc := range []struct {
		name string
		in   string
		want string // "": valid
	}{
		{"local part 64", strings.Repeat("a", 64) + "@example.com", ""},
		{"local part 65", strings.Repeat("a", 65) + "@example.com", "65 octets before its @; at most 64"},
		{"quoted 64", `"` + strings.Repeat("a", 31) + " " + strings.Repeat("a", 30) + `"@example.com`, ""},
		{"quoted 65", `"` + strings.Repeat("a", 31) + " " + strings.Repeat("a", 31) + `"@example.com`, "65 octets before its @"},
		{"UTF-8 64", strings.Repeat("é", 32) + "@example.com", ""},
		{"UTF-8 66", strings.Repeat("é", 33) + "@example.com", "66 octets before its @"},
		{"label 63", "user@" + label + ".com", ""},
		{"label 64", "user@a" + label + ".com", "label of 64 octets; at most 63"},
		{"A-label 63", "user@" + strings.Repeat("é", 55) + ".com", ""},
		{"A-label beyond 63", "user@" + strings.Repeat("é", 60) + ".com", "octets; at most 63"},
		{"address 254", strings.Repeat("a", 62-4) + "@" + long + ".com", ""},
		{"address 255", strings.Repeat("a", 63-4) + "@" + long + ".com", "has 255 octets; at most 254"},
		// bücher is 7 octets, its A-label 13.
		{"IDN address 254", strings.Repeat("a", 64) + "@bücher." + strings.Repeat("b", 54) + "." + label + "." + strings.Repeat("c", 52) + ".com", ""},
		{"IDN address 255", strings.Repeat("a", 64) + "@bücher." + strings.Repeat("b", 54) + "." + label + "." + strings.Repeat("c", 53) + ".com", "has 255 octets; at most 254"},
		{"domain 256", "u@" + long + "." + strings.Repeat("b", 60) + ".com", "domain of 256 octets; at most 255"},
	} {
		_, err := mail.ParseAddress(tc.in)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v; want %q", tc.name, err, tc.want)
		}
	}
}

func TestAddressLimitsAreAdjustable(t *testing.T) {
	a := mail.Addr(strings.Repeat("a", 100) + "@example.com")
	if err := a.Err(); err == nil {
		t.Error("Err does not use the default limits")
	}
	if fs := mail.ValidateAddress("from", a, &mail.Limits{LocalPartOctets: 100}); fs != nil {
		t.Error(fs)
	}
	if fs := mail.ValidateAddress("from", a, &mail.Limits{LocalPartOctets: -1, AddressOctets: 111}); len(fs) != 1 || fs[0].Code != mail.CodeTooLong || fs[0].Field != "from" {
		t.Error(fs)
	}
}

func TestAddressFromFields(t *testing.T) {
	for _, tc := range []struct {
		a    mail.Address
		code mail.FaultCode // "": valid
		str  string
	}{
		{mail.Address{}, mail.CodeRequired, ""},
		{mail.Address{Name: "X"}, mail.CodeRequired, `X <""@>`},
		{mail.Address{LocalPart: "a"}, mail.CodeInvalidAddress, "a@"},
		{mail.Address{Domain: "example.com"}, mail.CodeInvalidAddress, `""@example.com`},
		{mail.Address{LocalPart: "a b", Domain: "example.com"}, "", `"a b"@example.com`},
		{mail.Address{Name: " a ", LocalPart: "a", Domain: "example.com"}, "", `" a " <a@example.com>`},
		{mail.Address{Name: "a. b", LocalPart: "a", Domain: "example.com"}, "", `"a. b" <a@example.com>`},
		{mail.Address{Name: "a\tb", LocalPart: "a", Domain: "example.com"}, mail.CodeControlCharacter, "\"a\tb\" <a@example.com>"},
		{mail.Address{Name: "a\r\nBcc: x", LocalPart: "a", Domain: "example.com"}, mail.CodeControlCharacter, "\"a\r\nBcc: x\" <a@example.com>"},
		{mail.Address{Name: strings.Repeat("x", 999), LocalPart: "a", Domain: "example.com"}, mail.CodeTooLong, strings.Repeat("x", 999) + " <a@example.com>"},
		{mail.Address{LocalPart: "a\nb", Domain: "example.com"}, mail.CodeInvalidAddress, "\"a\nb\"@example.com"},
		{mail.Address{LocalPart: "a", Domain: "example.com>"}, mail.CodeInvalidAddress, "a@example.com>"},
		{mail.Address{LocalPart: "a", Domain: "example.com\r\n"}, mail.CodeInvalidAddress, "a@example.com\r\n"},
		{mail.Address{LocalPart: "a", Domain: "\xff.com"}, mail.CodeInvalidAddress, "a@\xff.com"},
	} {
		var f mail.Fault
		errors.As(tc.a.Err(), &f)
		if f.Code != tc.code {
			t.Errorf("%+v: %q; want code %q", tc.a, f.Error(), tc.code)
		}
		if tc.a.String() != tc.str {
			t.Errorf("%+v.String() = %q; want %q", tc.a, tc.a.String(), tc.str)
		}
	}
	if a := (mail.Address{LocalPart: "zoë", Domain: "example.com"}); !a.NeedsSMTPUTF8() {
		t.Error("non-ASCII local part does not need SMTPUTF8")
	}
	if a := (mail.Address{Name: "Zoë", LocalPart: "zoe", Domain: "bücher.example"}); a.NeedsSMTPUTF8() {
		t.Error("non-ASCII domain and name need SMTPUTF8")
	}
}

func TestAddrs(t *testing.T) {
	if mail.Addrs() != nil {
		t.Error("Addrs() is not nil")
	}
	as := mail.Addrs("a@example.com", "b")
	if len(as) != 2 || as[0].Err() != nil || as[1].Err() == nil {
		t.Errorf("%+v", as)
	}
}

func TestParseAddressList(t *testing.T) {
	got, err := mail.ParseAddressList(`"Doe, John" <john@example.com>,zoe@example.com , X <"a,b"@example.com>`)
	want := []mail.Address{
		{Name: "Doe, John", LocalPart: "john", Domain: "example.com"},
		{LocalPart: "zoe", Domain: "example.com"},
		{Name: "X", LocalPart: "a,b", Domain: "example.com"},
	}
	if err != nil || len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("%+v, %v", got, err)
	}
	for in, want := range map[string]string{
		"":                                     "address list is empty",
		"a@example.com,":                       "[1]: address is empty; remove the extra comma",
		"a@example.com,,b@example.com,c":       `[1]: address is empty; remove the extra comma; [3]: address "c" has no @`,
		"Doe, John <john@example.com>":         `[0]: address "Doe" has no @; write it as user@example.com, and quote a display name that has a comma`,
		"Friends: a@example.com, b@b.example;": "address \"Friends: a@example.com, b@b.example;\" is a group",
		"undisclosed-recipients:;":             "is a group",
	} {
		got, err := mail.ParseAddressList(in)
		var fs mail.Faults
		if got != nil || !errors.As(err, &fs) || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseAddressList(%q) = %v, %v; want %q", in, got, err, want)
		}
	}
	_, err = mail.ParseAddressList(strings.Repeat("x,", 10_000) + "x")
	var fs mail.Faults
	if !errors.As(err, &fs) || len(fs) != 100 {
		t.Errorf("a hostile list makes %d faults", len(fs))
	}
}

// validAddress draws addresses of every kind that is allowed.
func validAddress() *rapid.Generator[mail.Address] {
	text := rapid.StringOfN(rapid.RuneFrom([]rune(`abcXYZ019 .,;:@<>()[]"\'=?_-!#é你ß`+"\u00a0")), 1, 20, 40)
	name := rapid.OneOf(rapid.Just(""), text, rapid.Just("=?utf-8?q?x?="), rapid.Just("=?utf-8?b?"))
	label := rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?`)
	domain := rapid.Custom(func(t *rapid.T) string {
		labels := rapid.SliceOfN(rapid.OneOf(label, rapid.SampledFrom([]string{"bücher", "例子", "straße", "xn--bcher-kva"})), 1, 3).Draw(t, "labels")
		return strings.Join(append(labels, rapid.SampledFrom([]string{"com", "example", "广告"}).Draw(t, "top")), ".")
	})
	return rapid.Custom(func(t *rapid.T) mail.Address {
		return mail.Address{
			Name:      name.Draw(t, "name"),
			LocalPart: rapid.OneOf(text, rapid.StringMatching(`[a-z]{1,8}(\.[a-z]{1,8})?`)).Draw(t, "local"),
			Domain:    domain.Draw(t, "domain"),
		}
	}).Filter(func(a mail.Address) bool { return a.Err() == nil })
}

func TestAddressRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := validAddress().Draw(t, "address")
		b, err := mail.ParseAddress(a.String())
		if err != nil || a != b {
			t.Fatalf("%q parsed as %+v, %v; want %+v", a.String(), b, err, a)
		}
		c, err := mail.ParseAddress(a.Mailbox())
		if err != nil || c.Mailbox() != a.Mailbox() || c.LocalPart != a.LocalPart {
			t.Fatalf("mailbox %q parsed as %+v, %v", a.Mailbox(), c, err)
		}
	})
}

func TestAddressListRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		as := rapid.SliceOfN(validAddress(), 1, 5).Draw(t, "addresses")
		texts := make([]string, len(as))
		for i, a := range as {
			texts[i] = a.String()
		}
		got, err := mail.ParseAddressList(strings.Join(texts, ", "))
		if err != nil || len(got) != len(as) {
			t.Fatalf("%d addresses, %v", len(got), err)
		}
		for i := range as {
			if got[i] != as[i] {
				t.Fatalf("%+v; want %+v", got[i], as[i])
			}
		}
	})
}

func TestParseAddressAllocates(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { _, _ = mail.ParseAddress("user+tag@sub.example.com") }); n != 0 {
		t.Errorf("plain address: %v allocations", n)
	}
}

// checkParsed holds for whatever is accepted from outside.
func checkParsed(t *testing.T, in string, a mail.Address) {
	if err := a.Err(); err != nil {
		t.Fatalf("%q was accepted: %v", in, err)
	}
	if strings.ContainsAny(a.String()+a.Mailbox(), "\r\n\x00\t") {
		t.Fatalf("%q gives %q", in, a.String())
	}
	if len(a.Mailbox()) > 254 {
		t.Fatalf("%q has %d octets on the wire", in, len(a.Mailbox()))
	}
	if b, err := mail.ParseAddress(a.String()); err != nil || a != b {
		t.Fatalf("%q: %q parsed as %+v, %v", in, a.String(), b, err)
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{
		"user@example.com", "user@example", "@example.com", "user@@example.com", "..", `"a b"@example.com`, "Zoë <zoë@bücher.example>",
		`"Doe, \"J\"" <john@example.com>`, "=?utf-8?q?Zo=C3?= =?utf-8?b?qw==?= <a@example.com>", "=?iso-2022-jp?b?GyRCJCIbKEI=?= <a@example.com>",
		"a@[127.0.0.1]", "G: a@example.com;", "a@xn--bcher-kva.example", "x (y) <a@example.com>", "a@b.example\r\nX: y",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := mail.ParseAddress(s)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n\x00") || len(err.Error()) > 1000 {
				t.Fatalf("%q: error %q", s, err)
			}
			return
		}
		checkParsed(t, s, a)
	})
}

func FuzzParseAddressList(f *testing.F) {
	for _, s := range []string{
		"a@example.com", "a@example.com, b@example.com", `"a, b" <a@example.com>,<b@example.com>`, "a@example.com,", ",", "G: a@example.com, b@example.com;",
		`"a\", <b@example.com>, c@example.com`, `<"a,b"@example.com>, d@example.com`, "A <a@example.com> B, c@example.com",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		as, err := mail.ParseAddressList(s)
		if err != nil {
			if as != nil || strings.ContainsAny(err.Error(), "\r\n\x00") {
				t.Fatalf("%q: %v, error %q", s, as, err)
			}
			return
		}
		if len(as) == 0 {
			t.Fatalf("%q: neither addresses nor an error", s)
		}
		for _, a := range as {
			checkParsed(t, s, a)
		}
	})
}

func BenchmarkParseAddress(b *testing.B) {
	for name, s := range map[string]string{
		"plain":   "user+tag@sub.example.com",
		"named":   `"Doe, John" <john.doe@example.com>`,
		"encoded": "=?utf-8?q?Zo=C3=AB_Example?= <zoe@example.com>",
		"idn":     "user@bücher.example",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := mail.ParseAddress(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
