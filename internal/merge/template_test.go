package merge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/merge"
	"github.com/postrider/postrider/mail"
)

func columns() []string { return []string{"name", "email", "link"} }

func TestLetter(t *testing.T) {
	l, err := merge.NewLetter(mail.Message{From: mail.Addr("shop@example.com")}, merge.Fields{
		To:              []string{"{{name}} <{{email}}>"},
		Cc:              []string{"{{ email }}"},
		Subject:         "Hello {{name}}{{name}}",
		Text:            "{{name}}: {{link}}",
		HTML:            `<a href="{{link}}">{{name}}</a>`,
		Header:          []mail.Field{{Name: "X-Name", Value: "is {{name}}"}},
		ListUnsubscribe: []string{"https://example.com/u?e={{email}}&n={{name}}", "{{link}}?x={{name}}"},
	}, columns())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		row                             []string
		to, cc, subject, html, uri, own string
	}{
		{
			[]string{"Ann", "ann@example.net", "https://x.example/a"},
			"Ann <ann@example.net>", "ann@example.net", "Hello AnnAnn",
			`<a href="https://x.example/a">Ann</a>`, "https://example.com/u?e=ann%40example.net&n=Ann", "https://x.example/a?x=Ann",
		},
		{
			[]string{`<b>"Doe, J" & Söhne+1`, "ann+x@example.net", `"><script>`},
			`"<b>\"Doe, J\" & Söhne+1" <ann+x@example.net>`, "ann+x@example.net", `Hello <b>"Doe, J" & Söhne+1<b>"Doe, J" & Söhne+1`,
			`<a href="&#34;&gt;&lt;script&gt;">&lt;b&gt;&#34;Doe, J&#34; &amp; Söhne+1</a>`,
			"https://example.com/u?e=ann%2Bx%40example.net&n=%3Cb%3E%22Doe%2C%20J%22%20%26%20S%C3%B6hne%2B1",
			`"><script>?x=%3Cb%3E%22Doe%2C%20J%22%20%26%20S%C3%B6hne%2B1`,
		},
		// A field in a value is text.
		{[]string{"{{email}}", "ann@example.net", ""}, `"{{email}}" <ann@example.net>`, "ann@example.net", "Hello {{email}}{{email}}", `<a href="">{{email}}</a>`, "https://example.com/u?e=ann%40example.net&n=%7B%7Bemail%7D%7D", "?x=%7B%7Bemail%7D%7D"},
	} {
		m := l.Message(c.row)
		if got := m.To[0].String(); got != c.to && got != strings.ReplaceAll(c.to, `"{{email}}"`, "{{email}}") {
			t.Errorf("%q: to %s", c.row, got)
		}
		if m.Cc[0].Mailbox() != c.cc || m.Subject != c.subject || m.HTML != c.html || m.ListUnsubscribe[0] != c.uri || m.ListUnsubscribe[1] != c.own ||
			m.Text != c.row[0]+": "+c.row[2] || m.Header[0].Value != "is "+c.row[0] {
			t.Errorf("%q: got %+v", c.row, m)
		}
	}
}

// TestValuesAddNoRecipient gives cells that try to be more than one address, or more than a line.
func TestValuesAddNoRecipient(t *testing.T) {
	l, err := merge.NewLetter(mail.Message{From: mail.Addr("shop@example.com"), Text: "x"}, merge.Fields{
		To: []string{"{{name}} <{{email}}>"}, Subject: "{{link}}", Header: []mail.Field{{Name: "X-Y", Value: "{{link}}"}},
	}, columns())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range [][]string{
		{"Ann", "ann@example.net, eve@example.org", ""},
		{"Ann", "ann@example.net>, <eve@example.org", ""},
		{"Ann", "ann@example.net\r\nBcc: eve@example.org", ""},
		{"Ann <eve@example.org>,", "ann@example.net", ""},
		{"Ann\r\nBcc: eve@example.org", "ann@example.net", ""},
		{"Ann", "ann@example.net", "x\r\nBcc: eve@example.org"},
		{"Ann", "ann@example.net", "x\n\nbody"},
	} {
		m := l.Message(row)
		composed, err := m.Compose(nil)
		if err != nil {
			continue // a row that is refused does no harm
		}
		if rcpt := composed.Envelope().RcptTo; len(rcpt) != 1 || rcpt[0] != "ann@example.net" {
			t.Errorf("%q: recipients %q", row, rcpt)
		}
		var b strings.Builder
		if _, err := composed.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		if header, _, _ := strings.Cut(b.String(), "\r\n\r\n"); strings.Contains(header, "\r\nBcc:") || strings.Contains(header, "\nBcc:") {
			t.Errorf("%q: header %q", row, header)
		}
	}
}

func TestEmptyAddressesAreLeftOut(t *testing.T) {
	l, err := merge.NewLetter(mail.Message{}, merge.Fields{To: []string{"{{name}} <{{email}}>"}, Cc: []string{"{{link}}"}}, columns())
	if err != nil {
		t.Fatal(err)
	}
	if m := l.Message([]string{"Ann", " ", ""}); len(m.To) != 0 || len(m.Cc) != 0 {
		t.Errorf("got %+v, %+v", m.To, m.Cc)
	}
}

func TestLetterFaults(t *testing.T) {
	for want, f := range map[string]merge.Fields{
		`subject: there is no column "nam"; the columns are name, email, link`: {Subject: "{{nam}}"},
		`text: there is no column ""`:                                          {Text: "{{}}"},
		`html: a field begins with {{ and does not end with }}`:                {HTML: "{{name"},
		`to: "{{email}}, {{link}}" is not one address`:                         {To: []string{"{{email}}, {{link}}"}},
		`to: "A <{{email}}>, B <{{link}}>" is not one address`:                 {To: []string{"A <{{email}}>, B <{{link}}>"}},
		`cc: "A <{{email}}" does not end with >`:                               {Cc: []string{"A <{{email}}"}},
		`bcc: there is no column "x"`:                                          {Bcc: []string{"{{x}} <{{email}}>"}},
		`reply-to: there is no column "x"`:                                     {ReplyTo: []string{"{{x}}"}},
		`header X-Y: there is no column "x"`:                                   {Header: []mail.Field{{Name: "X-Y", Value: "{{x}}"}}},
		`list-unsubscribe: there is no column "x"`:                             {ListUnsubscribe: []string{"{{x}}"}},
		`text: there is no column "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"`: {Text: "{{" + strings.Repeat("x", 500) + "}}"},
	} {
		if _, err := merge.NewLetter(mail.Message{}, f, columns()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v; want %s…", err, want)
		}
	}
}

// TestManyColumns names a wrong column among many, or in what is no table: still one line to read.
func TestManyColumns(t *testing.T) {
	many := append(strings.Split(strings.Repeat("c ", 500), " "), strings.Repeat("long", 1<<20))
	for _, header := range [][]string{many, many[len(many)-1:]} {
		_, err := merge.NewLetter(mail.Message{}, merge.Fields{Subject: "{{nam}}"}, header)
		if err == nil || len(err.Error()) > 1000 {
			t.Errorf("an error of %d octets: %.200v", len(fmt.Sprint(err)), err)
		}
	}
}

func FuzzLetter(f *testing.F) {
	f.Add("{{name}} <{{email}}>", "Ann", "ann@example.net")
	f.Add("{{email}}", "\r\n", "a@b.example,c@d.example")
	f.Fuzz(func(t *testing.T, to, name, email string) {
		l, err := merge.NewLetter(mail.Message{From: mail.Addr("shop@example.com"), Text: "x"}, merge.Fields{To: []string{to}, Subject: to, HTML: to}, columns())
		if err != nil {
			return
		}
		m := l.Message([]string{name, email, ""})
		if composed, err := m.Compose(nil); err == nil && len(composed.Envelope().RcptTo) != 1 {
			t.Errorf("recipients %q", composed.Envelope().RcptTo)
		}
	})
}
