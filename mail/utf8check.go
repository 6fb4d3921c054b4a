package mail

import (
	"math/bits"
	"unicode/utf8"
)

// utf8Check tells whether a text that comes in pieces is UTF-8. The zero value
// is ready.
type utf8Check struct {
	invalid bool
	kept    int // octets of a character that the last piece did not finish
	char    [utf8.UTFMax]byte
}

// add looks at the next piece.
func (c *utf8Check) add(p []byte) {
	for c.kept > 0 && len(p) > 0 {
		c.char[c.kept] = p[0]
		c.kept++
		p = p[1:]
		if utf8.FullRune(c.char[:c.kept]) {
			c.invalid = c.invalid || !utf8.Valid(c.char[:c.kept])
			c.kept = 0
		}
	}
	end := len(p)
	for i := 1; i < utf8.UTFMax && i <= len(p); i++ {
		if b := p[len(p)-i]; utf8.RuneStart(b) {
			if !utf8.FullRune(p[len(p)-i:]) {
				end = len(p) - i
			}
			break
		}
	}
	c.invalid = c.invalid || !validUTF8(p[:end])
	if end < len(p) {
		c.kept = copy(c.char[:], p[end:])
	}
}

// valid reports whether all that was added is UTF-8 with no character cut off.
func (c *utf8Check) valid() bool { return !c.invalid && c.kept == 0 }

// validUTF8 is utf8.ValidString for text as people write it. That function looks at
// words of eight octets only up to the first character beyond ASCII and at single
// octets from there on; this one goes back to words after each such character.
func validUTF8[T string | []byte](s T) bool {
	_, ok := highUTF8(s)
	return ok
}

// highUTF8 counts the octets over 127 on the way. The count is wrong if s is not
// UTF-8.
func highUTF8[T string | []byte](s T) (high int, valid bool) {
	i := 0
	for i < len(s) {
		if i+wordOctets <= len(s) {
			p := s[i : i+wordOctets]
			x := uint64(p[0]) | uint64(p[1])<<8 | uint64(p[2])<<16 | uint64(p[3])<<24 |
				uint64(p[4])<<32 | uint64(p[5])<<40 | uint64(p[6])<<48 | uint64(p[7])<<56
			if x &= highBits; x == 0 {
				i += wordOctets
				continue
			}
			i += bits.TrailingZeros64(x) / 8
		} else if s[i] < utf8.RuneSelf {
			i++
			continue
		}
		// Two octets are what most of these characters have.
		if c := s[i]; c >= 0xc2 && c < 0xe0 && i+1 < len(s) && s[i+1]&0xc0 == 0x80 {
			i, high = i+2, high+2
			continue
		}
		r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		if r == utf8.RuneError && n == 1 {
			return high, false
		}
		i, high = i+n, high+n
	}
	return high, true
}
