package mail

// Validate finds all faults of the message at once, each with its field; nil
// if there is none. nil l means the default limits. It reads no content: what
// Open gives is counted and checked at composition.
func (m *Message) Validate(l *Limits) Faults {
	lim := l.resolved()
	return m.validate(&lim, true)
}

// validate is Validate with limits that are resolved. Composition looks at the
// bodies' octets itself, once for all that it wants to know of them: without
// bodies it is not asked whether they are UTF-8.
func (m *Message) validate(lim *Limits, bodies bool) Faults {
	var fs Faults
	if m.From.IsZero() {
		fs.add("from", CodeRequired, "message has no author; give one address such as user@example.com")
	} else {
		fs.checkAddress("from", &m.From, lim)
	}
	if !m.Sender.IsZero() {
		fs.checkAddress("sender", &m.Sender, lim)
	}
	fs.checkList("reply_to", m.ReplyTo, lim)
	fs.checkRecipients(m.To, m.Cc, m.Bcc, lim)
	if m.MailFrom != nil && !m.MailFrom.IsZero() {
		fs.checkAddress("mail_from", m.MailFrom, lim)
	}
	fs.checkSubject(m.Subject, lim)
	fs.checkBodies(m, lim, bodies)
	fs.checkAttachments(m, lim)
	fs.checkHeader(m, lim)
	fs.checkTrace(m, lim)
	fs.checkUnsubscribe(m, lim)
	fs.checkWords(m)
	if m.DSN != nil {
		fs.checkDSN(m.DSN)
	}
	return fs
}

// ValidateAddress checks one address, which must not be zero. field is the
// name that its fault gets, such as "from".
func ValidateAddress(field string, a Address, l *Limits) Faults {
	lim := l.resolved()
	var fs Faults
	fs.checkAddress(field, &a, &lim)
	return fs
}

// ValidateRecipients checks the recipients: each of them, that there is one,
// and how many there are together. The fields are "to", "to[0]", "cc[0]" and
// so on.
func ValidateRecipients(to, cc, bcc []Address, l *Limits) Faults {
	lim := l.resolved()
	var fs Faults
	fs.checkRecipients(to, cc, bcc, &lim)
	return fs
}

// ValidateSubject checks the subject: UTF-8, no control characters but TAB,
// not too long. It may be empty (RFC 5322 §3.6 does not even ask for the
// field). The field is "subject".
func ValidateSubject(s string, l *Limits) Faults {
	lim := l.resolved()
	var fs Faults
	fs.checkSubject(s, &lim)
	return fs
}

// ValidateBody checks the two bodies: UTF-8, not too large, and that one of
// them has content. The fields are "text" and "html".
func ValidateBody(text, html string, l *Limits) Faults {
	lim := l.resolved()
	var fs Faults
	if text == "" && html == "" {
		fs.add("text", CodeRequired, "body is empty; give text, html or both")
	}
	fs.checkBody("text", text, lim.TextOctets, true)
	fs.checkBody("html", html, lim.HTMLOctets, true)
	return fs
}

// ValidateAttachments checks attachments alone and together: names, media
// types, content ids, base64 text and sizes. An attachment whose size is not
// known counts nothing here; composition counts it. The fields are
// "attachments", "attachments[0].content", "….filename", "….media_type" and
// "….content_id".
func ValidateAttachments(as []Attachment, l *Limits) Faults {
	lim := l.resolved()
	m := Message{Attachments: as}
	var fs Faults
	fs.checkAttachments(&m, &lim)
	return fs
}

// checkAddress adds the first fault of one address.
func (fs *Faults) checkAddress(field string, a *Address, l *Limits) {
	if f := checkAddress(a, given{addr: a}, l); f != nil {
		fs.addAt(field, f)
	}
}

// checkList checks a list of addresses. Beyond the limit on their number
// only that is reported: a hostile list must not make a fault for each of a
// million members.
func (fs *Faults) checkList(field string, as []Address, l *Limits) {
	if len(as) > l.Recipients {
		fs.add(field, CodeTooMany, "%s has %d addresses; at most %d are allowed", field, len(as), l.Recipients)
		return
	}
	for i := range as {
		if f := checkAddress(&as[i], given{addr: &as[i]}, l); f != nil {
			fs.addAt(at(field, i), f)
		}
	}
}

// checkRecipients checks To, Cc and Bcc alone and together.
func (fs *Faults) checkRecipients(to, cc, bcc []Address, l *Limits) {
	switch n := len(to) + len(cc) + len(bcc); {
	case n == 0:
		fs.add("to", CodeRequired, "message has no recipient; give at least one address in to, cc or bcc")
		return
	case n > l.Recipients:
		fs.add("to", CodeTooMany, "to, cc and bcc have %d recipients together; at most %d are allowed", n, l.Recipients)
		return
	}
	fs.checkList("to", to, l)
	fs.checkList("cc", cc, l)
	fs.checkList("bcc", bcc, l)
}

// checkSubject checks the subject.
func (fs *Faults) checkSubject(s string, l *Limits) {
	if len(s) > l.SubjectOctets {
		fs.add("subject", CodeTooLong, "subject has %d octets; at most %d are allowed", len(s), l.SubjectOctets)
		return
	}
	fs.addAt("subject", checkText("subject", s, true))
}

// checkBodies checks what the recipient reads; octets: whether it is UTF-8 too.
func (fs *Faults) checkBodies(m *Message, l *Limits, octets bool) {
	if m.Text == "" && m.HTML == "" && m.TextFrom == nil && m.HTMLFrom == nil && m.Calendar == nil && len(m.Attachments) == 0 {
		fs.add("text", CodeRequired, "message is empty; give text, html, a calendar object or an attachment")
	}
	if m.Text != "" && m.TextFrom != nil {
		fs.add("text", CodeConflict, "text is given twice, as Text and as TextFrom; give one of them")
	}
	if m.HTML != "" && m.HTMLFrom != nil {
		fs.add("html", CodeConflict, "html is given twice, as HTML and as HTMLFrom; give one of them")
	}
	fs.checkBody("text", m.Text, l.TextOctets, octets)
	fs.checkBody("html", m.HTML, l.HTMLOctets, octets)
	if m.Calendar != nil {
		fs.checkCalendar(m.Calendar, l)
	}
}

// checkBody checks one body, its octets too if asked.
func (fs *Faults) checkBody(field, s string, limit int64, octets bool) {
	switch {
	case int64(len(s)) > limit:
		fs.add(field, CodeTooLarge, "%s has %d octets; at most %d are allowed", field, len(s), limit)
	case octets && !validUTF8(s):
		fs.add(field, CodeInvalidUTF8, "%s is not UTF-8; convert it from its charset", field)
	}
}
