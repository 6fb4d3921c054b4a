package mail

import (
	"slices"
)

// recomposition is what a message needs to be composed anew with the same
// Date, Message-ID and boundaries.
type recomposition struct {
	message Message
	options ComposeOptions
	nonce   nonce
}

// recomposition takes what Downgrade needs, so that the caller may change the
// message meanwhile.
func (c *composer) recomposition() *recomposition {
	r := &recomposition{message: *c.m, options: *c.options, nonce: c.nonce}
	m := &r.message
	m.Date, m.MessageID = c.now, c.messageID
	m.To, m.Cc, m.Bcc, m.ReplyTo = slices.Clone(m.To), slices.Clone(m.Cc), slices.Clone(m.Bcc), slices.Clone(m.ReplyTo)
	m.Attachments, m.Header = slices.Clone(m.Attachments), slices.Clone(m.Header)
	m.References, m.ListUnsubscribe = slices.Clone(m.References), slices.Clone(m.ListUnsubscribe)
	m.DSN = m.DSN.clone()
	if m.MailFrom != nil {
		from := *m.MailFrom
		m.MailFrom = &from
	}
	if m.Calendar != nil {
		calendar := *m.Calendar
		m.Calendar = &calendar
	}
	return r
}

// Downgrade gives the message for a relay without 8BITMIME and SMTPUTF8: all
// octets under 128, the same Message-ID and Date. A message that is so
// already comes back as it is.
//
// A mailbox with a UTF-8 local part in To, Cc or Reply-To is replaced by an
// empty group that shows it (RFC 6857). In the envelope it stays: without
// SMTPUTF8 nothing can be sent to it, and whoever sends must report that for
// this recipient. The error is [Faults]: for From, Sender or MailFrom with a
// UTF-8 local part, which nothing can stand in for; for raw input; and after
// Prepend, since a signature would no longer hold.
func (c *Composed) Downgrade() (*Composed, error) {
	e := &c.envelope
	if !e.EightBit && !e.SMTPUTF8 {
		return c, nil
	}
	var fs Faults
	if !isASCII(e.MailFrom) {
		fs.add("mail_from", CodeInvalidAddress, "mail_from %s needs SMTPUTF8, which the relay does not offer; use an ASCII local part", show(e.MailFrom))
	}
	r := c.again
	switch {
	case r == nil && c.signed:
		fs.add("", CodeInvalidValue, "message is signed and has octets over 127, which the relay does not take; compose it 7-bit clean before signing")
	case r == nil && len(fs) == 0 && !c.eightContent():
		// Only the envelope needs SMTPUTF8.
		d := *c
		d.envelope.SMTPUTF8 = false
		return &d, nil
	case r == nil:
		fs.add("", CodeInvalidValue, "raw message has octets over 127, which the relay does not take; raw input is not changed, so encode it as 7-bit")
	default:
		for _, one := range [...]struct {
			field string
			a     *Address
		}{{"from", &r.message.From}, {"sender", &r.message.Sender}} {
			if one.a.NeedsSMTPUTF8() {
				fs.add(one.field, CodeInvalidAddress, "%s %s needs SMTPUTF8, which the relay does not offer; use an ASCII local part", one.field, show(one.a.Mailbox()))
			}
		}
	}
	if len(fs) > 0 {
		return nil, fs
	}
	options := r.options
	options.EightBit = false
	again := composer{
		m: &r.message, options: &options, limits: options.Limits.resolved(),
		nonce: r.nonce, now: r.message.Date, asciiOnly: true,
	}
	d, err := again.compose()
	if err != nil {
		return nil, err
	}
	d.envelope.SMTPUTF8 = false
	return d, nil
}

// eightContent reports whether the content itself has octets over 127.
func (c *Composed) eightContent() bool { return c.envelope.EightBit }
