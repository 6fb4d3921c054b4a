package intake

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/submission"
	"github.com/postrider/postrider/mail"
)

// HeaderPrefix begins the header fields by which a message/rfc822 request gives what has no place in the message:
// X-Postrider- and the name of the field in JSON, with hyphens: X-Postrider-Mail-From, -Rcpt-To, -Relay-Id, -Send-At,
// -Class, -On-Unknown, -Tags, -Metadata, -Dsn, -Require-Tls. They are header fields and not parameters of the URL,
// because URLs are logged and addresses are personal.
const HeaderPrefix = "X-Postrider-"

// raw reads a message that is complete.
func (r *reading) raw(header http.Header) error {
	l := &r.decoder.limits
	if err := r.envelope(header); err != nil {
		return err
	}
	// Contents are larger in their final form: base64 with its line ends takes 1.37 octets for one.
	file := rawSink{r: r, limit: l.TextOctets + l.HTMLOctets + l.AttachmentsOctets/5*7}
	if err := r.copyOctets(r.input.Read, &file); err != nil {
		return err
	}
	raw := &submission.Raw{Rcpt: r.message.Message.To}
	r.message.Message.To = nil
	var err error
	if raw.Open, raw.Size, err = r.out.spool.Piece(); err != nil {
		return err
	}
	r.message.Raw = raw
	switch {
	case file.size == 0:
		return malformed("the body is empty; send the message, header first")
	case file.size > file.limit:
		r.fault(mail.CodeTooLarge, "message has %d octets; at most %d are allowed", file.size, file.limit)
	}
	return nil
}

// rawSink takes a whole message into the spool.
type rawSink struct {
	r           *reading
	size, limit int64
}

func (f *rawSink) put(p []byte) error {
	if f.size += int64(len(p)); f.size > f.limit {
		return nil
	}
	_, err := f.r.out.spool.Write(p)
	return err
}

// envelope reads the header fields of the request that go with a message/rfc822 body. Recipients are kept in
// Message.To meanwhile.
func (r *reading) envelope(header http.Header) error {
	for name, values := range header {
		suffix, ok := strings.CutPrefix(name, HeaderPrefix)
		if !ok {
			continue
		}
		field := strings.ReplaceAll(strings.ToLower(suffix), "-", "_")
		r.header = name
		known, err := r.envelopeField(field, values)
		if err != nil {
			return err
		}
		if !known {
			r.warn(CodeUnknownField, "header field is not known and was not read")
		}
	}
	r.header = ""
	return nil
}

// envelopeField reads one of these fields.
func (r *reading) envelopeField(name string, values []string) (known bool, err error) {
	switch name {
	case "rcpt_to", "tags":
		for _, value := range values {
			for one := range strings.SplitSeq(value, ",") {
				r.envelopeMember(name, strings.TrimSpace(one))
			}
		}
		return true, nil
	case "mail_from", "relay_id", "send_at", "class", "on_unknown", "require_tls", "metadata", "dsn":
	default:
		return false, nil
	}
	if len(values) != 1 {
		r.duplicate()
		return true, nil
	}
	value := values[0]
	if !utf8.ValidString(value) {
		r.fault(mail.CodeInvalidUTF8, "value has %s", notUTF8)
		return true, nil
	}
	switch name {
	case "metadata", "dsn":
		r.scan.reset(strings.NewReader(value))
		if err := r.structured(name); err == nil {
			err = r.scan.finish()
			if err == nil {
				return true, nil
			}
		}
		r.fault(mail.CodeInvalidValue, "value is not JSON")
	case "require_tls":
		if value != "true" && value != "false" {
			r.fault(CodeInvalidType, "value is %s; it must be true or false", show(value))
		}
		r.assignFlag(name, value == "true")
	default:
		r.assign(name, value)
	}
	return true, nil
}

// envelopeMember takes one recipient or tag.
func (r *reading) envelopeMember(name, value string) {
	m, l := r.message, &r.decoder.limits
	switch {
	case value == "":
	case !utf8.ValidString(value):
		r.fault(mail.CodeInvalidUTF8, "value has %s", notUTF8)
	case name == "tags" && len(m.Tags) < MaxTags:
		if len(value) > MaxTagOctets {
			r.fault(mail.CodeTooLong, "value has more than %d octets", MaxTagOctets)
			return
		}
		m.Tags = append(m.Tags, value)
	case name == "rcpt_to" && len(m.Message.To) < l.Recipients:
		m.Message.To = append(m.Message.To, mail.Addr(value))
	default:
		r.fault(mail.CodeTooMany, "header field has too many members")
	}
}
