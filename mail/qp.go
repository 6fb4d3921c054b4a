package mail

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// qpLine is the number of octets after which a line is broken softly. With the
// "=" of the break it makes the 76 of RFC 2045 §6.7 (5).
const qpLine = 75

// qpEncoder turns text into quoted-printable, RFC 2045 §6.7. Line ends of any
// kind become CRLF. The result does not depend on how the text is cut into
// pieces.
//
// It encodes more than the RFC demands in three places, since something
// between here and the reader is known to change them: white space at the end
// of a line, "From " at its beginning (mbox files) and "." there (servers that
// get dot-stuffing wrong).
type qpEncoder struct {
	line int  // where the current output line begins in the buffer
	cr   bool // the last octet was a CR; a LF now belongs to it
}

// append encodes p behind out. Only octets before e.line are final: the rest
// of the buffer must stay in place, or be moved and e.line with it.
func (e *qpEncoder) append(out, p []byte) []byte {
	for len(p) > 0 {
		c := p[0]
		if c == '\n' || c == '\r' {
			if c == '\r' || !e.cr {
				out = e.endLine(out)
				out = append(out, '\r', '\n')
				e.line = len(out)
			}
			e.cr = c == '\r'
			p = p[1:]
			continue
		}
		e.cr = false
		column := len(out) - e.line
		if len(p) >= wordOctets && e.ordinary(out, c) {
			before := len(out)
			var k int
			out, k = e.bulk(out, p)
			if k > 0 || len(out) > before { // it may only have broken the line
				p = p[k:]
				continue
			}
		}
		n := 0
		if limit := min(len(p), qpLine-column); limit > 0 {
			if cap(out)-len(out) < qpLine+wordOctets {
				out = slices.Grow(out, len(p)+len(p)/8+qpLine+wordOctets)
			}
			n = copyPlain(out[len(out):cap(out)], p, limit)
		}
		switch {
		case n > 0 && column == 0 && c == '.':
			out = append(out, "=2E"...)
			p = p[1:]
		case n > 0:
			if k := 4 - column; k >= 0 && k < n && p[k] == ' ' && e.beginsFrom(out, p[:k]) {
				out = append(out, p[:k]...)
				out = append(out, "=20"...)
				p = p[k+1:]
				continue
			}
			out = out[:len(out)+n] // copyPlain has put them there
			p = p[n:]
		case column == qpLine || c != '\t' && column+3 > qpLine:
			out = append(out, "=\r\n"...)
			e.line = len(out)
		case c == '\t':
			out = append(out, c)
			p = p[1:]
		default:
			out = append(out, '=', upperHex[c>>4], upperHex[c&15])
			p = p[1:]
		}
	}
	return out
}

// ordinary reports whether nothing special can come of where the line stands
// with c as the next octet: it does not begin with "." and not with "From ".
func (e *qpEncoder) ordinary(out []byte, c byte) bool {
	if len(out) > e.line {
		return len(out) > e.line+len("From") || out[e.line] != 'F'
	}
	return c != '.' && c != 'F'
}

// bulk does most of the work: it encodes as many octets of p as it can, which may
// be none, and gives their number. It stops where an octet is anything but
// text, "=" or a line end without white space before it, where a line begins
// like one that is special, and before the last octets of p.
func (e *qpEncoder) bulk(out, p []byte) (_ []byte, done int) {
	const room = 4 * qpLine // for one line
	if cap(out)-len(out) < room {
		out = slices.Grow(out, len(p)+len(p)/8+room)
	}
	o, w, i := out[:cap(out)], len(out), 0
	line := e.line
	for i+wordOctets <= len(p) {
		x := binary.LittleEndian.Uint64(p[i:])
		binary.LittleEndian.PutUint64(o[w:], x)
		odd := oddOctets(x)
		end := line + qpLine
		if odd == 0 && w+wordOctets <= end {
			i, w = i+wordOctets, w+wordOctets
			continue
		}
		n := min(bits.TrailingZeros64(odd)/8, end-w) // of zero there are 64
		i, w = i+n, w+n
		if n == wordOctets {
			continue
		}
		c := p[i]
		for w+3 <= end && (c >= utf8.RuneSelf || c == '=') {
			o[w], o[w+1], o[w+2] = '=', upperHex[c>>4], upperHex[c&15]
			w += 3
			if i++; i == len(p) {
				e.line = line
				return out[:w], i
			}
			c = p[i]
		}
		switch {
		case c == '\r' && i+1 < len(p) && p[i+1] == '\n' && w > line && o[w-1] > ' ':
			i += 2
			o[w], o[w+1] = '\r', '\n'
			w += 2
		case c == '\n' && w > line && o[w-1] > ' ':
			i++
			o[w], o[w+1] = '\r', '\n'
			w += 2
		case c < ' ' || c == 0x7f:
			e.line = line
			return out[:w], i
		case w == end || w+3 > end && (c >= utf8.RuneSelf || c == '='):
			o[w], o[w+1], o[w+2] = '=', '\r', '\n'
			w += 3
		default:
			continue
		}
		line = w
		if len(o)-w < room || i == len(p) || p[i] == '.' || p[i] == 'F' {
			break
		}
	}
	e.line = line
	return out[:w], i
}

// finish ends the text, which need not end with a line end.
func (e *qpEncoder) finish(out []byte) []byte { return e.endLine(out) }

// endLine encodes a white space that would end the line.
func (e *qpEncoder) endLine(out []byte) []byte {
	n := len(out)
	if n == e.line || out[n-1] != ' ' && out[n-1] != '\t' {
		return out
	}
	c := out[n-1]
	out = out[:n-1]
	if n-1-e.line+3 > qpLine+1 {
		out = append(out, "=\r\n"...)
		e.line = len(out)
	}
	return append(out, '=', upperHex[c>>4], upperHex[c&15])
}

// beginsFrom reports whether the output line will be "From" with more.
func (e *qpEncoder) beginsFrom(out, more []byte) bool {
	var head [4]byte
	n := copy(head[:], out[e.line:])
	copy(head[n:], more)
	return string(head[:]) == "From"
}

// lowBits and highBits hold a one in each octet of a word.
const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// wordOctets is how many octets are looked at together.
const wordOctets = 8

// oddOctets sets the high bit of each octet of x that quoted-printable does not
// leave alone: over 0x7f, under 0x20, "=" or DEL. Bits above the lowest one set
// mean nothing: a borrow or a carry may have set them. What else a difference or
// the sum marks is over 0x7f in x, and so is marked anyway.
func oddOctets(x uint64) uint64 {
	under, equals, del := x-' '*lowBits, (x^'='*lowBits)-lowBits, x+lowBits
	return (x | under | equals | del) & highBits
}

// copyPlain copies the longest prefix of src that quoted-printable leaves alone
// (printable ASCII and spaces, no "="), at most limit octets, to dst and gives
// its length. Looking and copying are one pass, eight octets at a time, so up to
// seven octets behind the prefix are written too: dst must have room for them.
func copyPlain(dst, src []byte, limit int) int {
	n := 0
	for n < limit && n+wordOctets <= len(src) {
		x := binary.LittleEndian.Uint64(src[n:])
		binary.LittleEndian.PutUint64(dst[n:], x)
		if odd := oddOctets(x); odd != 0 {
			return min(n+bits.TrailingZeros64(odd)/8, limit)
		}
		n += wordOctets
	}
	for ; n < limit && n < len(src); n++ {
		c := src[n]
		if c < ' ' || c > '~' || c == '=' {
			return n
		}
		dst[n] = c
	}
	return min(n, limit)
}
