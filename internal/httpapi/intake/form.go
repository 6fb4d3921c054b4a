package intake

import (
	"errors"
	"io"
	"iter"
	"mime/multipart"
	"strconv"
	"strings"

	"github.com/postrider/postrider/mail"
)

// endOfPart tells the end of a part from an error.
func endOfPart(err error) error {
	if err == io.EOF { //nolint:errorlint // io.Reader says that it is not wrapped
		return nil
	}
	return formError(err)
}

// formError sorts an error of the form's reader: the body's own comes back, all else is about the form.
func formError(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: Malformed, Detail: "the form cannot be read: its parts or its closing boundary are not as multipart/form-data wants them", Err: err}
}

// form reads multipart/form-data: a part named message holds a JSON object; all fields of one can be parts of
// their own, lists by coming several times, structures as JSON; and every part with a file name is an attachment.
func (r *reading) form(boundary string) error {
	if boundary == "" {
		return &Error{Kind: Malformed, Detail: "the content type of the form has no boundary"}
	}
	parts := multipart.NewReader(&r.input, boundary)
	for begun := false; ; begun = true {
		part, err := parts.NextPart()
		switch {
		case err == io.EOF && !begun:
			return &Error{Kind: Malformed, Detail: "the form has no parts"}
		case err == io.EOF:
			return nil
		case err != nil:
			return formError(err)
		}
		if err := r.part(part); err != nil {
			return r.where(err)
		}
		r.path = r.path[:0]
	}
}

// part reads one part of a form.
func (r *reading) part(part *multipart.Part) error {
	name := part.FormName()
	file := part.FileName()
	f, known := fields[name]
	switch {
	case name == "message":
		return r.json(part, func() error { return r.object(r.messageField) })
	case file != "" && (!known || f.form != bodyText):
		return r.filePart(part, file)
	}
	r.path.push(name)
	switch {
	case !known:
		r.warn(CodeUnknownField, "field is not known and was not read%s", hint(name))
		return r.copyOctets(part.Read, nowhere{})
	case f.form == structured:
		if r.again(f) {
			return r.copyOctets(part.Read, nowhere{})
		}
		return r.json(part, func() error { return r.structured(name) })
	case f.form == bodyText:
		if r.again(f) {
			return r.copyOctets(part.Read, nowhere{})
		}
		return r.body(name, func(to sink) error { return r.copyText(part.Read, to) })
	}
	return r.formText(part, name, f)
}

// again tells whether a field was given before, and notes the fault.
func (r *reading) again(f field) bool {
	if r.seen&f.bit != 0 {
		r.duplicate()
		return true
	}
	r.seen |= f.bit
	return false
}

// formText reads a part that is one text, a member of a list, or a flag.
func (r *reading) formText(part *multipart.Part, name string, f field) error {
	octets, members := r.limits(name, f)
	if f.form == listText {
		n := r.listed(name)
		if n >= members {
			if n == members && r.seen&f.bit == 0 {
				r.fault(mail.CodeTooMany, "field is given more than %d times", members)
			}
			r.seen |= f.bit
			return r.copyOctets(part.Read, nowhere{})
		}
		r.path.pushIndex(n)
	} else if r.again(f) {
		return r.copyOctets(part.Read, nowhere{})
	}
	r.text.p, r.text.limit, r.text.over = r.text.p[:0], octets, false
	if err := r.copyText(part.Read, &r.text); err != nil {
		return err
	}
	switch value := string(r.text.p); {
	case r.scan.badText != "":
		r.badText()
	case r.text.over:
		r.fault(mail.CodeTooLong, "value has more than %d octets", octets)
	case f.form != flag:
		if value != "" || name == "mail_from" || name == "subject" { // an empty input of a form says nothing
			r.assign(name, value)
		}
	case value == "true", value == "false":
		r.assignFlag(name, value == "true")
	default:
		r.fault(CodeInvalidType, "value is %s; it must be true or false", show(value))
	}
	return nil
}

// listed is how many members a list has.
func (r *reading) listed(name string) int {
	m := &r.message.Message
	switch name {
	case "to":
		return len(m.To)
	case "cc":
		return len(m.Cc)
	case "bcc":
		return len(m.Bcc)
	case "reply_to":
		return len(m.ReplyTo)
	case "references":
		return len(m.References)
	case "list_unsubscribe":
		return len(m.ListUnsubscribe)
	}
	return len(r.message.Tags)
}

// json reads a part that is one JSON value, by read.
func (r *reading) json(part io.Reader, read func() error) error {
	r.scan.reset(partReader{part})
	c, err := r.scan.peek()
	switch {
	case err != nil:
		return err
	case c == 0:
		return malformed("the part is empty; it must hold JSON")
	}
	if err := read(); err != nil {
		return err
	}
	return r.scan.finish()
}

// partReader sorts the errors of a part.
type partReader struct{ r io.Reader }

// Read reads on.
func (p partReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if err != nil && err != io.EOF { //nolint:errorlint // io.Reader says that it is not wrapped
		err = formError(err)
	}
	return n, err
}

// filePart reads a part that is an attachment.
func (r *reading) filePart(part *multipart.Part, name string) error {
	m, l := &r.message.Message, &r.decoder.limits
	r.path.push("attachments")
	if len(m.Attachments) >= l.Attachments {
		if len(m.Attachments) == l.Attachments {
			r.fault(mail.CodeTooMany, "message has more than %d attachments", l.Attachments)
		}
		return r.copyOctets(part.Read, nowhere{})
	}
	r.path.pushIndex(len(m.Attachments))
	r.path.push("content")
	a := mail.Attachment{Filename: name, ContentID: strings.Trim(part.Header.Get("Content-ID"), "<> ")}
	// What programs write where they do not know says nothing: package mail goes by the name then.
	if t := part.Header.Get("Content-Type"); t != "application/octet-stream" && len(t) <= maxWord {
		a.MediaType = t
	}
	file := fileSink{r: r}
	switch encoding := strings.ToLower(part.Header.Get("Content-Transfer-Encoding")); encoding {
	case "", "7bit", "8bit", "binary": // quoted-printable is decoded by package multipart
		if err := r.copyOctets(part.Read, &file); err != nil {
			return err
		}
	case "base64":
		decoder := base64Sink{to: &file, out: r.base64}
		if err := r.copyOctets(part.Read, &decoder); err != nil {
			return err
		}
		r.base64 = decoder.out
		if code, detail := decoder.finish(); code == mail.CodeInvalidBase64 {
			r.fault(code, "%s", detail)
		}
	default:
		r.fault(mail.CodeInvalidValue, "content transfer encoding %s is not known; send the file as it is", show(encoding))
		if err := r.copyOctets(part.Read, nowhere{}); err != nil {
			return err
		}
	}
	if err := file.done(&a); err != nil {
		return err
	}
	m.Attachments = append(m.Attachments, a)
	return nil
}

// splitField gives the names and indexes of a field in the words of package mail.
func splitField(field string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range strings.FieldsFuncSeq(field, func(c rune) bool { return c == '.' || c == '[' || c == ']' }) {
			if !yield(name) {
				return
			}
		}
	}
}

// index is the number in the second place of a pointer.
func index(p path) (int, bool) {
	if len(p) < 2 {
		return 0, false
	}
	i, err := strconv.Atoi(p[1])
	return i, err == nil
}
