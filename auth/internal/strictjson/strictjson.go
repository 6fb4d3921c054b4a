// Package strictjson reads one JSON object the way a verifier of tokens must: names match exactly, a name stands at
// most once in its object at every depth, the text is valid UTF-8, and depth and number of members are bounded. It
// does not decode into structs, because encoding/json matches names without regard to case and lets the last
// duplicate win (RFC 8259 §4 leaves both open; RFC 7519 §4 asks for unique claim names). Package auth calls it for
// the header and the claims of a token and for key sets.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// Bounds on what a peer can make us walk. A token of an identity provider has some thirty claims, two levels deep.
const (
	maxDepth   = 16
	maxMembers = 128
)

// The ways in which an object can be refused.
var (
	ErrSyntax    = errors.New("not one JSON object in valid UTF-8")
	ErrDuplicate = errors.New("a member stands twice in one object")
	ErrTooDeep   = errors.New("nested too deeply")
	ErrTooMany   = errors.New("too many members in one object")
)

// Member is one name and the JSON text of its value. Both are parts of the text that was read.
type Member struct {
	Name  []byte // unescaped
	Value []byte // as written, without white space around it
}

// Members are the members of one object in the order of the text.
type Members []Member

// Get returns the JSON text of the member with exactly this name.
func (m Members) Get(name string) (value []byte, ok bool) {
	for i := range m {
		if string(m[i].Name) == name {
			return m[i].Value, true
		}
	}
	return nil, false
}

// Object reads data, which must hold one object and nothing else but white space. The members refer to data.
func Object(data []byte) (Members, error) {
	// The walker below relies on the grammar having been checked, and so stays small.
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, ErrSyntax
	}
	w := walker{data: data}
	w.space()
	if w.data[w.at] != '{' {
		return nil, ErrSyntax
	}
	members := make(Members, 0, 12)
	return w.object(members, 1)
}

// walker steps through text that json.Valid has accepted.
type walker struct {
	data []byte
	at   int
}

func (w *walker) space() {
	for w.at < len(w.data) {
		switch w.data[w.at] {
		case ' ', '\t', '\n', '\r':
			w.at++
		default:
			return
		}
	}
}

// object appends the members of the object that begins here and steps behind it.
func (w *walker) object(members Members, depth int) (Members, error) {
	if depth > maxDepth {
		return nil, ErrTooDeep
	}
	w.at++ // {
	for {
		w.space()
		switch w.data[w.at] {
		case '}':
			w.at++
			return members, nil
		case ',':
			w.at++
			continue
		}
		if len(members) == maxMembers {
			return nil, ErrTooMany
		}
		name, err := w.name()
		if err != nil {
			return nil, err
		}
		if _, twice := members.Get(string(name)); twice {
			return nil, ErrDuplicate
		}
		w.space()
		w.at++ // :
		w.space()
		start := w.at
		if err := w.value(depth); err != nil {
			return nil, err
		}
		members = append(members, Member{Name: name, Value: w.data[start:w.at]})
	}
}

// value steps over one value and refuses duplicates within it.
func (w *walker) value(depth int) error {
	switch w.data[w.at] {
	case '"':
		w.text()
	case '{':
		_, err := w.object(nil, depth+1)
		return err
	case '[':
		return w.array(depth + 1)
	default: // a number, true, false, null
		for w.at < len(w.data) && !endsScalar(w.data[w.at]) {
			w.at++
		}
	}
	return nil
}

func endsScalar(c byte) bool {
	switch c {
	case ',', ']', '}', ' ', '\t', '\n', '\r':
		return true
	}
	return false
}

func (w *walker) array(depth int) error {
	if depth > maxDepth {
		return ErrTooDeep
	}
	w.at++ // [
	for {
		w.space()
		switch w.data[w.at] {
		case ']':
			w.at++
			return nil
		case ',':
			w.at++
			continue
		}
		if err := w.value(depth); err != nil {
			return err
		}
	}
}

// text steps over a string and returns it with its quotes.
func (w *walker) text() []byte {
	start := w.at
	w.at++
	for w.data[w.at] != '"' {
		if w.data[w.at] == '\\' {
			w.at++
		}
		w.at++
	}
	w.at++
	return w.data[start:w.at]
}

// name reads a member's name, unescaped: "role" and "\u0072ole" are one name.
func (w *walker) name() ([]byte, error) {
	quoted := w.text()
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	name, ok := String(quoted)
	if !ok {
		return nil, ErrSyntax
	}
	return []byte(name), nil
}

// String returns the text of a JSON string; ok is false if value is anything else.
func String(value []byte) (s string, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1]), true
	}
	if err := json.Unmarshal(value, &s); err != nil {
		return "", false
	}
	return s, true
}

// Strings returns the elements of a JSON array of strings; ok is false if value is anything else.
func Strings(value []byte) (list []string, ok bool) {
	if len(value) < 2 || value[0] != '[' {
		return nil, false
	}
	var elements []any // a []string would take null for ""
	if err := json.Unmarshal(value, &elements); err != nil {
		return nil, false
	}
	for _, e := range elements {
		s, isString := e.(string)
		if !isString {
			return nil, false
		}
		list = append(list, s)
	}
	return list, true
}

// MaxSeconds is the last second of the year 9999, the last that RFC 3339 can write.
const MaxSeconds = 253402300799

// Seconds returns a NumericDate (RFC 7519 §2) in whole seconds, fractions cut off. ok is false unless value is a
// JSON number written with plain digits from 0 to MaxSeconds: no sign and no exponent, since no issuer writes
// them and every parser reads them differently.
func Seconds(value []byte) (seconds int64, ok bool) {
	whole, fraction, _ := bytes.Cut(value, []byte{'.'})
	if len(whole) == 0 || len(whole) > 12 || len(fraction) > 9 {
		return 0, false
	}
	for _, part := range [][]byte{whole, fraction} {
		for _, c := range part {
			if c < '0' || c > '9' {
				return 0, false
			}
		}
	}
	seconds, err := strconv.ParseInt(string(whole), 10, 64)
	if err != nil || seconds > MaxSeconds {
		return 0, false
	}
	return seconds, true
}
