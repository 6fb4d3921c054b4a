package mail

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// An encoded-word is at most 75 octets (RFC 2047 §2), twelve of which are its
// frame "=?utf-8?q?" and "?=".
const (
	maxWord   = 75
	wordFrame = len("=?utf-8?q??=")
	// minWord is the payload below which a word is not begun on a line that
	// has text already. It holds any one character in either encoding.
	minWord = 12
)

const upperHex = "0123456789ABCDEF"

// words appends s as encoded-words, one a line after the first, each holding
// whole characters only (RFC 2047 §5). lead stands directly before the first;
// reserve octets are kept free after the last. Octets that are not UTF-8 are
// sent as U+FFFD, since the words say that they hold UTF-8.
func (h *headerWriter) words(s, lead string, reserve int) {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	useB := base64.StdEncoding.EncodedLen(len(s)) < qLength(s)
	for s != "" {
		room := min(maxWord, wordLine-h.column()-len(lead)-reserve) - wordFrame
		if room < minWord && h.column() > 0 {
			h.fold()
			room = min(maxWord, wordLine-len(lead)-reserve) - wordFrame
		}
		h.buf = append(h.buf, lead...)
		if useB {
			s = h.bWord(s, room)
		} else {
			s = h.qWord(s, room)
		}
		h.first, h.limit = false, wordLine
		if s != "" {
			h.fold()
			lead = " "
		}
	}
}

// qWord appends one word in the Q encoding and gives what is left of s.
func (h *headerWriter) qWord(s string, room int) (rest string) {
	h.buf = append(h.buf, "=?utf-8?q?"...)
	i := 0
	for i < len(s) {
		_, size := utf8.DecodeRuneInString(s[i:])
		width := 3 * size
		if size == 1 && (isQSafe(s[i]) || s[i] == ' ') {
			width = 1
		}
		if width > room {
			break
		}
		room -= width
		for range size {
			c := s[i]
			switch {
			case c == ' ':
				h.buf = append(h.buf, '_')
			case isQSafe(c):
				h.buf = append(h.buf, c)
			default:
				h.buf = append(h.buf, '=', upperHex[c>>4], upperHex[c&15])
			}
			i++
		}
	}
	h.buf = append(h.buf, "?="...)
	return s[i:]
}

// bWord appends one word in the B encoding and gives what is left of s.
func (h *headerWriter) bWord(s string, room int) (rest string) {
	var octets [maxWord]byte
	most := room / 4 * 3
	n := 0
	for n < len(s) {
		_, size := utf8.DecodeRuneInString(s[n:])
		if n+size > most {
			break
		}
		n += size
	}
	h.buf = append(h.buf, "=?utf-8?b?"...)
	h.buf = base64.StdEncoding.AppendEncode(h.buf, octets[:copy(octets[:], s[:n])])
	h.buf = append(h.buf, "?="...)
	return s[n:]
}

// qLength is the length of s in the Q encoding, without frames.
func qLength(s string) int {
	n := len(s)
	for i := range len(s) {
		if !isQSafe(s[i]) && s[i] != ' ' {
			n += 2
		}
	}
	return n
}

// isQSafe reports whether c stands for itself in the Q encoding. It is the
// set for phrases (RFC 2047 §5 (3)), used everywhere: it costs a few octets in
// a subject and is right in each place.
func isQSafe(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '!' || c == '*' || c == '+' || c == '-' || c == '/'
}
