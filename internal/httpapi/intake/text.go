package intake

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// sink takes the text of a string piece by piece. A piece is whole UTF-8 and holds during the call only. An error
// is final; what is wrong with the text itself a sink keeps to itself until it is asked.
type sink interface{ put(p []byte) error }

// nowhere lets go of everything.
type nowhere struct{}

func (nowhere) put([]byte) error { return nil }

// memorySink gathers a text of limited length.
type memorySink struct {
	p     []byte
	limit int
	over  bool // the text was longer
}

func (m *memorySink) put(p []byte) error {
	if m.over || len(p) > m.limit-len(m.p) {
		m.over = true
		return nil
	}
	m.p = append(m.p, p...)
	return nil
}

// at says where in the input something stands.
func at(offset int64) string { return fmt.Sprintf(" (at octet %d)", offset) }

// Faults of a text that is JSON by its grammar.
const (
	notUTF8       = "octets that are not UTF-8"
	loneSurrogate = "half of a surrogate pair, which is no character"
)

// text reads a string, which begins with the next octet, into to. What is wrong with its characters is kept in
// badText; the string has then been read to its end.
func (s *scanner) text(to sink) error {
	s.pos++
	s.badText = ""
	for {
		if s.pos == s.end {
			if s.ended {
				return s.cutOff()
			}
			if err := s.fill(); err != nil {
				return err
			}
			continue
		}
		window := s.buf[s.pos:s.end]
		n := specialIndex(window)
		if n == len(window) && !s.ended {
			// The last character may have more octets to come.
			if n -= unfinished(window); n == 0 {
				if err := s.fill(); err != nil {
					return err
				}
				continue
			}
		}
		if n > 0 {
			if piece := window[:n]; !utf8.Valid(piece) {
				s.badText = notUTF8
			} else if err := to.put(piece); err != nil {
				return err
			}
			s.pos += n
			continue
		}
		switch c := window[0]; c {
		case '"':
			s.pos++
			return nil
		case '\\':
			s.pos++
			if err := s.escape(to); err != nil {
				return err
			}
		default:
			return s.syntax("a string has the control character %q; write it as an escape", c)
		}
	}
}

// escape reads one escape, or two that are a surrogate pair, past the backslash.
func (s *scanner) escape(to sink) error {
	c, ok, err := s.next()
	switch {
	case err != nil:
		return err
	case !ok:
		return s.cutOff()
	}
	char := s.char[:]
	switch c {
	case '"', '\\', '/':
		char[0] = c
	case 'b':
		char[0] = '\b'
	case 'f':
		char[0] = '\f'
	case 'n':
		char[0] = '\n'
	case 'r':
		char[0] = '\r'
	case 't':
		char[0] = '\t'
	case 'u':
		r, err := s.unicode()
		if err != nil {
			return err
		}
		if r < 0 {
			s.badText = loneSurrogate
			return nil
		}
		return to.put(char[:utf8.EncodeRune(char, r)])
	default:
		s.pos--
		return s.syntax("a string has the escape \\%s, which JSON does not know", string(rune(c)))
	}
	return to.put(char[:1])
}

// unicode reads the digits of \u, and of a second \u that makes a pair with it. It gives -1 for half a pair.
func (s *scanner) unicode() (rune, error) {
	r, err := s.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	// Another escape is taken only if it is a \u: it belongs to this one, or is as wrong.
	for s.end-s.pos < 2 && !s.ended {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	if s.end-s.pos < 2 || s.buf[s.pos] != '\\' || s.buf[s.pos+1] != 'u' {
		return -1, nil
	}
	s.pos += 2
	low, err := s.hex4()
	if err != nil {
		return 0, err
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return -1, nil
	}
	return r, nil
}

// hex4 reads four hexadecimal digits.
func (s *scanner) hex4() (rune, error) {
	var r rune
	for range 4 {
		c, ok, err := s.next()
		switch {
		case err != nil:
			return 0, err
		case !ok:
			return 0, s.cutOff()
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			s.pos--
			return 0, s.syntax("a string has the escape \\u without four hexadecimal digits")
		}
	}
	return r, nil
}

// unfinished is how many octets at the end of p begin a character whose rest may follow.
func unfinished(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if c := p[len(p)-n]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(p[len(p)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}

// specialIndex is where the first quote, backslash or control character stands in p; len(p) if there is none.
// Eight octets are looked at together, since bodies of 100 MB pass through here.
func specialIndex(p []byte) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	i := 0
	for ; i+8 <= len(p); i += 8 {
		w := binary.LittleEndian.Uint64(p[i:])
		quote, slash := w^ones*'"', w^ones*'\\'
		// The lowest octet flagged is flagged rightly: borrows run upwards only.
		if found := ((w-ones*' ')&^w | (quote-ones)&^quote | (slash-ones)&^slash) & highs; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(p); i++ {
		if c := p[i]; c < ' ' || c == '"' || c == '\\' {
			return i
		}
	}
	return i
}
