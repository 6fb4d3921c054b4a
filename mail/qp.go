package mail

import (
	"encoding/binary"
	"math/bits"
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
				out = append(out, "\r\n"...)
				e.line = len(out)
			}
			e.cr = c == '\r'
			p = p[1:]
			continue
		}
		e.cr = false
		column := len(out) - e.line
		n := plainRun(p[:min(len(p), qpLine-column)])
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
			out = append(out, p[:n]...)
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

// plainRun is the length of the longest prefix of p that quoted-printable
// leaves alone: printable ASCII and spaces, no "=". Eight octets at a time.
func plainRun(p []byte) int {
	n := 0
	for ; n+8 <= len(p); n += 8 {
		x := binary.LittleEndian.Uint64(p[n:])
		equals := x ^ '='*lowBits
		del := x ^ 0x7f*lowBits
		// In each octet the high bit is set if it is over 0x7f, under 0x20,
		// "=" or DEL. A borrow may set bits above the lowest one that is
		// rightly set, never below.
		if odd := (x | (x-' '*lowBits)&^x | (equals-lowBits)&^equals | (del-lowBits)&^del) & highBits; odd != 0 {
			return n + bits.TrailingZeros64(odd)/8
		}
	}
	for ; n < len(p); n++ {
		if c := p[n]; c < ' ' || c > '~' || c == '=' {
			return n
		}
	}
	return n
}
