package mail

import (
	"bufio"
	"bytes"
	"io"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// ToUTF8 gives the octets of r, which are text in the named charset, as
// UTF-8. It knows the names of the WHATWG Encoding Standard, which hold all
// charsets that mail uses; the empty name means UTF-8. A byte order mark at
// the beginning is taken away. Octets that mean nothing in the charset become
// U+FFFD, except that UTF-8 passes as it is: validation reports what is wrong
// in it. The error for an unknown charset is a [Fault] with CodeInvalidValue that names it.
func ToUTF8(charset string, r io.Reader) (io.Reader, error) {
	enc, f := charsetEncoding(charset)
	if f != nil {
		return nil, *f
	}
	if enc != nil {
		r = transform.NewReader(r, enc.NewDecoder())
	}
	return &bomReader{r: bufio.NewReader(r)}, nil
}

// charsetEncoding finds a charset by its name; nil stands for UTF-8.
func charsetEncoding(charset string) (encoding.Encoding, *Fault) {
	if charset == "" {
		return nil, nil
	}
	enc, err := htmlindex.Get(charset)
	switch {
	// "replacement" is the standard's word for charsets that must not be
	// decoded (ISO-2022-KR and others): it makes one U+FFFD of a whole text.
	case err != nil || enc == encoding.Replacement:
		return nil, fault(CodeInvalidValue, "charset %s is not known; convert the text to UTF-8", show(charset))
	case enc == unicode.UTF8:
		return nil, nil
	case strings.EqualFold(strings.TrimSpace(charset), "utf-16"):
		// The standard reads "utf-16" as little-endian; the byte order mark
		// that RFC 2781 §3.3 has senders write decides if there is one.
		return unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), nil
	}
	return enc, nil
}

// bomReader leaves out a byte order mark at the beginning of UTF-8 text.
type bomReader struct {
	r       *bufio.Reader
	started bool
}

// Read gives the text without its byte order mark.
func (b *bomReader) Read(p []byte) (int, error) {
	if !b.started {
		b.started = true
		if first, _ := b.r.Peek(3); bytes.Equal(first, []byte("\xef\xbb\xbf")) {
			_, _ = b.r.Discard(3) // cannot fail: three octets are in the buffer
		}
	}
	return b.r.Read(p)
}
