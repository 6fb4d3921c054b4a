package smtp

import "context"

// Envelope is what SMTP carries beside the content: the reverse-path, the
// forward-paths and what is asked of the server (RFC 5321 §2.3.1). It is not
// changed and may be used again.
type Envelope struct {
	// MailFrom is the reverse-path, local@domain without angle brackets;
	// "" is the null reverse-path <> (RFC 5321 §4.5.5).
	MailFrom string
	// RcptTo are the forward-paths, at least one.
	RcptTo []Recipient
	// EightBit says that the content has octets over 127 and so needs
	// 8BITMIME (RFC 6152).
	EightBit bool
	// SMTPUTF8 says that the header of the content has UTF-8 addresses or
	// text and so needs SMTPUTF8 (RFC 6531). Addresses of the envelope that
	// need it are seen without this.
	SMTPUTF8 bool
	// RequireTLS asks that each further hop uses TLS, or the message fails
	// (RFC 8689).
	RequireTLS bool
	// Return says what a report of failure brings back (RFC 3461 §4.3);
	// "": not said. Dropped when the server does not offer DSN.
	Return DSNReturn
	// EnvelopeID comes back in reports, printable ASCII, at most 100
	// octets (RFC 3461 §4.4); "": none. Dropped without DSN.
	EnvelopeID string
	// BeforeContentEnds is called once in each transaction, before the write
	// that can carry the last octet of the content, with the context of Send:
	// as long as it has not returned, nothing can have been accepted. Its
	// error ends the transaction, ClassTransient and with nothing accepted,
	// and the connection too if a write has been made. A transaction with it
	// is strict (Config.Strict). nil: not called.
	BeforeContentEnds func(ctx context.Context) error
	// Trace is called with each line of this transaction's dialogue, as
	// Config.Trace is and before that; nil: no trace. No call comes after
	// Send has returned.
	Trace func(TraceLine)
}

// Recipient is one forward-path and what is asked for it.
type Recipient struct {
	// Address is local@domain without angle brackets. A domain in UTF-8 is
	// sent as A-labels; a local part in UTF-8 needs SMTPUTF8.
	Address string
	// Notify says when a report is wanted (RFC 3461 §4.1); nil: not said.
	// NEVER stands alone. Dropped when the server does not offer DSN.
	Notify []DSNNotify
	// OriginalRecipient comes back in reports (RFC 3461 §4.2); "": none. An
	// address without a type is given the type rfc822. Dropped without DSN.
	OriginalRecipient string
}

// DSNNotify is a value of the NOTIFY parameter (RFC 3461 §4.1).
type DSNNotify string

// The values of NOTIFY.
const (
	NotifyNever   DSNNotify = "NEVER"   // no report at all; stands alone
	NotifySuccess DSNNotify = "SUCCESS" // when the message was delivered
	NotifyFailure DSNNotify = "FAILURE" // when it could not be
	NotifyDelay   DSNNotify = "DELAY"   // when it is late
)

// DSNReturn is a value of the RET parameter (RFC 3461 §4.3).
type DSNReturn string

// The values of RET.
const (
	ReturnFull   DSNReturn = "FULL" // the whole message comes back
	ReturnHeader DSNReturn = "HDRS" // only its header
)
