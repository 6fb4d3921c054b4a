package mail

import (
	"encoding/base64"
	"strings"
)

// phraseWords puts the words of a display name together. Words are joined by
// one space, except that nothing comes between adjacent encoded words (RFC
// 2047 §6.2).
type phraseWords struct {
	name    strings.Builder
	any     bool     // a word was written
	charset string   // of the encoded words in raw; "": there are none
	raw     []byte   // octets of adjacent encoded words of one charset
	source  []string // these words as they were written
}

// plain adds a word that means itself.
func (w *phraseWords) plain(s string) {
	w.flush()
	w.space()
	w.name.WriteString(strings.ReplaceAll(s, "\t", " "))
}

// atom adds a word that may be an encoded word.
func (w *phraseWords) atom(s string) {
	charset, raw, ok := decodeWord(s)
	if !ok {
		w.plain(s)
		return
	}
	// Many programs split a character between two words. Octets of the same
	// charset are put together before they are read, so that it still comes
	// out whole.
	if w.charset != "" && !strings.EqualFold(w.charset, charset) {
		w.flushJoined()
	} else if w.charset == "" {
		w.space()
	}
	w.charset = charset
	w.raw = append(w.raw, raw...)
	w.source = append(w.source, s)
}

// space separates the next word from those before it.
func (w *phraseWords) space() {
	if w.any {
		w.name.WriteByte(' ')
	}
	w.any = true
}

// flush ends a run of encoded words.
func (w *phraseWords) flush() {
	if w.charset != "" {
		w.flushJoined()
		w.charset = ""
	}
}

// flushJoined writes what the run of encoded words means; if its charset is
// unknown, the words themselves, as RFC 2047 §6.2 allows.
func (w *phraseWords) flushJoined() {
	text, ok := charsetText(w.charset, w.raw)
	if !ok {
		text = strings.Join(w.source, " ")
	}
	w.name.WriteString(text)
	w.raw, w.source = w.raw[:0], w.source[:0]
}

// String gives the display name.
func (w *phraseWords) String() string {
	w.flush()
	return w.name.String()
}

// charsetText gives octets of a charset as UTF-8.
func charsetText(charset string, raw []byte) (string, bool) {
	enc, f := charsetEncoding(charset)
	if f != nil {
		return "", false
	}
	if enc != nil {
		var err error
		if raw, err = enc.NewDecoder().Bytes(raw); err != nil {
			return "", false
		}
	}
	return strings.ToValidUTF8(string(raw), "\ufffd"), true
}

// decodeWord takes an encoded word apart: =?charset?B?text?= or
// =?charset*language?Q?text?= (RFC 2047 §2, RFC 2231 §5).
func decodeWord(s string) (charset string, raw []byte, ok bool) {
	body, found := strings.CutPrefix(s, "=?")
	if !found {
		return "", nil, false
	}
	if body, found = strings.CutSuffix(body, "?="); !found {
		return "", nil, false
	}
	parts := strings.Split(body, "?")
	if len(parts) != 3 {
		return "", nil, false
	}
	charset, _, _ = strings.Cut(parts[0], "*")
	if charset == "" {
		return "", nil, false
	}
	switch parts[1] {
	case "B", "b":
		raw, err := base64.StdEncoding.DecodeString(parts[2])
		return charset, raw, err == nil
	case "Q", "q":
		raw, ok := decodeQ(parts[2])
		return charset, raw, ok
	}
	return "", nil, false
}

// decodeQ decodes the Q encoding, RFC 2047 §4.2.
func decodeQ(s string) ([]byte, bool) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '_':
			out = append(out, ' ')
		case '=':
			if i+2 >= len(s) {
				return nil, false
			}
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi < 0 || lo < 0 {
				return nil, false
			}
			out = append(out, byte(hi<<4|lo))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return out, true
}

// unhex is the value of a hexadecimal digit, -1 if it is none.
func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
