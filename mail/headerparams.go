package mail

import (
	"maps"
	"mime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxParameter is the longest value written as one token or quoted-string. A
// longer one is written in RFC 2231 pieces.
const maxParameter = 58

// parameter appends "; name=value" to a MIME field: a token, a quoted-string,
// or the extended form of RFC 2231 where it is not short ASCII.
func (h *headerWriter) parameter(name, value string) {
	h.buf = append(h.buf, ';')
	switch {
	case !fitsQuoted(value):
		h.extended(name, value)
	case isToken(value) && name != "filename" && name != "name":
		h.token(name, "=", value)
	default: // file names always in quotes, since old filters look for them
		h.room(len(name) + 3 + len(value) + strings.Count(value, `"`) + strings.Count(value, `\`))
		h.buf = append(h.buf, ' ')
		h.buf = append(h.buf, name...)
		h.buf = append(h.buf, '=')
		h.buf = appendQuoted(h.buf, value)
	}
}

// fitsQuoted reports whether a value is written as it is. One that looks like
// an encoded-word is not: readers decode those even here, against RFC 2047 §5.
func fitsQuoted(value string) bool {
	return len(value) <= maxParameter && isPrintable(value) && !strings.Contains(value, "=?")
}

// fallback appends the parameter for readers that do not know RFC 2231: the
// value as encoded-words inside a quoted-string. RFC 2047 §5 does not allow
// that place, but it is what old readers look for and new ones ignore.
func (h *headerWriter) fallback(name, value string) {
	if fitsQuoted(value) {
		h.parameter(name, value)
		return
	}
	h.buf = append(h.buf, ';')
	if h.column() > 0 {
		h.fold()
	}
	h.words(value, " "+name+`="`, len(`";`))
	h.buf = append(h.buf, '"')
}

// extended appends a parameter value as RFC 2231 §4 says, in pieces (§3) where
// one line does not hold it. A piece holds whole characters.
func (h *headerWriter) extended(name, value string) {
	if !utf8.ValidString(value) {
		value = strings.ToValidUTF8(value, "\uFFFD")
	}
	const charset = "utf-8''"
	if n := len(name) + len("*=") + len(charset) + extendedLength(value); n+len(" ;") <= softLine {
		h.room(n + 1)
		h.buf = append(h.buf, ' ')
		h.buf = append(h.buf, name...)
		h.buf = append(h.buf, "*="+charset...)
		h.buf, _ = appendExtended(h.buf, value, len(h.buf)+3*len(value))
		return
	}
	for piece := 0; value != ""; piece++ {
		if piece > 0 {
			h.buf = append(h.buf, ';')
		}
		h.fold()
		h.buf = append(h.buf, ' ')
		h.buf = append(h.buf, name...)
		h.buf = append(h.buf, '*')
		h.buf = strconv.AppendInt(h.buf, int64(piece), 10)
		h.buf = append(h.buf, "*="...)
		if piece == 0 {
			h.buf = append(h.buf, charset...)
		}
		h.buf, value = appendExtended(h.buf, value, h.line+softLine-1)
	}
}

// appendExtended appends characters of s, percent-encoded, while the buffer is
// no longer than end, and gives what is left. It appends at least one.
func appendExtended(buf []byte, s string, end int) (grown []byte, rest string) {
	for i := 0; i < len(s); {
		_, size := utf8.DecodeRuneInString(s[i:])
		width := 3 * size
		if size == 1 && isAttribute(s[i]) {
			width = 1
		}
		if i > 0 && len(buf)+width > end {
			return buf, s[i:]
		}
		for range size {
			c := s[i]
			if isAttribute(c) {
				buf = append(buf, c)
			} else {
				buf = append(buf, '%', upperHex[c>>4], upperHex[c&15])
			}
			i++
		}
	}
	return buf, ""
}

// extendedLength is the length of s percent-encoded.
func extendedLength(s string) int {
	n := len(s)
	for i := range len(s) {
		if !isAttribute(s[i]) {
			n += 2
		}
	}
	return n
}

// isToken reports whether s is a token of RFC 2045 §5.1.
func isToken(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || strings.IndexByte(`()<>@,;:\"/[]?=`, s[i]) >= 0 {
			return false
		}
	}
	return s != ""
}

// isAttribute reports whether c is an attribute-char of RFC 2231 §7.
func isAttribute(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("!#$&+-.^_`{|}~", c) >= 0
}

// mediaType writes Content-Type for a type that the caller gave, with its
// parameters in a fixed order, and the file name where there is one.
func (h *headerWriter) mediaType(value, filename string) {
	h.begin("Content-Type")
	kind, params := splitMediaType(value)
	h.token("", kind, "")
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if name != "name" || filename == "" {
			h.parameter(name, params[name])
		}
	}
	if filename != "" {
		h.fallback("name", filename)
	}
	h.end()
}

// splitMediaType gives type and parameters. What is not a media type is sent
// as octets without a meaning, RFC 2045 §5.2 and RFC 2046 §4.5.1.
func splitMediaType(value string) (kind string, params map[string]string) {
	if t, sub, ok := strings.Cut(value, "/"); ok && isToken(t) && isToken(sub) {
		return value, nil
	}
	kind, params, err := mime.ParseMediaType(value)
	if t, sub, ok := strings.Cut(kind, "/"); err != nil || !ok || !isToken(t) || !isToken(sub) {
		return octetStream, nil
	}
	return kind, params
}

// octetStream is the media type of content that nothing is known about.
const octetStream = "application/octet-stream"

// disposition writes Content-Disposition, RFC 2183. The file name stands here
// once, in the form of RFC 2231 where it is not short ASCII; a second, plain
// filename parameter beside filename* would be taken by readers that use the
// first of two (Python's email is one) and lose the real name. Old readers
// that know no RFC 2231 find the name in Content-Type, see fallback.
func (h *headerWriter) disposition(kind, filename string) {
	h.begin("Content-Disposition")
	h.token("", kind, "")
	if filename != "" {
		h.parameter("filename", filename)
	}
	h.end()
}
