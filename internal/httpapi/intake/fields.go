package intake

import (
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/mail"
)

const (
	// maxAddressText bounds one address with its display name as it is written: a name of 998 octets as encoded
	// words, and some.
	maxAddressText = 4 << 10
	// maxWord bounds short values: identifiers, times, keywords, URIs.
	maxWord = 2 << 10
	// MaxTags bounds the tags of a message.
	MaxTags = 50
	// MaxTagOctets bounds each of them.
	MaxTagOctets = 128
	// MaxMetadataOctets bounds metadata as it is written.
	MaxMetadataOctets = 16 << 10
	// maxCalendarOctets bounds a calendar object, which is held in memory.
	maxCalendarOctets = 1 << 20
)

// form says how a field is written.
type form int

// The forms of fields.
const (
	oneText    form = iota + 1 // a string
	listText                   // a string, or an array of them
	bodyText                   // a string of any length
	flag                       // true or false
	structured                 // an object or an array of its own
)

// field is what is known of one field of a message.
type field struct {
	bit  uint64 // in reading.seen
	form form
	// limit is how many octets a text may have; 0: by the limits of the message.
	limit int
	// members is how many a list may have; 0: by the limits of the message.
	members int
}

// fields are those of a message. The map is never written.
var fields = map[string]field{
	"from":                  {1 << 0, oneText, maxAddressText, 0},
	"sender":                {1 << 1, oneText, maxAddressText, 0},
	"mail_from":             {1 << 2, oneText, maxAddressText, 0},
	"to":                    {1 << 3, listText, maxAddressText, 0},
	"cc":                    {1 << 4, listText, maxAddressText, 0},
	"bcc":                   {1 << 5, listText, maxAddressText, 0},
	"reply_to":              {1 << 6, listText, maxAddressText, 0},
	"subject":               {1 << 7, oneText, 0, 0},
	"text_body":             {1 << 8, bodyText, 0, 0},
	"html_body":             {1 << 9, bodyText, 0, 0},
	"attachments":           {1 << 10, structured, 0, 0},
	"headers":               {1 << 11, structured, 0, 0},
	"message_id":            {1 << 12, oneText, maxWord, 0},
	"in_reply_to":           {1 << 13, oneText, maxWord, 0},
	"references":            {1 << 14, listText, maxWord, 0},
	"list_unsubscribe":      {1 << 15, listText, maxWord, 0},
	"list_unsubscribe_post": {1 << 16, flag, 0, 0},
	"auto_submitted":        {1 << 17, oneText, maxWord, 0},
	"priority":              {1 << 18, oneText, maxWord, 0},
	"calendar":              {1 << 19, structured, 0, 0},
	"dsn":                   {1 << 20, structured, 0, 0},
	"require_tls":           {1 << 21, flag, 0, 0},
	"relay_id":              {1 << 22, oneText, maxWord, 0},
	"relay":                 {1 << 23, structured, 0, 0},
	"send_at":               {1 << 24, oneText, maxWord, 0},
	"class":                 {1 << 25, oneText, maxWord, 0},
	"on_unknown":            {1 << 26, oneText, maxWord, 0},
	"tags":                  {1 << 27, listText, MaxTagOctets, MaxTags},
	"metadata":              {1 << 28, structured, 0, 0},
}

// limits gives what bounds a field's text and list.
func (r *reading) limits(name string, f field) (octets, members int) {
	l := &r.decoder.limits
	octets, members = f.limit, f.members
	if octets == 0 {
		octets = l.SubjectOctets
	}
	if members != 0 {
		return octets, members
	}
	switch name {
	case "references", "list_unsubscribe":
		return octets, l.HeaderFields
	}
	return octets, l.Recipients
}

// messageField reads one field of a message.
func (r *reading) messageField(name string) (bool, error) {
	f, known := fields[name]
	if !known {
		return false, nil
	}
	if r.seen&f.bit != 0 {
		r.duplicate()
		return true, r.scan.skip()
	}
	r.seen |= f.bit
	if null, err := r.null(); err != nil || null {
		return true, err
	}
	octets, members := r.limits(name, f)
	switch f.form {
	case oneText:
		return true, r.one(name, octets)
	case listText:
		c, err := r.scan.peek()
		switch {
		case err != nil:
			return true, err
		case c == '"':
			return true, r.one(name, octets)
		case c != '[':
			return true, r.wrongType(c, "a string or an array of strings")
		}
		return true, r.array(members, func(int) error { return r.one(name, octets) })
	case bodyText:
		if ok, err := r.want('"', "a string"); err != nil || !ok {
			return true, err
		}
		return true, r.body(name, r.scan.text)
	case flag:
		value, ok, err := r.bool()
		if ok {
			r.assignFlag(name, value)
		}
		return true, err
	}
	return true, r.structured(name)
}

// one reads one string and assigns it.
func (r *reading) one(name string, limit int) error {
	value, ok, err := r.string(limit)
	if ok {
		r.assign(name, value)
	}
	return err
}

// assign puts a text where it belongs; lists grow by one.
func (r *reading) assign(name, value string) {
	q, m := r.message, &r.message.Message
	switch name {
	case "from":
		m.From = mail.Addr(value)
	case "sender":
		m.Sender = mail.Addr(value)
	case "mail_from":
		m.MailFrom = &mail.Address{} // the null reverse-path
		if value != "" && value != "<>" {
			*m.MailFrom = mail.Addr(value)
		}
	case "to":
		m.To = append(m.To, mail.Addr(value))
	case "cc":
		m.Cc = append(m.Cc, mail.Addr(value))
	case "bcc":
		m.Bcc = append(m.Bcc, mail.Addr(value))
	case "reply_to":
		m.ReplyTo = append(m.ReplyTo, mail.Addr(value))
	case "subject":
		m.Subject = value
	case "message_id":
		m.MessageID = value
	case "in_reply_to":
		m.InReplyTo = value
	case "references":
		m.References = append(m.References, value)
	case "list_unsubscribe":
		m.ListUnsubscribe = append(m.ListUnsubscribe, value)
	case "auto_submitted":
		m.AutoSubmitted = mail.AutoSubmitted(value)
	case "priority":
		m.Priority = mail.Priority(value)
	case "tags":
		q.Tags = append(q.Tags, value)
	case "class":
		if value != "transactional" && value != "bulk" {
			r.fault(mail.CodeInvalidValue, "class %s is not known; use transactional or bulk", show(value))
			return
		}
		q.Class = value
	case "on_unknown":
		if value != "retry" && value != "hold" {
			r.fault(mail.CodeInvalidValue, "on_unknown %s is not known; use retry or hold", show(value))
			return
		}
		q.OnUnknown = value
	case "relay_id":
		id, err := uuid.Parse(value)
		if err != nil || len(value) != 36 {
			r.fault(mail.CodeInvalidValue, "relay_id %s is not the id of a relay, which is a UUID", show(value))
			return
		}
		q.RelayID = id
	case "send_at":
		t, err := time.Parse(time.RFC3339, value)
		if err != nil {
			r.fault(mail.CodeInvalidValue, "send_at %s is not a time of RFC 3339 such as 2030-01-31T09:00:00Z", show(value))
			return
		}
		q.SendAt = t.UTC()
	}
}

// assignFlag puts a flag where it belongs.
func (r *reading) assignFlag(name string, value bool) {
	switch name {
	case "require_tls":
		r.message.Message.RequireTLS = value
	case "list_unsubscribe_post":
		r.message.Message.ListUnsubscribePost = value
	}
}

// structured reads a field that has members of its own.
func (r *reading) structured(name string) error {
	switch name {
	case "attachments":
		return r.array(r.decoder.limits.Attachments, func(int) error { return r.attachment() })
	case "headers":
		return r.headers()
	case "calendar":
		return r.calendar()
	case "dsn":
		return r.dsn()
	case "relay":
		return r.relay()
	}
	return r.metadata()
}
