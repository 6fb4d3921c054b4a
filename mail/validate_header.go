package mail

import (
	"bytes"
	"net/url"
	"strings"
	"time"
)

const (
	maxFieldNameOctets = 77  // name and colon fit the line of 78 of RFC 5322 §2.1.1
	maxMessageIDOctets = 900 // cannot be folded, so it must fit a line of 998 with its field name
	maxURIOctets       = 900 // the same
)

// reservedFields are header fields that are not the caller's to write, in
// lower case, each with what serves instead. It is never written.
var reservedFields = map[string]string{
	"from":                   "set From",
	"sender":                 "set Sender",
	"reply-to":               "set ReplyTo",
	"to":                     "set To",
	"cc":                     "set Cc",
	"bcc":                    "set Bcc",
	"subject":                "set Subject",
	"date":                   "set Date",
	"message-id":             "set MessageID",
	"in-reply-to":            "set InReplyTo",
	"references":             "set References",
	"list-unsubscribe":       "set ListUnsubscribe",
	"list-unsubscribe-post":  "set ListUnsubscribePost",
	"auto-submitted":         "set AutoSubmitted",
	"mime-version":           "it is written at composition",
	"return-path":            "the receiving server writes it; set MailFrom",
	"received":               "servers write it",
	"dkim-signature":         "sign the composed message",
	"authentication-results": "the receiving server writes it",
}

// reservedPrefixes are the same for whole families of fields.
var reservedPrefixes = [...]struct{ prefix, instead string }{
	{"content-", "it is written at composition"},
	{"resent-", "only a program that resends a message writes it"},
	{"arc-", "servers write it"},
}

// reservedFor gives what serves instead of a reserved field, empty for a
// field that is free. name is in lower case.
func reservedFor(name []byte, priority Priority) string {
	if instead, ok := reservedFields[string(name)]; ok {
		return instead
	}
	for _, r := range reservedPrefixes {
		if bytes.HasPrefix(name, []byte(r.prefix)) {
			return r.instead
		}
	}
	if priority != "" {
		switch string(name) {
		case "priority", "x-priority", "importance":
			return "Priority writes it; leave one of them out"
		}
	}
	return ""
}

// mayRepeat tells whether a field can stand in a header more than once: the
// two of RFC 5322 §3.6.5 and what people invented, of which only X-Priority
// is known to be single. name is in lower case.
func mayRepeat(name []byte) bool {
	return string(name) == "comments" || string(name) == "keywords" ||
		bytes.HasPrefix(name, []byte("x-")) && string(name) != "x-priority"
}

// checkHeader checks the caller's own header fields.
func (fs *Faults) checkHeader(m *Message, l *Limits) {
	if len(m.Header) > l.HeaderFields {
		fs.add("headers", CodeTooMany, "message has %d header fields of its own; at most %d are allowed", len(m.Header), l.HeaderFields)
		return
	}
	var first map[string]int
	for i := range m.Header {
		f := &m.Header[i]
		if bad := checkFieldName(f.Name); bad != nil {
			fs.addAt(at("headers", i)+".name", bad)
		} else {
			var room [maxFieldNameOctets]byte
			name := appendLower(room[:0], f.Name)
			if instead := reservedFor(name, m.Priority); instead != "" {
				fs.add(at("headers", i)+".name", CodeReservedHeader, "header field %s cannot be given here: %s", show(f.Name), instead)
			} else if !mayRepeat(name) && len(m.Header) > 1 {
				if first == nil {
					first = make(map[string]int, len(m.Header))
				}
				if j, twice := first[string(name)]; twice {
					fs.add(at("headers", i)+".name", CodeDuplicateHeader, "header field %s is given twice, first in headers[%d]; it may appear once", show(f.Name), j)
				} else {
					first[string(name)] = i
				}
			}
		}
		if len(f.Value) > l.FieldOctets {
			fs.add(at("headers", i)+".value", CodeTooLong, "value has %d octets; at most %d are allowed", len(f.Value), l.FieldOctets)
		} else if bad := checkText("value", f.Value, true); bad != nil {
			fs.addAt(at("headers", i)+".value", bad)
		}
	}
}

// appendLower appends ASCII in lower case.
func appendLower(buf []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf = append(buf, c)
	}
	return buf
}

// checkFieldName checks a field name: ftext, RFC 5322 §3.6.8.
func checkFieldName(s string) *Fault {
	switch {
	case s == "":
		return fault(CodeRequired, "header field has no name; give one such as X-Campaign")
	case len(s) > maxFieldNameOctets:
		return fault(CodeTooLong, "header field name %s has %d octets; at most %d are allowed", show(s), len(s), maxFieldNameOctets)
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return fault(CodeInvalidHeaderName, "header field name %s has %q; only printable ASCII without space and colon can stand there", show(s), c)
		}
	}
	return nil
}

// checkTrace checks the date and the identifiers.
func (fs *Faults) checkTrace(m *Message, l *Limits) {
	// RFC 5322 §3.3: the year has four digits, from 1900 on.
	if !m.Date.IsZero() && (m.Date.Year() < 1900 || m.Date.Year() > 9999) {
		fs.add("date", CodeInvalidValue, "date %s cannot be written; give one from 1900 on", m.Date.Format(time.DateOnly))
	}
	if m.MessageID != "" {
		fs.addAt("message_id", checkMessageID(m.MessageID))
	}
	if m.InReplyTo != "" {
		fs.addAt("in_reply_to", checkMessageID(m.InReplyTo))
	}
	if len(m.References) > l.HeaderFields {
		fs.add("references", CodeTooMany, "message has %d references; at most %d are allowed: keep the first and the last ones", len(m.References), l.HeaderFields)
		return
	}
	for i, id := range m.References {
		if f := checkMessageID(id); f != nil {
			fs.addAt(at("references", i), f)
		}
	}
}

// checkMessageID checks a message identifier with or without its angle
// brackets. RFC 5322 §3.6.4 is narrower, but identifiers of other people's
// messages must be given back as they are, whatever is in them; so anything
// printable that cannot end the identifier or the line is taken.
func checkMessageID(s string) *Fault {
	id, open := strings.CutPrefix(s, "<")
	id, closed := strings.CutSuffix(id, ">")
	if len(s) > maxMessageIDOctets {
		return fault(CodeTooLong, "message id %s has %d octets; at most %d are allowed", show(s), len(s), maxMessageIDOctets)
	}
	if open != closed {
		return fault(CodeInvalidMessageID, "message id %s has one angle bracket; write it as <left@right>", show(s))
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c >= 0x7f || c == '<' || c == '>' {
			return fault(CodeInvalidMessageID, "message id %s has %q; only printable ASCII without spaces can stand there, as <left@right>", show(s), c)
		}
	}
	if i := strings.LastIndexByte(id, '@'); i <= 0 || i == len(id)-1 {
		return fault(CodeInvalidMessageID, "message id %s is not one; write it as <left@right>", show(s))
	}
	return nil
}

// checkUnsubscribe checks ListUnsubscribe, RFC 2369 §3.2 and RFC 8058 §3.1.
func (fs *Faults) checkUnsubscribe(m *Message, l *Limits) {
	if len(m.ListUnsubscribe) > l.HeaderFields {
		fs.add("list_unsubscribe", CodeTooMany, "message has %d list-unsubscribe URIs; at most %d are allowed", len(m.ListUnsubscribe), l.HeaderFields)
		return
	}
	https, before := 0, len(*fs)
	for i, s := range m.ListUnsubscribe {
		scheme, f := checkUnsubscribeURI(s)
		if f != nil {
			fs.addAt(at("list_unsubscribe", i), f)
		}
		// A URI at fault may have been meant to be the https one.
		if scheme == "https" || f != nil {
			https++
		}
	}
	switch {
	case !m.ListUnsubscribePost:
	case https == 0:
		fs.add("list_unsubscribe_post", CodeConflict, "one-click unsubscription needs an https URI in list_unsubscribe (RFC 8058)")
	case https > 1 && len(*fs) == before:
		fs.add("list_unsubscribe_post", CodeConflict, "one-click unsubscription needs one https URI in list_unsubscribe, there are %d (RFC 8058); leave one", https)
	}
}

// checkUnsubscribeURI checks one URI and gives its scheme.
func checkUnsubscribeURI(s string) (scheme string, _ *Fault) {
	if len(s) > maxURIOctets {
		return "", fault(CodeTooLong, "URI %s has %d octets; at most %d are allowed", show(s), len(s), maxURIOctets)
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '<' || c == '>' || c == '"' {
			return "", fault(CodeInvalidURI, "URI %s has %q, which must be percent-encoded; angle brackets are left out", show(s), c)
		}
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", fault(CodeInvalidURI, "URI %s cannot be read; give one such as https://example.com/leave?id=1", show(s))
	case u.Scheme == "https" && u.Host != "", u.Scheme == "mailto" && u.Opaque != "":
		return u.Scheme, nil
	}
	return "", fault(CodeInvalidURI, "URI %s cannot be used to leave a list; give an https or mailto URI", show(s))
}

// checkWords checks the fields that know a few words only.
func (fs *Faults) checkWords(m *Message) {
	switch m.AutoSubmitted {
	case "", AutoSubmittedNo, AutoSubmittedGenerated, AutoSubmittedReplied:
	default:
		fs.add("auto_submitted", CodeInvalidValue, "auto-submitted %s is not known; use no, auto-generated or auto-replied", show(string(m.AutoSubmitted)))
	}
	switch m.Priority {
	case "", PriorityHigh, PriorityNormal, PriorityLow:
	default:
		fs.add("priority", CodeInvalidValue, "priority %s is not known; use high, normal or low", show(string(m.Priority)))
	}
}
