package submission

import (
	"fmt"
	"strings"
)

// maxKeyOctets bounds an idempotency key: longer ones are not keys.
const maxKeyOctets = 256

// KeyError says what is wrong with an Idempotency-Key.
type KeyError struct{ Reason string }

// Error gives the reason.
func (e *KeyError) Error() string { return "submission: idempotency key: " + e.Reason }

// ParseIdempotencyKey reads the values of the header field Idempotency-Key: a structured-field string (RFC 9651
// §3.3.3), as the draft wants it, or the same bare, as programs send it. Both are the same key. It is empty if there is
// no field. The error is a *KeyError.
func ParseIdempotencyKey(values []string) (string, error) {
	switch len(values) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", &KeyError{"the header field is given twice; give it once"}
	}
	text := strings.TrimSpace(values[0])
	key := text
	if strings.HasPrefix(text, `"`) {
		var ok bool
		if key, ok = unquote(text); !ok {
			return "", &KeyError{"it begins like a quoted string and is none"}
		}
	}
	switch {
	case key == "":
		return "", &KeyError{"it is empty"}
	case len(key) > maxKeyOctets:
		return "", &KeyError{fmt.Sprintf("it has %d characters; at most %d are allowed", len(key), maxKeyOctets)}
	case strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }):
		return "", &KeyError{"it has characters other than printable ASCII"}
	}
	return key, nil
}

// unquote reads a structured-field string. Parameters behind it have no meaning here.
func unquote(text string) (string, bool) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; c {
		case '\\':
			if i++; i == len(text) || text[i] != '"' && text[i] != '\\' {
				return "", false
			}
			b.WriteByte(text[i])
		case '"':
			rest := strings.TrimLeft(text[i+1:], " ")
			return b.String(), rest == "" || rest[0] == ';'
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}
