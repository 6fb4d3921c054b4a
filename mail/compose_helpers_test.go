package mail_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message"

	"github.com/postrider/postrider/mail"
)

// counter is a source of randomness that is none, for goldens.
type counter byte

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(*c) * 37
		*c++
	}
	return len(p), nil
}

// fixedOptions make composition give the same octets in each run.
func fixedOptions() *mail.ComposeOptions {
	return &mail.ComposeOptions{
		Random: new(counter),
		Now:    func() time.Time { return time.Date(2026, 1, 2, 15, 4, 5, 0, time.FixedZone("", 3600)) },
	}
}

// renderer is what *testing.T and *rapid.T have in common here.
type renderer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// renderChecked renders twice and checks what holds for every message.
func renderChecked(t renderer, c *mail.Composed) []byte {
	t.Helper()
	var one, two bytes.Buffer
	n, err := c.WriteTo(&one)
	if err != nil {
		t.Fatalf("WriteTo: %v", err)
	}
	if n != c.Size() || int64(one.Len()) != n {
		t.Errorf("Size is %d, WriteTo said %d and wrote %d", c.Size(), n, one.Len())
	}
	if _, err := c.WriteTo(&two); err != nil || !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Errorf("the second WriteTo gave other octets (%v)", err)
	}
	checkWire(t, one.Bytes(), c.Envelope())
	return one.Bytes()
}

// checkWire checks that SMTP can carry the octets under their envelope.
func checkWire(t renderer, b []byte, e mail.Envelope) {
	t.Helper()
	if !bytes.HasSuffix(b, []byte("\r\n")) {
		t.Errorf("message does not end in CRLF: %q", tail(b))
	}
	for i, line := range bytes.Split(b, []byte("\r\n")) {
		if len(line) > 998 {
			t.Errorf("line %d has %d octets", i+1, len(line))
		}
		if bytes.ContainsAny(line, "\r\n\x00") {
			t.Errorf("line %d has a bare CR or LF, or a NUL: %q", i+1, line)
		}
	}
	high := bytes.ContainsFunc(b, func(r rune) bool { return r >= 0x80 })
	if high != e.EightBit {
		t.Errorf("octets over 127: %v, EightBit: %v", high, e.EightBit)
	}
	head, _, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	if bytes.ContainsFunc(head, func(r rune) bool { return r >= 0x80 }) && !e.SMTPUTF8 {
		t.Errorf("header has UTF-8 without SMTPUTF8: %q", head)
	}
}

func tail(b []byte) []byte { return b[max(0, len(b)-60):] }

// fieldNames gives the names of the header fields in lower case, in order.
func fieldNames(b []byte) (names []string) {
	head, _, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	for line := range strings.SplitSeq(string(head), "\r\n") {
		if line == "" || line[0] == ' ' || line[0] == '\t' {
			continue
		}
		name, _, _ := strings.Cut(line, ":")
		names = append(names, strings.ToLower(name))
	}
	return names
}

// leaf is one part of a message without parts in it.
type leaf struct {
	Type, Filename, ContentID, Disposition, Hash string
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// parsed is a message as a parser understood it.
type parsed struct {
	Structure string // such as mixed(related(alternative(text/plain,text/html),image/png))
	Subject   string
	Leaves    []leaf
}

// parse reads a message with go-message.
func parse(t renderer, b []byte) parsed {
	t.Helper()
	e, err := message.Read(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("go-message: %v\n%s", err, b)
	}
	var p parsed
	p.Subject, err = e.Header.Text("Subject")
	if err != nil {
		t.Errorf("subject: %v", err)
	}
	p.Structure = walk(t, e, &p.Leaves)
	return p
}

func walk(t renderer, e *message.Entity, leaves *[]leaf) string {
	kind, params, err := e.Header.ContentType()
	if err != nil {
		t.Fatalf("Content-Type: %v", err)
	}
	if mr := e.MultipartReader(); mr != nil {
		var children []string
		for {
			child, err := mr.NextPart()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil && !message.IsUnknownCharset(err) {
				t.Fatalf("part: %v", err)
			}
			children = append(children, walk(t, child, leaves))
		}
		return strings.TrimPrefix(kind, "multipart/") + "(" + strings.Join(children, ",") + ")"
	}
	body, err := io.ReadAll(e.Body)
	if err != nil {
		t.Fatalf("content: %v", err)
	}
	disposition, dparams, _ := e.Header.ContentDisposition()
	l := leaf{Type: kind, Disposition: disposition, Filename: dparams["filename"], Hash: hash(body)}
	if l.Filename != "" {
		// The name in Content-Type must say the same to old readers.
		name, err := new(mime.WordDecoder).DecodeHeader(params["name"])
		if err != nil || name != l.Filename {
			t.Errorf("name is %q, filename is %q", name, l.Filename)
		}
	}
	l.ContentID = strings.Trim(e.Header.Get("Content-Id"), "<>")
	*leaves = append(*leaves, l)
	return kind
}

// crlf brings line ends to CRLF the slow and obvious way.
func crlf(s string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	return strings.ReplaceAll(s, "\n", "\r\n")
}

// read gives the content of an attachment.
func read(t testing.TB, a mail.Attachment) []byte {
	t.Helper()
	r, err := a.Open()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// opener makes an Opener of a text.
func opener(s string) mail.Opener {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

// faultCodes gives the faults of an error as "field code", sorted.
func faultCodes(t renderer, err error) []string {
	t.Helper()
	var fs mail.Faults
	if !errors.As(err, &fs) {
		t.Fatalf("%v is no Faults", err)
	}
	var codes []string
	for _, f := range fs {
		codes = append(codes, strings.TrimSpace(f.Field+" "+string(f.Code)))
	}
	slices.Sort(codes)
	return codes
}

// base64Decoder decodes lines of base64 with the standard library.
func base64Decoder(r io.Reader) io.Reader { return base64.NewDecoder(base64.StdEncoding, r) }
