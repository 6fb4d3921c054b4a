package mail

import (
	"bytes"
	"mime"
	"net/mail"
	"strings"
	"unicode/utf8"
)

// rawHeader is the header of a raw message, read and cleaned.
type rawHeader struct {
	clean     []byte // the fields that are sent, with CRLF line ends
	lines     int64  // lines as given, with the empty one
	utf8      bool   // octets over 127 are sent in it
	faults    Faults
	messageID string
	hasDate   bool
	from      []Address
	sender    []Address
	to        []Address
	cc        []Address
	bcc       []Address
	values    map[string]string // the unfolded values of the fields in rawSingle, by lower-case name
}

// maxRawFaults bounds how much is reported of a header that is none at all.
const maxRawFaults = 20

// isRawSingle reports whether a header may have only one such field, RFC 5322
// §3.6. Servers refuse messages where readers would have to choose. name is in
// lower case.
func isRawSingle(name string) bool {
	switch name {
	case "from", "sender", "reply-to", "to", "cc", "bcc", "subject", "date", "message-id", "in-reply-to", "references":
		return true
	}
	return false
}

// isRawRemoved reports whether a field is not sent: who is in Bcc is nobody's
// business (RFC 5322 §3.6.3), and Return-Path is the last server's to write
// (RFC 5321 §4.4). name is in lower case.
func isRawRemoved(name string) bool {
	return name == "bcc" || name == "resent-bcc" || name == "return-path"
}

// readRawHeader reads the header field by field.
func readRawHeader(head []byte, limits *Limits) *rawHeader {
	h := &rawHeader{values: make(map[string]string, 8)}
	var ends lineEnds
	text := ends.append(make([]byte, 0, len(head)+len(head)/16), head)
	if n := len(text); n > 0 && text[n-1] != '\n' {
		text = append(text, "\r\n"...)
	}
	h.clean = make([]byte, 0, len(text)+128)
	for len(text) > 0 && len(h.faults) < maxRawFaults {
		if bytes.HasPrefix(text, []byte("\r\n")) {
			h.lines++
			break
		}
		// A field goes on while lines begin with white space.
		end := 0
		first := h.lines + 1
		for {
			n := bytes.IndexByte(text[end:], '\n') + 1
			h.lines++
			h.checkLine(text[end : end+n-2])
			end += n
			if end == len(text) || text[end] != ' ' && text[end] != '\t' {
				break
			}
		}
		h.field(text[:end], first)
		text = text[end:]
	}
	h.addresses(limits)
	return h
}

// add notes a fault of the octets.
func (h *rawHeader) add(f *Fault) { h.faults.addAt("raw", f) }

// checkLine checks what no line of a header may have.
func (h *rawHeader) checkLine(line []byte) {
	if len(line) > hardLine {
		h.add(fault(CodeTooLong, "line %d has %d octets; at most %d are possible (RFC 5322 section 2.1.1), so fold the header field", h.lines, len(line), hardLine))
	}
	if bytes.IndexByte(line, 0) >= 0 {
		h.add(nulInLine(h.lines))
	}
}

// field takes one field; line is the number of its first line.
func (h *rawHeader) field(text []byte, line int64) {
	name, value, ok := bytes.Cut(text, []byte(":"))
	switch {
	case text[0] == ' ' || text[0] == '\t':
		h.add(fault(CodeInvalidHeaderName, "line %d begins with white space but continues no header field; begin the message with a field such as From", line))
		return
	case line == 1 && bytes.HasPrefix(text, []byte("From ")):
		h.add(fault(CodeInvalidHeaderName, "line 1 is the \"From \" line of a mailbox file; remove it"))
		return
	case !ok:
		h.add(fault(CodeInvalidHeaderName, "line %d is no header field, it has no colon; an empty line must end the header", line))
		return
	}
	if f := checkFieldName(string(name)); f != nil {
		h.add(fault(CodeInvalidHeaderName, "line %d: %s", line, f.Detail))
		return
	}
	lower := strings.ToLower(string(name))
	removed := isRawRemoved(lower)
	if !isASCII(string(text)) {
		if !utf8.Valid(text) {
			h.add(fault(CodeInvalidUTF8, "header field %s in line %d is neither ASCII nor UTF-8; write it in encoded-words (RFC 2047)", show(string(name)), line))
			return
		}
		h.utf8 = h.utf8 || !removed
	}
	if isRawSingle(lower) {
		if _, twice := h.values[lower]; twice {
			h.add(fault(CodeDuplicateHeader, "line %d has a second header field %s; it may appear once (RFC 5322 section 3.6)", line, show(string(name))))
			return
		}
		h.values[lower] = strings.Trim(strings.ReplaceAll(string(value), "\r\n", ""), " \t")
	}
	if !removed {
		h.clean = append(h.clean, text...)
	}
}

// addresses reads and checks the fields that the envelope and RFC 5322 need.
func (h *rawHeader) addresses(limits *Limits) {
	var fs Faults
	if value, ok := h.values["from"]; !ok || value == "" {
		fs.add("from", CodeRequired, "message has no header field From; add one with the author's address")
	} else {
		h.from = fs.rawList("from", value, limits)
	}
	h.sender = fs.rawList("sender", h.values["sender"], limits)
	if date, ok := h.values["date"]; ok {
		h.hasDate = true
		if _, err := mail.ParseDate(date); err != nil {
			fs.add("date", CodeInvalidValue, "header field Date %s is not a date of RFC 5322; remove it to have one made", show(date))
		}
	}
	if id, ok := h.values["message-id"]; ok {
		h.messageID = id
		if len(id) < 2 || id[0] != '<' || id[len(id)-1] != '>' {
			fs.add("message_id", CodeInvalidMessageID, "header field Message-ID %s is not of the form <left@right>; remove it to have one made", show(id))
		} else {
			fs.addAt("message_id", checkMessageID(id))
		}
	}
	switch {
	case len(h.from) > 0 && len(h.sender) > 1:
		fs.add("sender", CodeTooMany, "header field Sender has %d addresses; it may have one", len(h.sender))
	case len(h.from) > 1 && h.values["sender"] == "":
		fs.add("sender", CodeRequired, "header field From has %d addresses; add Sender with the one that sends (RFC 5322 section 3.6.2)", len(h.from))
	}
	h.faults = append(h.faults, fs...)
}

// rawList reads the addresses of a field, groups and comments too, and checks
// each. An empty value has none.
func (fs *Faults) rawList(field, value string, limits *Limits) []Address {
	if value == "" {
		return nil
	}
	parser := mail.AddressParser{WordDecoder: &mime.WordDecoder{CharsetReader: ToUTF8}}
	parsed, err := parser.ParseList(value)
	if err != nil {
		fs.add(field, CodeInvalidAddress, "header field %s %s cannot be read: %s", field, show(value), strings.TrimPrefix(err.Error(), "mail: "))
		return nil
	}
	list := make([]Address, len(parsed))
	for i, p := range parsed {
		at := strings.LastIndexByte(p.Address, '@')
		// The display name is not needed, and a strange one is no fault here.
		list[i] = Address{LocalPart: p.Address[:max(at, 0)], Domain: p.Address[at+1:]}
	}
	fs.checkList(field, list, limits)
	return list
}

// envelope makes the envelope and adds its faults.
func (h *rawHeader) envelope(o *RawOptions, limits *Limits, fs *Faults) Envelope {
	e := Envelope{RequireTLS: o.RequireTLS, DSN: o.DSN.clone()}
	switch {
	case o.MailFrom != nil:
		if !o.MailFrom.IsZero() {
			fs.checkAddress("mail_from", o.MailFrom, limits)
			e.MailFrom = o.MailFrom.Mailbox()
		}
	case len(h.sender) > 0:
		e.MailFrom = h.sender[0].Mailbox()
	case len(h.from) > 0:
		e.MailFrom = h.from[0].Mailbox()
	}
	rcpt := o.Rcpt
	if rcpt == nil {
		n := len(*fs)
		h.to = fs.rawList("to", h.values["to"], limits)
		h.cc = fs.rawList("cc", h.values["cc"], limits)
		h.bcc = fs.rawList("bcc", h.values["bcc"], limits)
		all := len(h.to) + len(h.cc) + len(h.bcc)
		switch {
		case all == 0 && len(*fs) == n:
			fs.add("to", CodeRequired, "message has no recipient in To, Cc or Bcc; add one, or give the recipients of the envelope")
		case all > limits.Recipients:
			fs.add("to", CodeTooMany, "message has %d recipients; at most %d are allowed", all, limits.Recipients)
		}
		rcpt = append(append(h.to[:len(h.to):len(h.to)], h.cc...), h.bcc...)
	} else {
		if len(rcpt) == 0 {
			fs.add("rcpt", CodeRequired, "message has no recipient; give at least one")
		}
		fs.checkList("rcpt", rcpt, limits)
	}
	if o.DSN != nil {
		fs.checkDSN(o.DSN)
	}
	if len(*fs) > 0 {
		return e
	}
	boxes := make([]string, len(rcpt))
	for i := range rcpt {
		boxes[i] = rcpt[i].Mailbox()
	}
	e.RcptTo = uniqueMailboxes(boxes)
	e.SMTPUTF8 = !isASCII(e.MailFrom)
	for _, box := range e.RcptTo {
		e.SMTPUTF8 = e.SMTPUTF8 || !isASCII(box)
	}
	return e
}

// complete adds Date and Message-ID where they are missing (RFC 6409 §8.1,
// §8.3: what a submission server may add).
func (h *rawHeader) complete(o *RawOptions) error {
	options := ComposeOptions{Now: o.Now}
	w := headerWriter{buf: h.clean}
	now := options.now()
	if !h.hasDate {
		w.begin("Date")
		w.buf = append(w.buf, ' ')
		w.buf = appendDate(w.buf, now)
		w.end()
	}
	if h.messageID == "" {
		var n nonce
		if err := n.fill(o.Random); err != nil {
			return err
		}
		domain := o.MessageIDDomain
		if domain == "" {
			domain = domainOf(h.from[0].Mailbox())
		}
		h.messageID = makeMessageID(&n, now, domain)
		w.fixed("Message-ID", h.messageID)
	}
	h.clean = w.buf
	return nil
}
