package mail

import (
	"strings"
)

// header writes the message header but for the fields of its first part, in
// the order in which people like to read it. RFC 5322 §3.6 asks for no order.
func (c *composer) header() {
	m := c.m
	c.begin("Date")
	c.buf = append(c.buf, ' ')
	c.buf = appendDate(c.buf, c.now)
	c.end()
	c.one("From", m.From.Name, c.from)
	if c.sender != "" {
		c.one("Sender", m.Sender.Name, c.sender)
	}
	c.list("Reply-To", m.ReplyTo, nil)
	c.list("To", m.To, c.boxes)
	c.list("Cc", m.Cc, c.boxes[len(m.To):])
	if len(m.To)+len(m.Cc) == 0 {
		// Not needed since RFC 2822, but filters hold its absence against a
		// message. An empty group shows no one.
		c.fixed("To", "undisclosed-recipients:;")
	}
	if m.Subject != "" {
		c.unstructured("Subject", m.Subject)
	}
	c.fixed("Message-ID", c.messageID)
	if m.InReplyTo != "" {
		c.ids("In-Reply-To", strings.Fields(m.InReplyTo))
	}
	if len(m.References) > 0 {
		c.ids("References", m.References)
	}
	c.listFields()
	if m.AutoSubmitted != "" {
		c.fixed("Auto-Submitted", string(m.AutoSubmitted))
	}
	c.priority()
	for i := range m.Header {
		c.unstructured(m.Header[i].Name, m.Header[i].Value)
	}
	c.fixed("MIME-Version", "1.0")
}

// one writes a field of one mailbox.
func (c *composer) one(field, name, box string) {
	c.begin(field)
	c.address(name, box, false)
	c.end()
}

// list writes a field of mailboxes, folded between them; none for an empty
// list. boxes begins with theirs as they are on the wire; nil: not made yet.
func (c *composer) list(field string, list []Address, boxes []string) {
	if len(list) == 0 {
		return
	}
	c.begin(field)
	for i := range list {
		var box string
		if boxes != nil {
			box = boxes[i]
		} else {
			box = list[i].Mailbox()
		}
		c.address(list[i].Name, box, i+1 < len(list))
	}
	c.end()
}

// address writes one mailbox of a list.
func (c *composer) address(name, box string, comma bool) {
	if !isASCII(box) {
		if c.asciiOnly {
			c.removedMailbox(name, box, comma)
			return
		}
		c.smtpUTF8 = true
	}
	c.mailbox(name, box, comma)
}

// ids writes a field of message identifiers.
func (c *composer) ids(field string, ids []string) {
	c.begin(field)
	for _, id := range ids {
		for _, id := range strings.Fields(id) {
			c.token("", angled(id), "")
		}
	}
	c.end()
}

// listFields writes what lets a recipient leave a list: RFC 2369 §3.2, RFC
// 8058 §3.1.
func (c *composer) listFields() {
	uris := c.m.ListUnsubscribe
	if len(uris) == 0 {
		return
	}
	c.begin("List-Unsubscribe")
	for i, uri := range uris {
		if i+1 < len(uris) {
			c.token("<", uri, ">,")
		} else {
			c.token("<", uri, ">")
		}
	}
	c.end()
	if c.m.ListUnsubscribePost {
		c.fixed("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
	}
}

// priority writes the hint in the three ways that readers look for: Importance
// (RFC 2156 §5.3.4; Outlook, Gmail), X-Priority (Apple Mail, Thunderbird) and
// Priority (RFC 2156 §5.3.6).
func (c *composer) priority() {
	switch c.m.Priority {
	case PriorityHigh:
		c.fixed("Importance", "high")
		c.fixed("X-Priority", "1")
		c.fixed("Priority", "urgent")
	case PriorityNormal:
		c.fixed("Importance", "normal")
		c.fixed("X-Priority", "3")
		c.fixed("Priority", "normal")
	case PriorityLow:
		c.fixed("Importance", "low")
		c.fixed("X-Priority", "5")
		c.fixed("Priority", "non-urgent")
	}
}
