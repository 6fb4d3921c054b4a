package intake

import (
	"fmt"
	"strings"

	"github.com/postrider/postrider/internal/submission"
	"github.com/postrider/postrider/mail"
)

// reading is the state of reading one body.
type reading struct {
	decoder *Decoder
	options Options
	input   limitedReader
	scan    scanner
	path    path
	header  string // the header field that is read instead of the body; empty: none
	text    memorySink
	base64  []byte // the decoder's block, made when it is needed
	block   []byte // see copyBuffer

	// Of the message in work.
	out      *Decoded
	message  *submission.Request
	seen     uint64 // which fields were given, by their bits
	attached int64  // octets of all attachments so far
}

// start begins a message.
func (r *reading) start(prefix string) {
	r.out = &Decoded{spool: r.decoder.room.spool(r.decoder.dir, r.decoder.memory), prefix: prefix}
	r.message = &r.out.Request
	r.seen, r.attached, r.header = 0, 0, ""
}

// fault notes what is wrong where reading stands.
func (r *reading) fault(code mail.FaultCode, format string, args ...any) {
	if len(r.out.Faults) < maxFaults {
		r.out.Faults = append(r.out.Faults, r.note(code, fmt.Sprintf(format, args...)))
	}
}

// warn notes what is worth knowing where reading stands.
func (r *reading) warn(code mail.FaultCode, format string, args ...any) {
	if len(r.out.Warnings) < maxFaults {
		r.out.Warnings = append(r.out.Warnings, r.note(code, fmt.Sprintf(format, args...)))
	}
}

// note gives a fault its place.
func (r *reading) note(code mail.FaultCode, detail string) Fault {
	f := Fault{Code: code, Detail: detail, Header: r.header}
	if r.header == "" {
		f.Pointer = r.path.String()
	}
	return f
}

// where gives an error its place.
func (r *reading) where(err error) error {
	if e, ok := err.(*Error); ok && e.Pointer == "" && len(r.path) > 0 { //nolint:errorlint // the scanner's own errors are never wrapped
		e.Pointer = r.path.String()
	}
	return err
}

// document reads a body that is one object and nothing else.
func (r *reading) document() error {
	c, err := r.scan.peek()
	switch {
	case err != nil:
		return err
	case c == 0:
		return malformed("the body is empty; send a JSON object")
	}
	if err := r.object(r.messageField); err != nil {
		return r.where(err)
	}
	return r.scan.finish()
}

// batch reads an array of messages.
func (r *reading) batch(each func(int, *Decoded) error) error {
	c, err := r.scan.peek()
	switch {
	case err != nil:
		return err
	case c == 0:
		return malformed("the body is empty; send a JSON array of messages")
	case c != '[':
		return r.scan.syntax("the body is not a JSON array; send an array of messages")
	}
	if err := r.scan.enter(); err != nil {
		return err
	}
	for i := 0; ; i++ {
		more, err := r.scan.member(']', i == 0)
		switch {
		case err != nil:
			return err
		case !more && i == 0:
			return malformed("the array is empty; send at least one message")
		case !more:
			return r.scan.finish()
		case i == MaxBatch:
			return &Error{Kind: TooLarge, Detail: fmt.Sprintf("the array has more than %d messages; send them in several batches", MaxBatch)}
		}
		r.path.pushIndex(i)
		r.start(r.path.String())
		if err := r.object(r.messageField); err != nil {
			_ = r.out.Close() // what was read of it is of no use
			return r.where(err)
		}
		r.path.pop()
		if err := each(i, r.out); err != nil {
			return err
		}
	}
}

// object reads an object and gives each of its members to field, which reads the value and tells whether it knows
// the name. A value of another type is a fault.
func (r *reading) object(field func(name string) (known bool, err error)) error {
	ok, err := r.want('{', "an object")
	if err != nil || !ok {
		return err
	}
	if err := r.scan.enter(); err != nil {
		return err
	}
	var unknown []string
	for first := true; ; first = false {
		more, err := r.scan.member('}', first)
		if err != nil || !more {
			return err
		}
		name, err := r.scan.name()
		if err != nil {
			return err
		}
		r.path.push(name)
		known, err := field(name)
		if err == nil && !known {
			unknown, err = r.unknown(unknown, name)
		}
		if err != nil {
			return r.where(err)
		}
		r.path.pop()
	}
}

// unknown reads over a field that is not known. Those of one object are remembered up to the number that is
// reported, so that one given twice is found.
func (r *reading) unknown(before []string, name string) ([]string, error) {
	if len(before) < maxFaults {
		for _, b := range before {
			if b == name {
				r.duplicate()
				return before, r.scan.skip()
			}
		}
		before = append(before, name)
	}
	r.warn(CodeUnknownField, "field is not known and was not read%s", hint(name))
	return before, r.scan.skip()
}

// meant names the fields that are often written in another way. The map is never written.
var meant = map[string]string{
	"text": "text_body", "body": "text_body", "plain": "text_body", "textbody": "text_body", "body_text": "text_body",
	"html": "html_body", "htmlbody": "html_body", "body_html": "html_body",
	"replyto": "reply_to", "attachment": "attachments", "header": "headers", "sendat": "send_at", "scheduled_at": "send_at",
	"contenttype": "content_type", "mime_type": "content_type", "media_type": "content_type", "type": "content_type",
	"name": "filename", "file_name": "filename", "data": "content", "contentid": "content_id", "cid": "content_id",
	"relayid": "relay_id", "tag": "tags", "mailfrom": "mail_from", "recipients": "to",
}

// hint names the field that was probably meant.
func hint(name string) string {
	if len(name) > shownOctets {
		return ""
	}
	if m := meant[strings.ToLower(name)]; m != "" {
		return "; the name is " + m
	}
	return ""
}

// duplicate is the fault of a field that comes again.
func (r *reading) duplicate() {
	r.fault(CodeDuplicateField, "field is given twice; give it once")
}

// want makes sure that the next value begins with open, else notes a fault and reads over it.
func (r *reading) want(open byte, what string) (bool, error) {
	c, err := r.scan.peek()
	if err != nil || c == open {
		return err == nil, err
	}
	return false, r.wrongType(c, what)
}

// wrongType notes that a value is not of the type it must have, and reads over it.
func (r *reading) wrongType(c byte, what string) error {
	if err := r.scan.skip(); err != nil {
		return err
	}
	is := "a number"
	switch c {
	case '"':
		is = "a string"
	case '{':
		is = "an object"
	case '[':
		is = "an array"
	case 't', 'f':
		is = "a boolean"
	case 'n':
		is = "null"
	}
	r.fault(CodeInvalidType, "value is %s; it must be %s", is, what)
	return nil
}

// null takes a null, which stands for a field that is not given.
func (r *reading) null() (bool, error) {
	c, err := r.scan.peek()
	if err != nil || c != 'n' {
		return false, err
	}
	return true, r.scan.word("null")
}

// string reads a string of at most limit octets; ok is false after a fault.
func (r *reading) string(limit int) (value string, ok bool, err error) {
	if ok, err := r.want('"', "a string"); err != nil || !ok {
		return "", false, err
	}
	r.text.p, r.text.limit, r.text.over = r.text.p[:0], limit, false
	if err := r.scan.text(&r.text); err != nil {
		return "", false, err
	}
	switch {
	case r.scan.badText != "":
		r.badText()
		return "", false, nil
	case r.text.over:
		r.fault(mail.CodeTooLong, "value has more than %d octets", limit)
		return "", false, nil
	}
	return string(r.text.p), true, nil
}

// badText notes what is wrong with the characters of the string read last.
func (r *reading) badText() {
	r.fault(mail.CodeInvalidUTF8, "text has %s", r.scan.badText)
}

// bool reads true or false; ok is false after a fault.
func (r *reading) bool() (value, ok bool, err error) {
	c, err := r.scan.peek()
	switch {
	case err != nil:
		return false, false, err
	case c == 't':
		return true, true, r.scan.word("true")
	case c == 'f':
		return false, true, r.scan.word("false")
	}
	return false, false, r.wrongType(c, "true or false")
}

// array reads an array of at most limit members, each by member, which is told its index.
func (r *reading) array(limit int, member func(i int) error) error {
	if ok, err := r.want('[', "an array"); err != nil || !ok {
		return err
	}
	if err := r.scan.enter(); err != nil {
		return err
	}
	for i := 0; ; i++ {
		more, err := r.scan.member(']', i == 0)
		if err != nil || !more {
			return err
		}
		if i >= limit {
			if i == limit {
				r.fault(mail.CodeTooMany, "array has more than %d members", limit)
			}
			if err := r.scan.skip(); err != nil {
				return err
			}
			continue
		}
		r.path.pushIndex(i)
		if err := member(i); err != nil {
			return r.where(err)
		}
		r.path.pop()
	}
}
