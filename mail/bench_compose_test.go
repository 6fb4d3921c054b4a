package mail_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/postrider/postrider/mail"
)

// twoKB is the message that most programs send most of the time.
func twoKB() *mail.Message {
	m := letter()
	m.Subject = "Ihre Bestellung 12345 ist unterwegs"
	m.Text = strings.Repeat("Hello Bob, your order of ten widgets has left our warehouse today.\n", 12) + "Viele Grüße aus München\n"
	m.HTML = "<html><body>" + strings.Repeat("<p>Hello Bob, your order of <b>ten widgets</b> has left our warehouse today.</p>\n", 12) + "<p>Viele Grüße aus München</p></body></html>\n"
	return m
}

func BenchmarkCompose2KB(b *testing.B) {
	m := twoKB()
	c, err := m.Compose(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(c.Size())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Compose(nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkComposeOnly2KBValidate(b *testing.B) {
	m := twoKB()
	b.ReportAllocs()
	for b.Loop() {
		if m.Validate(nil) != nil {
			b.Fatal("invalid")
		}
	}
}

func benchmarkWrite(b *testing.B, m *mail.Message) {
	c, err := m.Compose(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(c.Size())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteAttachment25MiB(b *testing.B) {
	m := letter()
	m.Attachments = []mail.Attachment{mail.BytesAttachment("a.bin", bytes.Repeat([]byte("0123456789abcdef"), 25<<16))}
	benchmarkWrite(b, m)
}

func BenchmarkWriteBase64Attachment(b *testing.B) {
	m := letter()
	m.Attachments = []mail.Attachment{mail.Base64Attachment("a.bin", strings.Repeat("QUJD", 6<<20))}
	benchmarkWrite(b, m)
}

func BenchmarkWriteQuotedPrintable(b *testing.B) {
	m := letter()
	m.Text = strings.Repeat("Ein langer Text mit einigen Umlauten, größer als man denkt.\n", 200_000)
	benchmarkWrite(b, m)
}

func BenchmarkWriteRaw(b *testing.B) {
	raw := "From: a@example.com\nTo: b@example.com\n\n" + strings.Repeat("A line of the body of a raw message, with a bare line feed.\n", 200_000)
	c, err := mail.ComposeRaw(opener(raw), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(c.Size())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkComposeRaw2KB(b *testing.B) {
	raw := "From: a@example.com\nTo: b@example.com\nSubject: x\n\n" + strings.Repeat("A line of the body of a raw message, with a bare line feed.\n", 33)
	open := opener(raw)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mail.ComposeRaw(open, nil); err != nil {
			b.Fatal(err)
		}
	}
}
