package mail

import (
	"errors"
	"io"
	"strings"

	"github.com/segmentio/asm/base64"
)

// Base64Attachment attaches content that is given as base64 text (RFC 4648
// §4), with padding, in one line or in many. The text is checked in one scan
// here and decoded piece by piece while it is written; a fault in it is
// reported by validation as "attachments[i].content". Text without any octet
// is a fault as well, since it is nearly always a forgotten content; attach an
// empty file with [BytesAttachment].
func Base64Attachment(filename, base64Text string) Attachment {
	a := Attachment{Filename: filename}
	chars, bad := scanBase64(base64Text)
	if bad != nil {
		a.bad = bad
		a.Open = func() (io.ReadCloser, error) { return nil, *bad }
		return a
	}
	a.Size = decodedLen(base64Text, chars)
	a.Open = func() (io.ReadCloser, error) {
		return &base64Reader{text: base64Text, plain: chars == len(base64Text)}, nil
	}
	return a
}

// Classes of octets in base64 text, one bit each, so that the classes of
// several octets can be looked at together.
const (
	b64Alphabet = 0
	b64Space    = 1 << iota // CR, LF, TAB, SP: lines of any length are taken (RFC 2045 §6.8)
	b64Pad
	b64URL // the URL-safe alphabet of RFC 4648 §5
	b64Bad
)

// b64Class sorts every octet into one of the classes. It is never written.
var b64Class = func() (class [256]uint8) {
	for c := range class {
		switch b := byte(c); {
		case 'A' <= b && b <= 'Z', 'a' <= b && b <= 'z', '0' <= b && b <= '9', b == '+', b == '/':
			class[c] = b64Alphabet
		case b == '\r', b == '\n', b == '\t', b == ' ':
			class[c] = b64Space
		case b == '=':
			class[c] = b64Pad
		case b == '-', b == '_':
			class[c] = b64URL
		default:
			class[c] = b64Bad
		}
	}
	return class
}()

// scanBase64 checks base64 text and counts its characters, padding included
// and white space left out.
func scanBase64(s string) (chars int, bad *Fault) {
	pads := 0
	for i := 0; i < len(s); {
		// Eight at a time while nothing but the alphabet comes, which is
		// nearly always.
		if i+8 <= len(s) && pads == 0 {
			w := s[i : i+8]
			if b64Class[w[0]]|b64Class[w[1]]|b64Class[w[2]]|b64Class[w[3]]|
				b64Class[w[4]]|b64Class[w[5]]|b64Class[w[6]]|b64Class[w[7]] == b64Alphabet {
				chars += 8
				i += 8
				continue
			}
		}
		switch b64Class[s[i]] {
		case b64Alphabet:
			if pads > 0 {
				return 0, fault(CodeInvalidBase64, "base64 text goes on after its padding at octet %d; give one base64 text", i)
			}
			chars++
		case b64Pad:
			pads++
			chars++
		case b64URL:
			return 0, fault(CodeInvalidBase64, "base64 text has %q at octet %d, which is of the URL-safe alphabet; use the standard one with + and /", s[i], i)
		case b64Bad:
			if strings.HasPrefix(s, "data:") {
				return 0, fault(CodeInvalidBase64, "base64 text begins with \"data:\"; leave out everything up to the comma")
			}
			return 0, fault(CodeInvalidBase64, "base64 text has %q at octet %d, which is not of its alphabet", s[i], i)
		}
		i++
	}
	switch {
	case chars == 0:
		return 0, fault(CodeRequired, "attachment has no content; give its octets as base64")
	case chars%4 != 0:
		return 0, fault(CodeInvalidBase64, "base64 text has %d characters, not a multiple of 4; it is cut off or its = padding is missing", chars)
	case pads > 2:
		return 0, fault(CodeInvalidBase64, "base64 text ends in %d = characters; at most 2 can be right", pads)
	}
	return chars, nil
}

// decodedLen is the number of octets that checked base64 text stands for.
func decodedLen(s string, chars int) int64 {
	n := int64(chars) / 4 * 3
	for i, pads := len(s)-1, 0; i >= 0 && pads < 2; i-- {
		switch b64Class[s[i]] {
		case b64Pad:
			pads++
			n--
		case b64Space:
		default:
			return n
		}
	}
	return n
}

// b64Block is how many characters are decoded at once: enough for the SIMD
// decoder to run at full speed, little enough to hold one in each of a
// thousand messages.
const b64Block = 8 << 10

// base64Reader decodes checked base64 text in constant memory.
type base64Reader struct {
	text  string
	plain bool   // no white space in text
	out   []byte // decoded and not yet read
	in    [b64Block]byte
	dec   [b64Block / 4 * 3]byte
}

// Read gives the next decoded octets.
func (r *base64Reader) Read(p []byte) (int, error) {
	if len(r.out) == 0 {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

// WriteTo writes all that is left, so that io.Copy needs no buffer.
func (r *base64Reader) WriteTo(w io.Writer) (total int64, err error) {
	for {
		if len(r.out) == 0 {
			if err := r.fill(); err != nil {
				if errors.Is(err, io.EOF) {
					err = nil
				}
				return total, err
			}
		}
		n, err := w.Write(r.out)
		total += int64(n)
		r.out = r.out[n:]
		if err != nil {
			return total, err
		}
	}
}

// Close lets go of the text.
func (r *base64Reader) Close() error {
	r.text, r.out = "", nil
	return nil
}

// spaceIndex is where the first white space is in checked base64 text, its
// length if there is none.
func spaceIndex(s string) int {
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := s[i : i+8]
		if (b64Class[w[0]]|b64Class[w[1]]|b64Class[w[2]]|b64Class[w[3]]|
			b64Class[w[4]]|b64Class[w[5]]|b64Class[w[6]]|b64Class[w[7]])&b64Space != 0 {
			break
		}
	}
	for i < len(s) && b64Class[s[i]] != b64Space {
		i++
	}
	return i
}

// fill decodes the next block. The text was checked to be whole groups of
// four, so each block is, too.
func (r *base64Reader) fill() error {
	n := 0
	if r.plain {
		n = copy(r.in[:], r.text)
		r.text = r.text[n:]
	} else {
		i := 0
		for i < len(r.text) && n < len(r.in) {
			if b64Class[r.text[i]] == b64Space {
				i++
				continue
			}
			run := spaceIndex(r.text[i:min(len(r.text), i+len(r.in)-n)])
			n += copy(r.in[n:], r.text[i:i+run])
			i += run
		}
		r.text = r.text[i:]
	}
	if n == 0 {
		return io.EOF
	}
	m, err := base64.StdEncoding.Decode(r.dec[:], r.in[:n])
	if err != nil {
		return *fault(CodeInvalidBase64, "base64 text cannot be decoded: %v", err)
	}
	r.out = r.dec[:m]
	return nil
}
