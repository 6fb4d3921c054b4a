package mail_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/postrider/postrider/mail"
)

// Readers decode what looks like an encoded-word in a file name too, so such a
// name is written in a form that they leave alone.
func TestFilenameLikeEncodedWord(t *testing.T) {
	m := &mail.Message{
		From: mail.Addr("a@example.com"), To: mail.Addrs("b@example.com"), Text: "x",
		Attachments: []mail.Attachment{mail.BytesAttachment("=?utf-8?q?fake?=.txt", []byte("x"))},
	}
	c, err := m.Compose(nil)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); strings.Contains(s, "=?utf-8?q?fake?=") || !strings.Contains(s, "filename*=utf-8''%3D%3Futf-8%3Fq%3Ffake%3F%3D.txt") {
		t.Errorf("the name would be decoded:\n%s", s)
	}
}
