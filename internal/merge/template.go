package merge

import (
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"

	"github.com/postrider/postrider/mail"
)

// template is a text with {{column}} fields, split once for all rows.
type template struct {
	literal []string // one more than columns
	columns []int
}

// parse splits s; fields must name columns of the header.
func parse(s string, header []string) (template, error) {
	var t template
	rest := s
	for {
		before, after, ok := strings.Cut(rest, "{{")
		if !ok {
			t.literal = append(t.literal, rest)
			return t, nil
		}
		name, after, ok := strings.Cut(after, "}}")
		if !ok {
			return t, fmt.Errorf("a field begins with {{ and does not end with }}: %q", clip("{{"+name))
		}
		at := slices.Index(header, strings.TrimSpace(name))
		if at < 0 {
			return t, fmt.Errorf("there is no column %q; the columns are %s", clip(strings.TrimSpace(name)), columnNames(header))
		}
		t.literal = append(t.literal, before)
		t.columns = append(t.columns, at)
		rest = after
	}
}

// fill puts a row's values in.
func (t template) fill(row []string) string {
	return t.fillWith(row, func(s string) string { return s })
}

// fillHTML puts a row's values in, escaped so that none can become markup.
func (t template) fillHTML(row []string) string { return t.fillWith(row, html.EscapeString) }

// fillURI puts a row's values into a URI, percent-encoded (RFC 3986 §2.1) where
// they are a part of it. A field at the very beginning is (the beginning of) a URI itself.
func (t template) fillURI(row []string) string {
	n := 0
	return strings.TrimSpace(t.fillWith(row, func(s string) string {
		if n++; n == 1 && t.literal[0] == "" {
			return s
		}
		return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
	}))
}

func (t template) fillWith(row []string, escape func(string) string) string {
	if len(t.columns) == 0 {
		return t.literal[0]
	}
	var b strings.Builder
	for i, column := range t.columns {
		b.WriteString(t.literal[i])
		b.WriteString(escape(row[column]))
	}
	b.WriteString(t.literal[len(t.columns)])
	return b.String()
}

// addressTemplate is an address with fields. Name and address are filled apart,
// so that a comma or a bracket in a cell can neither break the address nor add another.
type addressTemplate struct {
	name, address template
	named         bool
}

func parseAddress(s string, header []string) (addressTemplate, error) {
	var a addressTemplate
	var err error
	name, rest, ok := strings.Cut(s, "<")
	if !ok {
		rest = s
	} else {
		a.named = true
		if a.name, err = parse(strings.Trim(strings.TrimSpace(name), `"`), header); err != nil {
			return a, err
		}
		if rest, ok = strings.CutSuffix(strings.TrimSpace(rest), ">"); !ok {
			return a, fmt.Errorf("%q does not end with >", clip(s))
		}
	}
	if a.address, err = parse(strings.TrimSpace(rest), header); err != nil {
		return a, err
	}
	for _, l := range a.address.literal {
		if strings.ContainsAny(l, ",;<>") {
			return a, fmt.Errorf("%q is not one address: give each recipient a flag of its own", clip(s))
		}
	}
	return a, nil
}

// fill gives the row's address; none if its cells are empty.
func (a addressTemplate) fill(row []string) (address mail.Address, ok bool) {
	text := strings.TrimSpace(a.address.fill(row))
	if text == "" {
		return address, false
	}
	address = mail.Addr(text)
	if a.named && address.Err() == nil {
		address.Name = strings.TrimSpace(a.name.fill(row))
	}
	return address, true
}

// Fields are the parts of a message that may hold {{column}} fields.
type Fields struct {
	To, Cc, Bcc, ReplyTo []string
	Subject, Text, HTML  string
	Header               []mail.Field
	ListUnsubscribe      []string
}

// Letter makes the message of a row.
type Letter struct {
	base                 mail.Message
	to, cc, bcc, replyTo []addressTemplate
	subject, text, html  template
	header               []template
	listUnsubscribe      []template
}

// NewLetter prepares base with fields for rows with these columns. Its error
// names the part and the column that does not exist.
func NewLetter(base mail.Message, f Fields, columns []string) (*Letter, error) {
	l := &Letter{base: base}
	for _, list := range []struct {
		name string
		from []string
		into *[]addressTemplate
	}{{"to", f.To, &l.to}, {"cc", f.Cc, &l.cc}, {"bcc", f.Bcc, &l.bcc}, {"reply-to", f.ReplyTo, &l.replyTo}} {
		for _, s := range list.from {
			a, err := parseAddress(s, columns)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", list.name, err)
			}
			*list.into = append(*list.into, a)
		}
	}
	for _, one := range []struct {
		name, from string
		into       *template
	}{{"subject", f.Subject, &l.subject}, {"text", f.Text, &l.text}, {"html", f.HTML, &l.html}} {
		t, err := parse(one.from, columns)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.name, err)
		}
		*one.into = t
	}
	for _, h := range f.Header {
		t, err := parse(h.Value, columns)
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", h.Name, err)
		}
		l.header = append(l.header, t)
	}
	l.base.Header = f.Header
	for _, uri := range f.ListUnsubscribe {
		t, err := parse(uri, columns)
		if err != nil {
			return nil, fmt.Errorf("list-unsubscribe: %w", err)
		}
		l.listUnsubscribe = append(l.listUnsubscribe, t)
	}
	return l, nil
}

// Message gives the message of one row.
func (l *Letter) Message(row []string) *mail.Message {
	m := l.base
	m.To, m.Cc, m.Bcc, m.ReplyTo = fillAll(l.to, row), fillAll(l.cc, row), fillAll(l.bcc, row), fillAll(l.replyTo, row)
	m.Subject, m.Text, m.HTML = l.subject.fill(row), l.text.fill(row), l.html.fillHTML(row)
	if len(l.header) > 0 {
		m.Header = make([]mail.Field, len(l.header))
		for i, t := range l.header {
			m.Header[i] = mail.Field{Name: l.base.Header[i].Name, Value: t.fill(row)}
		}
	}
	m.ListUnsubscribe = nil
	for _, t := range l.listUnsubscribe {
		m.ListUnsubscribe = append(m.ListUnsubscribe, t.fillURI(row))
	}
	return &m
}

func fillAll(templates []addressTemplate, row []string) []mail.Address {
	if len(templates) == 0 {
		return nil
	}
	all := make([]mail.Address, 0, len(templates))
	for _, t := range templates {
		if a, ok := t.fill(row); ok {
			all = append(all, a)
		}
	}
	return all
}

// columnNames lists the columns for an error, which stays one line of a readable length
// even where the file is no table at all.
func columnNames(header []string) string {
	const most = 20
	names := make([]string, 0, most+1)
	for _, c := range header[:min(len(header), most)] {
		names = append(names, clip(c))
	}
	if more := len(header) - most; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

func clip(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
