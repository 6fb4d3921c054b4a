package mail_test

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/mail"
)

// anyText draws text with everything in it that could go wrong.
func anyText() *rapid.Generator[string] {
	pieces := rapid.SampledFrom([]string{
		"\r\nBcc: x@example.com", "\r", "\n", "\r\n\r\n", "\x00", "\t", " ", "  ", "=?utf-8?q?x?=", "?=", "=?", "é", "日本語", "👩‍👩‍👧", "e\u0301",
		"\"", "\\", "<", ">", ",", ";", ":", "@", "%", "\x7f", "\xff", "\u2028", "\u0085", "\ufeff", "--", ".", "From ", strings.Repeat("a", 80), strings.Repeat("b ", 60), strings.Repeat("ü", 100),
	})
	return rapid.OneOf(
		rapid.String(),
		rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(pieces, 0, 8).Draw(t, "pieces"), "") }),
		rapid.StringMatching(`[ -~]{0,300}`),
		rapid.StringMatching(`[a-zA-Z]{0,12}( [a-zé]{1,12}){0,30}`),
	)
}

// ordinary is the order of the header fields of a text message.
func ordinary(m *mail.Message) []string {
	names := []string{"date", "from"}
	add := func(name string, there bool) {
		if there {
			names = append(names, strings.ToLower(name))
		}
	}
	add("sender", !m.Sender.IsZero())
	add("reply-to", len(m.ReplyTo) > 0)
	add("to", true)
	add("cc", len(m.Cc) > 0)
	add("subject", m.Subject != "")
	add("message-id", true)
	add("in-reply-to", m.InReplyTo != "")
	add("references", len(m.References) > 0)
	add("list-unsubscribe", len(m.ListUnsubscribe) > 0)
	add("auto-submitted", m.AutoSubmitted != "")
	for _, f := range m.Header {
		add(f.Name, true)
	}
	return append(names, "mime-version", "content-type", "content-transfer-encoding")
}

// Whatever stands in whichever field: either the message is refused, or its
// header has exactly the fields it should have, on lines that may be sent.
func TestNoInjection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := anyText()
		address := func(name string) mail.Address {
			return mail.Address{
				Name:      text.Draw(t, name+" name"),
				LocalPart: rapid.OneOf(rapid.Just("local"), text).Draw(t, name+" local part"),
				Domain:    rapid.OneOf(rapid.Just("example.com"), rapid.Just("bücher.example"), text).Draw(t, name+" domain"),
			}
		}
		maybe := func(s string) string { return rapid.OneOf(rapid.Just(s), text).Draw(t, "text") }
		m := &mail.Message{
			From: address("from"), To: []mail.Address{address("to"), address("to2")}, Subject: text.Draw(t, "subject"), Text: "x",
			MessageID: maybe(""), InReplyTo: maybe("<a@b.example>"), References: []string{maybe("c@d.example")},
			ListUnsubscribe: []string{maybe("mailto:x@example.com")}, AutoSubmitted: mail.AutoSubmitted(maybe("")),
			Header: []mail.Field{{Name: maybe("X-A"), Value: text.Draw(t, "value")}},
		}
		o := &mail.ComposeOptions{MessageIDDomain: maybe("")}
		c, err := m.Compose(o)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("error of several lines: %q", err)
			}
			return
		}
		b := renderChecked(t, c)
		if got, want := fieldNames(b), ordinary(m); !slices.Equal(got, want) {
			t.Errorf("fields are %q, want %q\n%s", got, want, b)
		}
	})
}

// Values that are valid come back as they were, from lines that are folded.
func TestHeaderRoundTrip(t *testing.T) {
	word := rapid.StringMatching(`[!-~]{1,20}|[a-z]{1,8}é|日本|👩‍👩‍👧|e\x{0301}|=\?utf-8\?q\?x\?=|[a-z]{60,100}|([a-z]{90}){8,10}`)
	value := rapid.Custom(func(t *rapid.T) string {
		s := strings.Join(rapid.SliceOfN(word, 0, 12).Draw(t, "words"), rapid.SampledFrom([]string{" ", "  "}).Draw(t, "space"))
		return s[:min(len(s), 900)]
	})
	rapid.Check(t, func(t *rapid.T) {
		m := letter()
		m.Text = "x"
		m.Subject = strings.ToValidUTF8(value.Draw(t, "subject"), "")
		m.To = nil
		for range rapid.IntRange(1, 5).Draw(t, "recipients") {
			m.To = append(m.To, mail.Address{Name: strings.TrimSpace(strings.ToValidUTF8(value.Draw(t, "name"), "")), LocalPart: "bob", Domain: "example.com"})
		}
		b := renderChecked(t, mustCompose(t, m))
		parsed, err := netmail.ReadMessage(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		decoder := new(mime.WordDecoder)
		subject, err := decoder.DecodeHeader(parsed.Header.Get("Subject"))
		if err != nil || subject != m.Subject {
			t.Errorf("subject is %q, want %q (%v)\n%s", subject, m.Subject, err, b)
		}
		to, err := parsed.Header.AddressList("To")
		if err != nil || len(to) != len(m.To) {
			t.Fatalf("To has %d addresses, want %d (%v)\n%s", len(to), len(m.To), err, b)
		}
		for i, a := range to {
			if a.Name != m.To[i].Name || a.Address != "bob@example.com" {
				t.Errorf("to[%d] is %q, want %q\n%s", i, a.Name, m.To[i].Name, b)
			}
		}
		checkFolding(t, b)
	})
}

// checkFolding checks that lines are longer than they should be only where
// they have a piece that cannot be folded.
func checkFolding(t renderer, b []byte) {
	t.Helper()
	head, _, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	for line := range strings.SplitSeq(string(head), "\r\n") {
		limit := 78
		if strings.Contains(line, "=?utf-8?") {
			limit = 76
		}
		if strings.TrimSpace(line) == "" {
			t.Errorf("line of white space in %q", head)
		}
		if len(line) <= limit {
			continue
		}
		if rest := strings.TrimPrefix(line[1:], " "); strings.Contains(rest, " ") && !strings.Contains(rest, "  ") && len(line) > limit+len("Subject:") {
			longest := slices.MaxFunc(strings.Fields(line), func(a, b string) int { return len(a) - len(b) })
			if len(longest) <= limit-1 {
				t.Errorf("line of %d octets could be folded: %q", len(line), line)
			}
		}
	}
	for _, word := range strings.Fields(string(head)) {
		if strings.HasPrefix(word, "=?utf-8?") {
			word = strings.TrimRight(word, ",;")
			if len(word) > 75 {
				t.Errorf("encoded-word of %d octets: %q", len(word), word)
			}
			if s, err := new(mime.WordDecoder).Decode(word); err != nil || !utf8.ValidString(s) || strings.ContainsRune(s, utf8.RuneError) {
				t.Errorf("encoded-word %q gives %q (%v)", word, s, err)
			}
		}
	}
}

func mustCompose(t renderer, m *mail.Message) *mail.Composed {
	t.Helper()
	c, err := m.Compose(nil)
	if err != nil {
		t.Fatalf("Compose: %v", err)
	}
	return c
}

// fileName draws names that may be attached.
func fileName(t *rapid.T) string {
	s := strings.ToValidUTF8(anyText().Draw(t, "filename"), "")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '/' || r == '\\' || r == '\u2028' || r == '\u2029' || r == '\ufeff' {
			return '-'
		}
		return r
	}, s)
	for len(s) > 200 {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return "a" + strings.TrimSpace(s) + ".bin"
}

// A text and an attachment of any octets come back exactly, small or large,
// streamed or not, and always in the same octets.
func TestContentRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := letter()
		m.Text = strings.ToValidUTF8(anyText().Draw(t, "text"), "?")
		if rapid.Bool().Draw(t, "large") {
			m.Text = strings.Repeat(m.Text, 1+70<<10/max(1, len(m.Text)))
		}
		data := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data")
		data = bytes.Repeat(data, rapid.SampledFrom([]int{1, 1, 400}).Draw(t, "times"))
		name := fileName(t)
		m.Attachments = []mail.Attachment{mail.BytesAttachment(name, data)}
		o := fixedOptions()
		o.EightBit = rapid.Bool().Draw(t, "eightBit")
		c, err := m.Compose(o)
		if err != nil {
			t.Skip(err)
		}
		b := renderChecked(t, c)

		streamed := *m
		streamed.Text, streamed.TextFrom = "", opener(m.Text)
		streamed.Attachments = []mail.Attachment{{Filename: name, Size: -1, Open: m.Attachments[0].Open}}
		if m.Text != "" {
			o := fixedOptions()
			o.EightBit = c.Envelope().EightBit
			c, err := streamed.Compose(o)
			if err != nil {
				t.Fatalf("streamed: %v", err)
			}
			if !bytes.Equal(b, renderChecked(t, c)) {
				t.Errorf("streamed content gives other octets")
			}
		}
		text, got, gotName := partsOf(t, b, m.Text != "")
		if text != crlf(m.Text) {
			t.Errorf("text is %q, want %q", text, crlf(m.Text))
		}
		if !bytes.Equal(got, data) {
			t.Errorf("attachment has other octets")
		}
		if gotName != name {
			t.Errorf("filename is %q, want %q\n%s", gotName, name, b)
		}
	})
}

// partsOf reads a text and an attachment with the standard library.
func partsOf(t renderer, b []byte, hasText bool) (text string, data []byte, name string) {
	t.Helper()
	parsed, err := netmail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%v", err)
	}
	_, params, err := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	if err != nil {
		t.Fatalf("%v", err)
	}
	mr := multipart.NewReader(parsed.Body, params["boundary"])
	if hasText {
		part, err := mr.NextRawPart()
		if err != nil {
			t.Fatalf("%v", err)
		}
		var r io.Reader = part
		switch part.Header.Get("Content-Transfer-Encoding") {
		case "quoted-printable":
			r = quotedprintable.NewReader(part)
		case "base64":
			r = base64Decoder(part)
		}
		s, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		text = string(s)
	}
	part, err := mr.NextRawPart()
	if err != nil {
		t.Fatalf("%v", err)
	}
	data, err = io.ReadAll(base64Decoder(part))
	if err != nil {
		t.Fatalf("%v", err)
	}
	_, params, err = mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil {
		t.Fatalf("%v", err)
	}
	return text, data, params["filename"]
}
