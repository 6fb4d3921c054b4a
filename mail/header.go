package mail

import (
	"strings"
)

// The three line lengths of the header, in octets without CRLF.
const (
	softLine = 78  // RFC 5322 §2.1.1: lines SHOULD be no longer
	wordLine = 76  // RFC 2047 §2: a line with an encoded-word is no longer
	hardLine = 998 // RFC 5322 §2.1.1: lines MUST be no longer
)

// headerWriter appends header fields to a buffer and folds them on the way.
// Everything that becomes part of a header goes through it, and nothing in it
// copies a CR, a LF or another control character from a value to the buffer:
// text is encoded, everything else refused. So no value can begin a line of
// its own, whatever validation has let through.
type headerWriter struct {
	buf   []byte
	line  int    // where the current line begins in buf
	limit int    // soft limit of the current line
	first bool   // nothing stands after the field's colon yet
	name  string // the field being written
	long  string // a field with a line over hardLine, "" if none
	unfit string // a field with an octet that may not stand in it, "" if none
}

// begin starts a field.
func (h *headerWriter) begin(name string) {
	h.line, h.limit, h.first, h.name = len(h.buf), softLine, true, name
	h.raw(name)
	h.buf = append(h.buf, ':')
}

// raw appends s, which validation has found fit to stand as it is. Should it
// not be, because validation missed something, then the field is remembered
// and composition fails: no octet reaches a line that could begin another.
func (h *headerWriter) raw(s string) {
	if countControl(octets(s)) > 0 {
		h.unfit = h.name
		return
	}
	h.buf = append(h.buf, s...)
}

// end closes the field.
func (h *headerWriter) end() {
	h.checkLine()
	h.buf = append(h.buf, "\r\n"...)
}

// fold ends the line; what follows must begin with a space.
func (h *headerWriter) fold() {
	h.checkLine()
	h.buf = append(h.buf, "\r\n"...)
	h.line, h.limit, h.first = len(h.buf), softLine, false
}

// checkLine remembers a field with a line that may not be sent. Callers keep
// unbreakable things short; this net catches what validation was told to let
// pass by a limit of -1.
func (h *headerWriter) checkLine() {
	if len(h.buf)-h.line > hardLine {
		h.long = h.name
	}
}

// column is the length of the current line so far.
func (h *headerWriter) column() int { return len(h.buf) - h.line }

// room makes sure that n octets with the space before them fit on the line, by
// folding first if that helps. Directly after the field's name it helps only
// if they then fit: some readers dislike a field that begins with a fold.
func (h *headerWriter) room(n int) {
	over := h.column() + 1 + n
	if over > h.limit && (!h.first || 1+n <= softLine || over > hardLine) {
		h.fold()
	}
}

// token appends a space and the three strings as one unbreakable piece.
func (h *headerWriter) token(before, s, after string) {
	h.room(len(before) + len(s) + len(after))
	h.buf = append(h.buf, ' ')
	h.raw(before)
	h.raw(s)
	h.raw(after)
	h.first = false
}

// fixed writes a field whose value is ours: printable ASCII that needs no
// encoding.
func (h *headerWriter) fixed(name, value string) {
	h.begin(name)
	h.token("", value, "")
	h.end()
}

// unstructured writes a field of free text, RFC 5322 §2.2.1.
func (h *headerWriter) unstructured(name, value string) {
	h.begin(name)
	h.text(value)
	h.end()
}

// text appends free text: plain where it can be, encoded from the first to the
// last word that cannot (RFC 2047 §5 (1)).
func (h *headerWriter) text(s string) {
	if s == "" {
		h.buf = append(h.buf, ' ')
		return
	}
	if strings.IndexByte(s, '\t') >= 0 {
		// A tab is white space that some relays change; it means a space.
		s = strings.ReplaceAll(s, "\t", " ")
	}
	from, to := encodedSpan(s)
	if from == to {
		h.plain(s)
		return
	}
	h.plain(s[:from])
	h.words(s[from:to], " ", 0)
	if to < len(s) {
		h.plain(s[to+1:])
	}
}

// plain appends printable ASCII, folded at its single spaces.
func (h *headerWriter) plain(s string) {
	if n := len(s); n > 0 && s[n-1] == ' ' {
		s = s[:n-1] // the space before an encoded span, written with that
	}
	if s != "" && h.column()+1+len(s) <= h.limit {
		h.token("", s, "")
		return
	}
	for s != "" {
		var word string
		word, s = cutWord(s)
		h.token("", word, "")
	}
}

// cutWord cuts s at its first single space. Runs of spaces stay inside a word:
// readers disagree on what is left of them when a line is folded there.
func cutWord(s string) (word, rest string) {
	for i := 1; i+1 < len(s); i++ {
		if s[i] == ' ' && s[i-1] != ' ' && s[i+1] != ' ' {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// longWord is the length from which an ASCII word without spaces is encoded so
// that it can be folded. It leaves room for the field's name on the line.
const longWord = 900

// encodedSpan finds the part of s, from the first to the last word that cannot
// stand as it is. Both ends are at a single space or at an end of s.
func encodedSpan(s string) (from, to int) {
	if isPlain(s) && len(s) <= longWord {
		return 0, 0
	}
	from = -1
	for at := 0; at < len(s); {
		word, rest := cutWord(s[at:])
		if len(word) > longWord || !isPlain(word) {
			if from < 0 {
				from = at
			}
			to = at + len(word)
		}
		at = len(s) - len(rest)
		if rest == "" {
			break
		}
	}
	if from < 0 {
		return 0, 0
	}
	return from, to
}

// isPlain reports whether s may stand in free text as it is: printable ASCII
// that does not look like an encoded-word and has no white space at its ends,
// which readers would strip.
func isPlain(s string) bool {
	if s == "" {
		return true
	}
	if s[0] == ' ' || s[len(s)-1] == ' ' {
		return false
	}
	return isPrintable(s) && !strings.Contains(s, "=?")
}

// isPrintable reports whether s is ASCII without control characters.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
