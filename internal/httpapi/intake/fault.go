package intake

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/postrider/postrider/mail"
)

// Fault is one thing wrong with the shape of a request.
type Fault struct {
	// Pointer is the place in the body as a JSON Pointer (RFC 6901), such as "/to/2"; empty: the whole body. For a
	// form it is the pointer that the field would have in JSON.
	Pointer string
	// Header is the name of the header field at fault, for faults that are not in the body.
	Header string
	// Code is the kind of fault, in the words of package mail.
	Code mail.FaultCode
	// Detail is one line for people.
	Detail string
}

// Codes beside those of package mail.
const (
	CodeInvalidType    mail.FaultCode = "invalid_type"    // a value of another JSON type than the field has
	CodeUnknownField   mail.FaultCode = "unknown_field"   // a field that is not known; a warning, not a fault
	CodeDuplicateField mail.FaultCode = "duplicate_field" // a field that was given twice
)

// maxFaults bounds the faults and, apart, the warnings that one request can have: enough to mend a form by, too
// few to make a hostile body costly.
const maxFaults = 50

// Kind says why a body could not be read.
type Kind int

// The kinds of errors.
const (
	Malformed   Kind = iota + 1 // the body is not what its media type says
	Unsupported                 // the media type, charset or encoding is not one that can be read
	TooLarge                    // the body has more octets than allowed
	Interrupted                 // the body ended early or could not be read on
	NoSpace                     // the service could not spool the content
)

// Error is the reason why a body could not be read to its end.
type Error struct {
	Kind Kind
	// Pointer is how far reading came; empty: the body as a whole.
	Pointer string
	// Detail is one line for people.
	Detail string
	// Err is the cause, where there is one.
	Err error
}

// Error gives the detail, and the place if it is known.
func (e *Error) Error() string {
	if e.Pointer == "" {
		return "intake: " + e.Detail
	}
	return "intake: " + e.Pointer + ": " + e.Detail
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// malformed makes an error about the body's grammar.
func malformed(format string, args ...any) *Error {
	return &Error{Kind: Malformed, Detail: fmt.Sprintf(format, args...)}
}

// path is where reading stands: names and indexes from the root.
type path []string

// push goes down to the member of an object.
func (p *path) push(name string) { *p = append(*p, name) }

// pushIndex goes down to the member of an array.
func (p *path) pushIndex(i int) { *p = append(*p, strconv.Itoa(i)) }

// pop goes up.
func (p *path) pop() { *p = (*p)[:len(*p)-1] }

// shownOctets bounds how much of a text from outside appears in a fault or a pointer.
const shownOctets = 128

// cut shortens a text for a fault.
func cut(s string) string {
	if len(s) <= shownOctets {
		return s
	}
	n := shownOctets
	for n > shownOctets-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// show quotes a text for a fault.
func show(s string) string { return strconv.Quote(cut(s)) }

// String gives the JSON Pointer.
func (p path) String() string {
	var b strings.Builder
	for _, name := range p {
		b.WriteByte('/')
		b.WriteString(escapePointer(cut(name)))
	}
	return b.String()
}

// escapePointer writes one name of a pointer, RFC 6901 §3.
func escapePointer(name string) string {
	if !strings.ContainsAny(name, "~/") {
		return name
	}
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}
