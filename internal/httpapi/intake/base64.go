package intake

import (
	"fmt"

	"github.com/segmentio/asm/base64"

	"github.com/postrider/postrider/mail"
)

// Classes of octets in base64 text, one bit each, so that several can be looked at together.
const (
	b64Alphabet = 0
	b64Space    = 1 << iota // CR, LF, TAB, SP: lines of any length are taken (RFC 2045 §6.8)
	b64Pad
	b64Other
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
		default:
			class[c] = b64Other
		}
	}
	return class
}()

// base64Block is how many characters are decoded at once.
const base64Block = 4 << 10

// base64Sink decodes base64 text (RFC 4648 §4) that comes in pieces, with the same rules as
// mail.Base64Attachment: padding required, white space ignored.
type base64Sink struct {
	to    sink
	group [4]byte // a group whose rest is in the next piece
	have  int
	pads  int
	chars int64
	seen  int64 // octets of text, white space included
	fault string
	out   []byte
}

// alphabetRun is how many octets at the beginning of p are of the alphabet.
func alphabetRun(p []byte) int {
	i := 0
	for ; i+8 <= len(p); i += 8 {
		w := p[i : i+8]
		if b64Class[w[0]]|b64Class[w[1]]|b64Class[w[2]]|b64Class[w[3]]|
			b64Class[w[4]]|b64Class[w[5]]|b64Class[w[6]]|b64Class[w[7]] != b64Alphabet {
			break
		}
	}
	for i < len(p) && b64Class[p[i]] == b64Alphabet {
		i++
	}
	return i
}

// put decodes one piece.
func (b *base64Sink) put(p []byte) error {
	if b.fault != "" {
		return nil
	}
	if b.seen == 0 && len(p) >= 5 && string(p[:5]) == "data:" {
		b.fault = `base64 text begins with "data:"; leave out everything up to the comma`
		return nil
	}
	for len(p) > 0 {
		if b.have == 0 && b.pads == 0 {
			if n := alphabetRun(p[:min(len(p), base64Block)]) &^ 3; n > 0 {
				if err := b.decode(p[:n]); err != nil {
					return err
				}
				b.chars += int64(n)
				b.seen += int64(n)
				p = p[n:]
				continue
			}
		}
		c := p[0]
		p = p[1:]
		switch b64Class[c] {
		case b64Space:
		case b64Other:
			b.refuse(c)
			return nil
		case b64Alphabet:
			if b.pads > 0 {
				b.fault = fmt.Sprintf("base64 text goes on after its padding at octet %d; give one base64 text", b.seen)
				return nil
			}
			if err := b.add(c); err != nil {
				return err
			}
		case b64Pad:
			if b.pads++; b.pads > 2 || b.have < 2 {
				b.fault = fmt.Sprintf("base64 text has padding where none can be, at octet %d", b.seen)
				return nil
			}
			if err := b.add(c); err != nil {
				return err
			}
		}
		b.seen++
	}
	return nil
}

// refuse names an octet that is not of the alphabet.
func (b *base64Sink) refuse(c byte) {
	if c == '-' || c == '_' {
		b.fault = fmt.Sprintf("base64 text has %q at octet %d, which is of the URL-safe alphabet; use the standard one with + and /", c, b.seen)
		return
	}
	b.fault = fmt.Sprintf("base64 text has %q at octet %d, which is not of its alphabet", c, b.seen)
}

// add takes one character and decodes the group that it completes.
func (b *base64Sink) add(c byte) error {
	b.chars++
	b.group[b.have] = c
	if b.have++; b.have < len(b.group) {
		return nil
	}
	b.have = 0
	return b.decode(b.group[:])
}

// decode decodes whole groups.
func (b *base64Sink) decode(p []byte) error {
	if b.out == nil {
		b.out = make([]byte, base64Block/4*3+32) // the SIMD decoder writes whole registers
	}
	n, err := base64.StdEncoding.Decode(b.out, p)
	if err != nil {
		b.fault = fmt.Sprintf("base64 text cannot be decoded at octet %d", b.seen)
		return nil
	}
	return b.to.put(b.out[:n])
}

// finish gives what is wrong with the text as a whole; an empty code: nothing.
func (b *base64Sink) finish() (code mail.FaultCode, detail string) {
	switch {
	case b.fault != "":
		return mail.CodeInvalidBase64, b.fault
	case b.chars == 0:
		return mail.CodeRequired, "attachment has no content; give its octets as base64"
	case b.have != 0:
		return mail.CodeInvalidBase64, fmt.Sprintf("base64 text has %d characters, not a multiple of 4; it is cut off or its = padding is missing", b.chars)
	}
	return "", ""
}
