package mail

import "unicode/utf8"

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
	c.invalid = c.invalid || !utf8.Valid(p[:end])
	if end < len(p) {
		c.kept = copy(c.char[:], p[end:])
	}
}

// valid reports whether all that was added is UTF-8 with no character cut off.
func (c *utf8Check) valid() bool { return !c.invalid && c.kept == 0 }
