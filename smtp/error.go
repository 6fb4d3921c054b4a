package smtp

import (
	"errors"
	"strings"
)

// Phase is a station of the conversation.
type Phase string

// The phases, in their order.
const (
	PhaseDial     Phase = "dial"     // connecting
	PhaseTLS      Phase = "tls"      // STARTTLS and the TLS handshake
	PhaseGreeting Phase = "greeting" // the greeting and EHLO
	PhaseAuth     Phase = "auth"     // AUTH
	PhaseMail     Phase = "mail"     // MAIL, and RSET before it
	PhaseRcpt     Phase = "rcpt"     // RCPT
	PhaseData     Phase = "data"     // DATA or BDAT, and writing the content
	PhaseDot      Phase = "dot"      // all content was written, its reply has not come
	PhaseDone     Phase = "done"     // the content was accepted
)

// Class says what a failure means for the message.
type Class string

const (
	// ClassTransient means not accepted; the same may succeed later.
	ClassTransient Class = "transient"
	// ClassPermanent means not accepted; the same will fail again.
	ClassPermanent Class = "permanent"
	// ClassRelay means not accepted: this configuration is refused (authentication,
	// certificate, no STARTTLS) and every message would be. Messages wait for
	// a person.
	ClassRelay Class = "relay"
	// ClassUnknown means that the connection was lost after the last octet of the
	// content may have been written and before its reply came. The server
	// may have accepted it (RFC 1047).
	ClassUnknown Class = "unknown"
)

// Error is a failure of the conversation: a negative reply, or anything that
// kept a reply from coming. It never holds a password or token.
type Error struct {
	// Phase is where it happened.
	Phase Phase
	// Command is the verb that was refused or waited for, such as "MAIL";
	// "" if there was none.
	Command string
	// Recipient is the forward-path concerned; "": all.
	Recipient string
	// Code and Enhanced are those of the reply; Code is 0 if there was none.
	// A failure found before anything was sent may carry the enhanced code
	// that fits.
	Code     int
	Enhanced EnhancedCode
	// Text is the text of the reply, in one line; "" if there was none.
	Text string
	// Class says what it means for the message.
	Class Class
	// Err is the cause when there was no reply: for a deadline
	// errors.Is(err, os.ErrDeadlineExceeded) holds, for an ended context
	// context.Canceled or context.DeadlineExceeded.
	Err error

	stale   bool // see Stale
	tooMany bool // see TooManyRecipients
}

// Error gives one line: "smtp: rcpt <bob@example.com>: 550 5.1.1 no such user".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("smtp: ")
	b.WriteString(string(e.Phase))
	if e.Recipient != "" {
		b.WriteString(" <")
		b.WriteString(printable(e.Recipient))
		b.WriteByte('>')
	}
	if s := replyString(e.Code, e.Enhanced, e.Text); s != "" {
		b.WriteString(": ")
		b.WriteString(s)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	if e.Class == ClassUnknown {
		b.WriteString(" (the server may have accepted the message)")
	}
	return b.String()
}

// Unwrap gives Err, nil if a reply was the cause.
func (e *Error) Unwrap() error { return e.Err }

func classOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return ""
}

// IsTransient says whether the message was not accepted and the same may
// succeed later.
func IsTransient(err error) bool { return classOf(err) == ClassTransient }

// IsPermanent says whether the message was not accepted and never will be.
func IsPermanent(err error) bool { return classOf(err) == ClassPermanent }

// MaybeAccepted says whether the server may have accepted the message although
// no reply said so ([ClassUnknown]). Sending it again may make a second copy.
func MaybeAccepted(err error) bool { return classOf(err) == ClassUnknown }

// IsRelayFault says whether the configuration is refused, not the message
// ([ClassRelay]).
func IsRelayFault(err error) bool { return classOf(err) == ClassRelay }

// IsAuth says whether authentication was refused or is demanded: reply 530,
// 534, 535 or 538, or any permanent refusal of AUTH (RFC 4954 §6).
func IsAuth(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	switch e.Code {
	case 530, 534, 535, 538:
		return true
	}
	return e.Phase == PhaseAuth && e.Class == ClassRelay
}

// IsPolicy says whether the enhanced code has the subject "security or policy"
// (x.7.z, RFC 3463 §3.8).
func IsPolicy(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Enhanced[1] == 7 && !e.Enhanced.IsZero()
}

// TooManyRecipients says whether this recipient was refused only because the
// transaction already had as many as the server takes at once (452 or 552
// after an accepted one, RFC 5321 §4.5.3.1.10). It belongs in a further
// transaction at once.
func TooManyRecipients(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.tooMany
}

// Stale says whether a connection that had been used or idle before was lost
// in a way that is known to have accepted nothing. The transaction may move
// to a fresh connection once, silently.
func Stale(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.stale
}
