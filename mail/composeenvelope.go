package mail

import (
	"slices"
	"strings"
)

// Envelope is what SMTP must be told beside the content, RFC 5321 §2.3.1.
type Envelope struct {
	// MailFrom is the reverse-path without angle brackets; "" is the null
	// reverse-path <>.
	MailFrom string
	// RcptTo are the forward-paths without angle brackets: To, Cc and Bcc in
	// this order, domains as A-labels, each mailbox once.
	RcptTo []string
	// EightBit says that the content has octets over 127, so that it needs
	// 8BITMIME (RFC 6152).
	EightBit bool
	// SMTPUTF8 says that the header or an address of the envelope has
	// UTF-8 in it, so that it needs SMTPUTF8 (RFC 6531).
	SMTPUTF8 bool
	// RequireTLS asks for REQUIRETLS (RFC 8689).
	RequireTLS bool
	// DSN is the request for delivery status notifications; nil: none.
	DSN *DSN
}

// Envelope gives the message's envelope. The caller owns what it gets.
func (c *Composed) Envelope() Envelope {
	e := c.envelope
	e.RcptTo = slices.Clone(e.RcptTo)
	e.DSN = e.DSN.clone()
	return e
}

// clone gives a copy that shares nothing; nil for nil.
func (d *DSN) clone() *DSN {
	if d == nil {
		return nil
	}
	e := *d
	e.Notify = slices.Clone(d.Notify)
	return &e
}

// uniqueMailboxes leaves each mailbox once, the first time it appears, in
// place. Domains compare without case; local parts as they are (RFC 5321
// §2.4).
func uniqueMailboxes(boxes []string) []string {
	const few = 16 // up to here comparing all is faster than a map
	if len(boxes) <= few {
		unique := boxes[:0]
		for _, box := range boxes {
			if !slices.ContainsFunc(unique, func(u string) bool { return sameMailbox(u, box) }) {
				unique = append(unique, box)
			}
		}
		return unique
	}
	seen := make(map[string]struct{}, len(boxes))
	return slices.DeleteFunc(boxes, func(box string) bool {
		at := strings.LastIndexByte(box, '@') + 1
		key := box[:at] + strings.ToLower(box[at:])
		_, double := seen[key]
		seen[key] = struct{}{}
		return double
	})
}

// sameMailbox compares two mailboxes.
func sameMailbox(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	at := strings.LastIndexByte(a, '@') + 1
	return a[:at] == b[:at] && strings.EqualFold(a[at:], b[at:])
}
