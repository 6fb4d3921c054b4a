// Package mail is what is sent: addresses, messages, their validation, and
// their composition into the exact octets that go over the wire.
//
// A [Message] is filled field by field, checked by [Message.Validate] and
// turned into a [Composed] by [Message.Compose]; a message that exists already
// as RFC 5322 octets goes through [ComposeRaw]. Every fault of a message is
// reported at once, each as a [Fault] with the field it belongs to, a code for
// programs and one line for people.
//
// The package opens no connection and knows nothing of SMTP replies, relays or
// retries; it reads nothing but what the caller gives it, and the only files
// it opens are those of [FileAttachment]. It does not read mail either: there
// is no parser of received messages here.
//
// Programs use it through package postrider, or alone to check and compose.
//
// It obeys RFC 5322 (format), RFC 2045 to 2047, 2183, 2231 and 2392 (MIME),
// RFC 5321 §4.1.2 and §4.5.3.1 (mailboxes and their sizes), RFC 6531 and 6532
// (internationalised addresses and header), RFC 5890 and 5891 (A-labels),
// RFC 3461 (delivery status requests), RFC 2369 and 8058 (list-unsubscribe),
// RFC 3834 (Auto-Submitted), RFC 5545 and 6047 (calendar parts).
package mail
