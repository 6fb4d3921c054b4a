package mail

import (
	"io"
	"time"
)

// Opener opens content from its beginning. It is called once for each pass
// over the message (a pass to count, one for each attempt to send), and must
// give the same octets each time. The reader is closed after each pass.
type Opener func() (io.ReadCloser, error)

// Message is what a caller wants sent. Only From, one recipient and one of
// Text, HTML, Calendar or Attachments are needed; the zero value of every
// other field means "none" or "made at composition". A Message is plain data:
// nothing is checked before Validate or Compose.
type Message struct {
	// From is the author, header field From (RFC 5322 §3.6.2). Required.
	From Address
	// Sender is who transmitted the message if that is not the author, header
	// field Sender. Zero: none.
	Sender Address
	// ReplyTo says where answers should go, header field Reply-To.
	ReplyTo []Address
	// To, Cc and Bcc are the recipients, in the header and in the envelope,
	// except that Bcc is never in the header.
	To, Cc, Bcc []Address
	// MailFrom is the reverse-path, where failure reports go (RFC 5321 §3.3).
	// nil: Sender if set, else From. &Address{}: the null reverse-path <>,
	// for messages that must never be answered by a failure report. A display
	// name in it is not used.
	MailFrom *Address

	// Subject is the header field Subject, any UTF-8 without control
	// characters; TAB is allowed and becomes a space. It may be empty.
	Subject string
	// Text and HTML are the bodies as UTF-8. Line ends may be LF or CRLF. If
	// both are set, they are alternatives of one another.
	Text, HTML string
	// TextFrom and HTMLFrom give bodies too large to hold in memory, as
	// UTF-8. Each excludes its string.
	TextFrom, HTMLFrom Opener
	// Calendar is an invitation, the last of the alternatives. nil: none.
	Calendar *Calendar
	// Attachments are the other parts, in this order. Those with a ContentID
	// stand beside the HTML that refers to them.
	Attachments []Attachment

	// Header holds the caller's own header fields, written in this order.
	// Fields that this type has a place for cannot be given here.
	Header []Field
	// Date is the header field Date. Zero: the time of composition.
	Date time.Time
	// MessageID is the header field Message-ID, with or without its angle
	// brackets. Empty: one is made at composition.
	MessageID string
	// InReplyTo and References place the message in a conversation, with or
	// without angle brackets (RFC 5322 §3.6.4).
	InReplyTo  string
	References []string
	// ListUnsubscribe are https or mailto URIs by which a recipient leaves
	// the list (RFC 2369 §3.2), without angle brackets.
	ListUnsubscribe []string
	// ListUnsubscribePost offers one-click unsubscription (RFC 8058 §3.1): one
	// of the URIs, and one only, must then be https and name both list and
	// recipient. §4 demands a DKIM signature, which package dkim makes.
	ListUnsubscribePost bool
	// AutoSubmitted tells automatic responders to stay silent. Empty: no field.
	AutoSubmitted AutoSubmitted
	// Priority is a hint to the recipient's program. Empty: no field.
	Priority Priority

	// DSN asks servers for delivery status notifications. nil: none asked.
	DSN *DSN
	// RequireTLS demands that every hop uses verified TLS or refuses the
	// message (RFC 8689).
	RequireTLS bool
}

// Field is one header field of the caller's own.
type Field struct {
	// Name is the field name, RFC 5322 §3.6.8, without its colon.
	Name string
	// Value is unstructured UTF-8 text without control characters; TAB is
	// allowed and becomes a space. It is encoded and folded at composition.
	Value string
}

// AutoSubmitted is the keyword of the header field Auto-Submitted, RFC 3834
// §5. The empty value writes no field.
type AutoSubmitted string

// The keywords of Auto-Submitted.
const (
	AutoSubmittedNo        AutoSubmitted = "no"             // a person sent it
	AutoSubmittedGenerated AutoSubmitted = "auto-generated" // a program sent it of its own accord
	AutoSubmittedReplied   AutoSubmitted = "auto-replied"   // a program sent it as an answer to another message
)

// Priority is a hint how urgent a message is, written as Importance (RFC 2156
// §5.3.4), X-Priority and Priority. The empty value writes none of them.
type Priority string

// The priorities.
const (
	PriorityHigh   Priority = "high"
	PriorityNormal Priority = "normal"
	PriorityLow    Priority = "low"
)

// Calendar is an iTIP object sent by mail, RFC 6047.
type Calendar struct {
	// Method is the iTIP method, such as REQUEST, REPLY or CANCEL, and must
	// be the METHOD inside Data.
	Method string
	// Data is the iCalendar object as UTF-8, from BEGIN:VCALENDAR on.
	Data []byte
	// Filename, if set, has the object attached a second time under this
	// name, for programs that do not show calendar alternatives.
	Filename string
}

// DSN is a request for delivery status notifications, RFC 3461.
type DSN struct {
	// Notify is NEVER alone, or any of SUCCESS, FAILURE and DELAY (§4.1).
	// Empty: the server's default, which is FAILURE and perhaps DELAY.
	Notify []string
	// Return is FULL or HDRS: how much of the message a failure report
	// brings back (§4.3). Empty: the server's choice.
	Return string
	// EnvelopeID comes back in each notification (§4.4). Printable ASCII, at
	// most 100 characters as xtext. Empty: none.
	EnvelopeID string
}
