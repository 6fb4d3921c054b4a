package mail

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// FaultCode says what kind of fault was found, for programs. The words are
// stable: they appear in JSON answers.
type FaultCode string

// The codes of all faults that this package reports.
const (
	CodeRequired           FaultCode = "required"             // nothing was given where something must be
	CodeInvalidAddress     FaultCode = "invalid_address"      // not a mailbox by RFC 5321 §4.1.2
	CodeTooLong            FaultCode = "too_long"             // a text has more octets than allowed
	CodeTooLarge           FaultCode = "too_large"            // a body or an attachment has more octets than allowed
	CodeTooMany            FaultCode = "too_many"             // a list has more members than allowed
	CodeControlCharacter   FaultCode = "control_character"    // CR, LF, NUL or another control character
	CodeInvalidUTF8        FaultCode = "invalid_utf8"         // text that is not UTF-8
	CodeInvalidHeaderName  FaultCode = "invalid_header_name"  // not a field name by RFC 5322 §3.6.8
	CodeReservedHeader     FaultCode = "reserved_header"      // a header field that this package writes itself
	CodeDuplicateHeader    FaultCode = "duplicate_header"     // a header field that may appear once only
	CodeInvalidMediaType   FaultCode = "invalid_media_type"   // not a media type by RFC 2045 §5.1
	CodeInvalidFilename    FaultCode = "invalid_filename"     // a file name with a path or of dots only
	CodeInvalidBase64      FaultCode = "invalid_base64"       // not base64 text by RFC 4648 §4
	CodeInvalidContentID   FaultCode = "invalid_content_id"   // not a content id by RFC 2392
	CodeDuplicateContentID FaultCode = "duplicate_content_id" // two attachments with one content id
	CodeInvalidMessageID   FaultCode = "invalid_message_id"   // not a message identifier by RFC 5322 §3.6.4
	CodeInvalidURI         FaultCode = "invalid_uri"          // not a URI that may stand here
	CodeUnreadable         FaultCode = "unreadable"           // content could not be read, or has changed since
	CodeConflict           FaultCode = "conflict"             // two settings that exclude each other
	CodeInvalidValue       FaultCode = "invalid_value"        // any other value that may not stand here
)

// A Fault is one thing wrong with a message: where, what kind, and one line
// that says what it is and how to mend it.
type Fault struct {
	// Field is the place in the message, in the words of the JSON form:
	// "to[2]", "subject", "attachments[0].content", "headers[1].name". It is
	// empty where there is no message, as in an error of ParseAddress.
	Field string `json:"field"`
	// Code is the kind of fault.
	Code FaultCode `json:"code"`
	// Detail is one line for people. Text that came from outside is quoted
	// and cut in it.
	Detail string `json:"detail"`
	// Err is the cause where there is one, as with a file that cannot be
	// read; nil otherwise.
	Err error `json:"-"`
}

// Error gives field and detail in one line.
func (f Fault) Error() string {
	if f.Field == "" {
		return f.Detail
	}
	return f.Field + ": " + f.Detail
}

// Unwrap gives the cause as an error, nil if there is none.
func (f Fault) Unwrap() error { return f.Err }

// Faults are all faults of one message, in the order of the message's fields.
// It is an error if it is not empty; a function that found nothing gives nil.
type Faults []Fault

// Error gives one line for each fault, joined by "; ".
func (fs Faults) Error() string {
	var b strings.Builder
	for i, f := range fs {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.Error())
	}
	return b.String()
}

// Unwrap gives the faults one by one, so that errors.Is and errors.As find
// each [Fault] and its cause.
func (fs Faults) Unwrap() []error {
	errs := make([]error, len(fs))
	for i, f := range fs {
		errs[i] = f
	}
	return errs
}

// Err gives fs as an error: nil if there is no fault. (A nil Faults stored in
// an error variable directly would not be a nil error.)
func (fs Faults) Err() error {
	if len(fs) == 0 {
		return nil
	}
	return fs
}

// add appends one fault.
func (fs *Faults) add(field string, code FaultCode, format string, args ...any) {
	*fs = append(*fs, Fault{Field: field, Code: code, Detail: fmt.Sprintf(format, args...)})
}

// addAt appends a fault found by a check that did not know its field.
func (fs *Faults) addAt(field string, f *Fault) {
	if f == nil {
		return
	}
	g := *f
	g.Field = field
	*fs = append(*fs, g)
}

// fault makes a fault whose field is filled in later.
func fault(code FaultCode, format string, args ...any) *Fault {
	return &Fault{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// at names one member of a list field: "to[2]".
func at(field string, i int) string {
	return field + "[" + strconv.Itoa(i) + "]"
}

// shownOctets bounds how much of a text from outside appears in a fault: a
// whole address nearly always, but not a megabyte of somebody's body.
const shownOctets = 80

// show quotes text from outside for a fault, cut to a sane length, so that it
// can neither break the line nor flood a log.
func show(s string) string {
	if len(s) <= shownOctets {
		return strconv.Quote(s)
	}
	cut := shownOctets
	for cut > shownOctets-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.Quote(s[:cut]) + "…"
}
