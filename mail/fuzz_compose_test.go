package mail_test

import (
	"bytes"
	"io"
	"mime"
	"mime/quotedprintable"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/postrider/postrider/mail"
)

// FuzzHeaderEncoding: whatever is put into a header, it has the fields that it
// should have and no other, and a subject comes back as it was.
func FuzzHeaderEncoding(f *testing.F) {
	for _, s := range []string{
		"", " ", "Hello", "Grüße", "a\r\nBcc: x@example.com", "=?utf-8?q?x?=", " lead", "trail ", "two  spaces", "\t", "\x00", "\xff",
		strings.Repeat("日本語", 60), strings.Repeat("x", 998), strings.Repeat("👩‍👩‍👧", 20), strings.Repeat("ab ", 300) + "é", "a =? b", "\"q\" \\ <x>, (c);",
	} {
		f.Add(s, s, "X-Test", "file "+s)
	}
	f.Fuzz(func(t *testing.T, subject, display, name, filename string) {
		m := letter()
		m.Text = "x"
		m.Subject = subject
		m.To[0].Name = display
		m.Header = []mail.Field{{Name: name, Value: subject}}
		m.Attachments = []mail.Attachment{mail.BytesAttachment(filename, []byte("x"))}
		c, err := m.Compose(nil)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("error of several lines: %q", err)
			}
			return
		}
		b := renderChecked(t, c)
		want := ordinary(m)
		want = want[:len(want)-1] // the transfer encoding is that of the parts
		if got := fieldNames(b); !slices.Equal(got, want) {
			t.Fatalf("fields are %q, want %q\n%s", got, want, b)
		}
		checkFolding(t, b)
		parsed, err := netmail.ReadMessage(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		got, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
		if plain := strings.ReplaceAll(subject, "\t", " "); err != nil || got != plain {
			t.Errorf("subject is %q, want %q (%v)", got, plain, err)
		}
		to, err := parsed.Header.AddressList("To")
		if err != nil || len(to) != 1 || to[0].Name != display {
			t.Errorf("To is %v, want %q (%v)\n%s", to, display, err, b)
		}
		if _, _, got := partsOf(t, b, true); got != filename {
			t.Errorf("filename is %q, want %q\n%s", got, filename, b)
		}
	})
}

// FuzzQuotedPrintable: text of any shape comes back with its line ends mended,
// and the same octets are written however it is cut into pieces.
func FuzzQuotedPrintable(f *testing.F) {
	for _, s := range []string{
		"", "é", "é \r\n \t\n", "From é\nFrom\nFrom \n.\n..\n", "é" + strings.Repeat(" ", 200), strings.Repeat("=", 100) + "é", "\r\r\n\n\ré",
		strings.Repeat("a", 74) + " \né", strings.Repeat("a", 75) + "\t\né", strings.Repeat("é", 40), "é" + strings.Repeat("x", 71) + "From y", "\x00\x7f\x01é",
	} {
		f.Add(s, uint16(3))
	}
	f.Fuzz(func(t *testing.T, text string, cut uint16) {
		if !utf8.ValidString(text) || text == "" {
			return
		}
		m := letter()
		m.Text = text
		b := renderChecked(t, mustComposeFixed(t, m))
		head, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
		var r io.Reader = bytes.NewReader(body)
		switch {
		case bytes.Contains(head, []byte("quoted-printable")):
			checkQuoted(t, body)
			r = quotedprintable.NewReader(r)
		case bytes.Contains(head, []byte("base64")):
			r = base64Decoder(r)
		}
		got, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		want := crlf(text)
		if string(got) != want && string(got) != want+"\r\n" {
			t.Errorf("got %q, want %q\n%s", got, want, body)
		}

		streamed := *m
		streamed.Text = ""
		streamed.TextFrom = func() (io.ReadCloser, error) {
			return io.NopCloser(&pieces{text: text, size: int(cut)%len(text) + 1}), nil
		}
		// A body beside it that is too large for memory has all streamed.
		streamed.HTMLFrom = opener(strings.Repeat("<br>\n", 14_000))
		var large bytes.Buffer
		if _, err := mustComposeFixed(t, &streamed).WriteTo(&large); err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(large.Bytes(), append([]byte("\r\n\r\n"), bytes.TrimSuffix(body, []byte("\r\n"))...)) {
			t.Errorf("streamed text has other octets\n%s", body)
		}
	})
}

// checkQuoted checks what RFC 2045 §6.7 demands of the encoded text.
func checkQuoted(t renderer, body []byte) {
	t.Helper()
	for line := range strings.SplitSeq(string(body), "\r\n") {
		switch {
		case len(line) > 76:
			t.Errorf("line of %d octets: %q", len(line), line)
		case strings.HasSuffix(line, " "), strings.HasSuffix(line, "\t"):
			t.Errorf("line ends in white space: %q", line)
		case strings.HasPrefix(line, "From "), strings.HasPrefix(line, "."):
			t.Errorf("line would be changed on its way: %q", line)
		}
	}
}

// pieces gives a text in pieces.
type pieces struct {
	text string
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.text == "" {
		return 0, io.EOF
	}
	n := copy(b, p.text[:min(p.size, len(p.text))])
	p.text = p.text[n:]
	return n, nil
}

func mustComposeFixed(t renderer, m *mail.Message) *mail.Composed {
	t.Helper()
	c, err := m.Compose(fixedOptions())
	if err != nil {
		t.Fatalf("Compose: %v", err)
	}
	return c
}

// FuzzComposeRaw: what is taken can be sent, has no Bcc, and comes out the
// same when given again.
func FuzzComposeRaw(f *testing.F) {
	const good = "From: a@example.com\nTo: b@example.com\n"
	for _, s := range []string{
		"", good, good + "\nhello", good + "Bcc: c@example.com\n d@example.com\n\nx\r\n", good + "Bcc : c@example.com\n\nx", "From: =?utf-8?q?=C3=A9?= <a@example.com>\r\rx\r",
		good + "Date: Mon, 1 Jan 2024 00:00:00 +0000\nMessage-ID: <a@b.example>\n\n", good + "Subject: é\n\n\xff", good + "X: y\n \n\nz", good + "\r", good + "\r\n\r", "\r", " \n", ":\n\n", good + "\n" + strings.Repeat("x", 999),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := mail.ComposeRaw(opener(string(raw)), nil)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("error of several lines: %q", err)
			}
			return
		}
		b := renderChecked(t, c)
		names := fieldNames(b)
		for _, name := range []string{"from", "date", "message-id"} {
			n := 0
			for _, got := range names {
				if strings.TrimSpace(got) == name {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%d fields %s in %q", n, name, b)
			}
		}
		if slices.ContainsFunc(names, func(s string) bool { return strings.TrimSpace(s) == "bcc" }) {
			t.Errorf("Bcc is sent: %q", b)
		}
		if e := c.Envelope(); len(e.RcptTo) == 0 || strings.ContainsAny(e.MailFrom+strings.Join(e.RcptTo, ""), "\r\n<>\x00") && !strings.Contains(e.MailFrom+strings.Join(e.RcptTo, ""), `"`) {
			t.Errorf("envelope is %+v", e)
		}
		checkIdempotent(t, b)
		// The same input, made too large for memory, is streamed.
		if long, err := mail.ComposeRaw(opener(string(raw)+strings.Repeat("\nx", 40_000)), nil); err == nil {
			renderChecked(t, long)
		}
	})
}
