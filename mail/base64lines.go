package mail

import (
	"slices"

	"github.com/segmentio/asm/base64"
)

// A line of base64 holds 57 octets in 76 characters, RFC 2045 §6.8.
const (
	lineOctets = 57
	lineChars  = 76
)

// base64Lines encodes octets as lines of base64 with CRLF between them, none
// after the last. It encodes a block at once with vector instructions and then
// cuts the block into lines: more than twice as fast as line by line.
type base64Lines struct {
	begun   bool // a line stands in the output already
	pending int
	partial [lineOctets]byte // the octets of a line not yet full
	chars   []byte           // one block, not yet cut
}

// base64Block is the number of lines encoded at once: small enough to stay in
// a core's own cache on its way through.
const base64Block = 448

// append encodes p behind out.
func (e *base64Lines) append(out, p []byte) []byte {
	if e.pending > 0 {
		n := copy(e.partial[e.pending:], p)
		e.pending += n
		p = p[n:]
		if e.pending < lineOctets {
			return out
		}
		e.pending = 0
		out = e.lines(out, e.partial[:])
	}
	for len(p) >= lineOctets {
		n := min(len(p)/lineOctets, base64Block) * lineOctets
		out = e.lines(out, p[:n])
		p = p[n:]
	}
	e.pending = copy(e.partial[:], p)
	return out
}

// finish encodes what is left.
func (e *base64Lines) finish(out []byte) []byte {
	if e.pending == 0 {
		return out
	}
	if e.begun {
		out = append(out, "\r\n"...)
	}
	n := base64.StdEncoding.EncodedLen(e.pending)
	out = slices.Grow(out, n)
	base64.StdEncoding.Encode(out[len(out):len(out)+n], e.partial[:e.pending])
	e.pending = 0
	return out[:len(out)+n]
}

// lines encodes whole lines.
func (e *base64Lines) lines(out, p []byte) []byte {
	count := len(p) / lineOctets
	need := count * lineChars
	if cap(e.chars) < need {
		e.chars = make([]byte, need)
	}
	chars := e.chars[:need]
	base64.StdEncoding.Encode(chars, p)
	if !e.begun {
		e.begun = true
		out = append(out, chars[:lineChars]...)
		chars = chars[lineChars:]
		count--
	}
	const step = lineChars + 2
	start := len(out)
	out = slices.Grow(out, count*step)[:start+count*step]
	for to := out[start:]; len(to) >= step; to, chars = to[step:], chars[lineChars:] {
		to[0], to[1] = '\r', '\n'
		// An array's assignment is a few moves; copy would be a call.
		*(*[lineChars]byte)(to[2:]) = *(*[lineChars]byte)(chars)
	}
	return out
}

// base64Size is the length that n octets have as lines of base64.
func base64Size(n int64) int64 {
	if n <= 0 {
		return 0
	}
	return (n+2)/3*4 + (n-1)/lineOctets*2
}
