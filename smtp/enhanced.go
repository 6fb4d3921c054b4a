package smtp

import (
	"fmt"
	"strconv"
)

// EnhancedCode is an enhanced mail system status code: class, subject and
// detail (RFC 3463 §2). The zero value means that the reply had none.
type EnhancedCode [3]int

// IsZero says whether there is no code.
func (e EnhancedCode) IsZero() bool { return e == EnhancedCode{} }

// String gives "5.1.1", or "" for the zero value.
func (e EnhancedCode) String() string {
	if e.IsZero() {
		return ""
	}
	b := make([]byte, 0, 11)
	b = strconv.AppendInt(b, int64(e[0]), 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(e[1]), 10)
	b = append(b, '.')
	return string(strconv.AppendInt(b, int64(e[2]), 10))
}

// MarshalText is [EnhancedCode.String]; the error is always nil.
func (e EnhancedCode) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText is [ParseEnhancedCode]; empty text gives the zero value. On an
// error the code is left as it was.
func (e *EnhancedCode) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*e = EnhancedCode{}
		return nil
	}
	p, err := ParseEnhancedCode(string(text))
	if err != nil {
		return err
	}
	*e = p
	return nil
}

// ParseEnhancedCode reads "5.1.1": class 2, 4 or 5, subject and detail of one
// to three digits without leading zeros (RFC 3463 §2). Anything else is an
// error that quotes s.
func ParseEnhancedCode(s string) (EnhancedCode, error) {
	e, n := enhancedPrefix(s)
	if n == 0 || n != len(s) {
		return EnhancedCode{}, fmt.Errorf("smtp: %q is not an enhanced status code like 5.1.1", s)
	}
	return e, nil
}

// enhancedPrefix reads the code that s begins with; n is its length, 0 if s
// begins with none. What follows must be a space or the end.
func enhancedPrefix(s string) (e EnhancedCode, n int) {
	if len(s) < 5 || s[1] != '.' || s[0] != '2' && s[0] != '4' && s[0] != '5' {
		return EnhancedCode{}, 0
	}
	e[0] = int(s[0] - '0')
	i := 2
	for part := 1; part <= 2; part++ {
		start, v := i, 0
		for i < len(s) && i-start < 3 && s[i] >= '0' && s[i] <= '9' {
			v = v*10 + int(s[i]-'0')
			i++
		}
		if i == start || s[start] == '0' && i-start > 1 {
			return EnhancedCode{}, 0
		}
		e[part] = v
		if part == 1 {
			if i >= len(s) || s[i] != '.' {
				return EnhancedCode{}, 0
			}
			i++
		}
	}
	if i < len(s) && s[i] != ' ' && s[i] != '\t' {
		return EnhancedCode{}, 0
	}
	return e, i
}
