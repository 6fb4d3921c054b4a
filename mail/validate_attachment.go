package mail

import (
	"bytes"
	"mime"
	"strings"
)

const (
	maxFilenameOctets  = 255 // NAME_MAX of nearly all file systems: what cannot be saved should not be sent
	maxMediaTypeOctets = 255 // each of its two names has at most 127, RFC 6838 §4.2
	maxContentIDOctets = 250 // fits a header line of 998 with room to spare; as RFC 5536 §3.1.3 bounds message ids
)

// checkAttachments checks the attachments, and the calendar with them where
// it is attached too.
func (fs *Faults) checkAttachments(m *Message, l *Limits) {
	if len(m.Attachments) > l.Attachments {
		fs.add("attachments", CodeTooMany, "message has %d attachments; at most %d are allowed", len(m.Attachments), l.Attachments)
		return
	}
	var total int64
	for i := range m.Attachments {
		a := &m.Attachments[i]
		fs.checkAttachment(i, a, l)
		if a.bad == nil && a.Size > 0 {
			// Not beyond the largest number, should sizes be absurd.
			total = max(total, total+a.Size)
		}
	}
	if total > l.AttachmentsOctets {
		fs.add("attachments", CodeTooLarge, "attachments have %d octets together; at most %d are allowed", total, l.AttachmentsOctets)
	}
	fs.checkUniqueIDs(m.Attachments)
}

// checkAttachment checks one attachment.
func (fs *Faults) checkAttachment(i int, a *Attachment, l *Limits) {
	place := func(what string) string { return at("attachments", i) + "." + what }
	switch {
	case a.bad != nil:
		fs.addAt(place("content"), a.bad)
	case a.Open == nil:
		fs.add(place("content"), CodeRequired, "attachment has no content; set Open or use FileAttachment, BytesAttachment or Base64Attachment")
	case a.Size > l.AttachmentOctets:
		fs.add(place("content"), CodeTooLarge, "attachment %s has %d octets; at most %d are allowed", show(a.Filename), a.Size, l.AttachmentOctets)
	}
	if f := checkFilename(a.Filename); f != nil {
		fs.addAt(place("filename"), f)
	}
	if f := checkMediaType(a.MediaType); f != nil {
		fs.addAt(place("media_type"), f)
	}
	if f := checkContentID(a.ContentID); f != nil {
		fs.addAt(place("content_id"), f)
	}
}

// checkFilename checks a file name; empty is none.
func checkFilename(s string) *Fault {
	switch {
	case len(s) > maxFilenameOctets:
		return fault(CodeTooLong, "filename %s has %d octets; at most %d are allowed", show(s), len(s), maxFilenameOctets)
	case strings.ContainsAny(s, `/\`):
		return fault(CodeInvalidFilename, "filename %s has a path; give the name alone", show(s))
	case s == "." || s == "..":
		return fault(CodeInvalidFilename, "filename %s names a folder; give the name of a file", show(s))
	}
	return checkText("filename", s, false)
}

// checkMediaType checks a media type with its parameters, RFC 2045 §5.1;
// empty is none.
func checkMediaType(s string) *Fault {
	if s == "" {
		return nil
	}
	if len(s) > maxMediaTypeOctets {
		return fault(CodeTooLong, "media type %s has %d octets; at most %d are allowed", show(s), len(s), maxMediaTypeOctets)
	}
	if f := checkText("media type", s, false); f != nil {
		return f
	}
	name, _, _ := strings.Cut(s, ";")
	kind, sub, ok := strings.Cut(strings.TrimRight(name, " "), "/")
	switch {
	case !ok || !isToken(kind) || !isToken(sub) || !isASCII(s):
		return fault(CodeInvalidMediaType, "media type %s is not one; write it as type/subtype, such as application/pdf", show(s))
	case strings.EqualFold(kind, "multipart"):
		return fault(CodeInvalidMediaType, "media type %s cannot be that of an attachment; parts with parts in them are made here", show(s))
	}
	if len(name) < len(s) {
		if _, _, err := mime.ParseMediaType(s); err != nil {
			return fault(CodeInvalidMediaType, "media type %s has parameters that cannot be read; write them as ; name=\"value\"", show(s))
		}
	}
	return nil
}

// checkContentID checks a content id, without its angle brackets. RFC 2392
// §2 wants left@right, but "logo" alone is what many write and all programs
// take, so that only characters which need quoting are refused.
func checkContentID(s string) *Fault {
	if len(s) > maxContentIDOctets {
		return fault(CodeTooLong, "content id %s has %d octets; at most %d are allowed", show(s), len(s), maxContentIDOctets)
	}
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") {
		return fault(CodeInvalidContentID, "content id %s has angle brackets; leave them out", show(s))
	}
	if len(s) >= 4 && strings.EqualFold(s[:4], "cid:") {
		return fault(CodeInvalidContentID, "content id %s begins with cid:, which belongs into the HTML; leave it out", show(s))
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`<>()[]"\,;:`, c) >= 0 {
			return fault(CodeInvalidContentID, "content id %s may have letters, digits and . - _ + @ and the like only", show(s))
		}
	}
	return nil
}

// checkUniqueIDs finds content ids that stand twice.
func (fs *Faults) checkUniqueIDs(as []Attachment) {
	var first map[string]int
	for i := range as {
		id := as[i].ContentID
		if id == "" {
			continue
		}
		if first == nil {
			first = make(map[string]int)
		}
		if j, twice := first[id]; twice {
			fs.add(at("attachments", i)+".content_id", CodeDuplicateContentID, "content id %s is that of attachments[%d] too; give each its own", show(id), j)
			continue
		}
		first[id] = i
	}
}

// checkCalendar checks an invitation, RFC 6047.
func (fs *Faults) checkCalendar(c *Calendar, l *Limits) {
	switch {
	case c.Method == "":
		fs.add("calendar.method", CodeRequired, "calendar has no method; give the METHOD of its data, such as REQUEST")
	case !isToken(c.Method) || len(c.Method) > maxMediaTypeOctets:
		fs.add("calendar.method", CodeInvalidValue, "calendar method %s is not one; give the METHOD of its data, such as REQUEST", show(c.Method))
	}
	switch {
	case len(c.Data) == 0:
		fs.add("calendar.data", CodeRequired, "calendar has no data; give an object that begins with BEGIN:VCALENDAR")
	case int64(len(c.Data)) > l.AttachmentOctets:
		fs.add("calendar.data", CodeTooLarge, "calendar data has %d octets; at most %d are allowed", len(c.Data), l.AttachmentOctets)
	case !startsCalendar(c.Data):
		fs.add("calendar.data", CodeInvalidValue, "calendar data must begin with the line BEGIN:VCALENDAR")
	case !validUTF8(c.Data):
		fs.add("calendar.data", CodeInvalidUTF8, "calendar data is not UTF-8; convert it from its charset")
	default:
		if inside := calendarMethod(c.Data); inside != "" && isToken(c.Method) && !strings.EqualFold(inside, c.Method) {
			fs.add("calendar.method", CodeConflict, "calendar method is %s, but the data has METHOD:%s; give the same (RFC 6047 §2.4)", show(c.Method), strings.Trim(show(inside), `"`))
		}
	}
	fs.addAt("calendar.filename", checkFilename(c.Filename))
}

// startsCalendar tells whether the first line is BEGIN:VCALENDAR. Names and
// values have no case there (RFC 5545 §2).
func startsCalendar(data []byte) bool {
	const begin = "BEGIN:VCALENDAR"
	if len(data) <= len(begin) || !bytes.EqualFold(data[:len(begin)], []byte(begin)) {
		return false
	}
	return data[len(begin)] == '\r' || data[len(begin)] == '\n'
}

// calendarMethod is the value of the METHOD property, empty if there is none
// before the first component inside the calendar.
func calendarMethod(data []byte) string {
	_, rest, _ := bytes.Cut(data, []byte("\n"))
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		line = bytes.TrimRight(line, "\r")
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("METHOD")):
			return string(value)
		case bytes.EqualFold(name, []byte("BEGIN")):
			return ""
		}
	}
	return ""
}
