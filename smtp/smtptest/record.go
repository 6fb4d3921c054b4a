package smtptest

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"
)

// SentReply is a reply that the server gave. The zero value: none was given.
type SentReply struct {
	// Code is the reply code; 0 if what was written has none.
	Code int
	// Lines are the lines without code and without line end, enhanced codes
	// included.
	Lines []string
}

// Positive reports a 2yz or 3yz code (RFC 5321 §4.2.1).
func (r SentReply) Positive() bool { return r.Code >= 200 && r.Code < 400 }

// String gives the reply in one line: the code, and the lines joined by " / ".
func (r SentReply) String() string {
	if r.Code == 0 && len(r.Lines) == 0 {
		return ""
	}
	return fmt.Sprintf("%03d %s", r.Code, strings.Join(r.Lines, " / "))
}

// Path is the argument of MAIL or RCPT with the reply to it.
type Path struct {
	// Address is what stood between < and >. "" is the null reverse-path.
	Address string
	// Params are the parameters (RFC 5321 §4.1.2): keyword in upper case to value
	// as received, "" for a parameter without value.
	Params map[string]string
	// Reply is what the server answered.
	Reply SentReply
}

// Envelope is what a transaction carries beside its content.
type Envelope struct {
	// MailFrom is the reverse-path.
	MailFrom Path
	// RcptTo are all forward-paths in their order, refused ones too.
	RcptTo []Path
}

// Recipients gives the addresses of the accepted forward-paths.
func (e Envelope) Recipients() []string {
	var a []string
	for _, p := range e.RcptTo {
		if p.Reply.Positive() {
			a = append(a, p.Address)
		}
	}
	return a
}

// Transaction is a mail transaction (RFC 5321 §3.3), from MAIL to the reply to
// the content, or as far as it came.
type Transaction struct {
	Envelope

	// Session is the number of its session, from 1 in the order of connecting.
	Session int
	// Number counts the transactions of the session, from 1.
	Number int
	// Begun is when MAIL was accepted, Ended when the transaction was over.
	Begun, Ended time.Time

	// Hello is the argument of EHLO or HELO.
	Hello string
	// TLS says whether it ran under TLS.
	TLS bool
	// User is the authenticated user; "": none.
	User string

	// Command is DATA or BDAT, however the content came; "" if none began.
	Command string
	// Chunks is the number of BDAT commands.
	Chunks int
	// Content holds the octets as received, after undoing transparency
	// (RFC 5321 §4.5.2) or joining chunks, up to Config.MaxContent. It is shared
	// between copies of the transaction: do not change it.
	Content []byte
	// Size is the number of content octets that arrived.
	Size int64
	// Complete says whether the end of the content arrived.
	Complete bool

	// Accepted says whether the server took responsibility for the message.
	Accepted bool
	// Reply is the reply to the content. Zero: none was given.
	Reply SentReply
	// Flights is the number of times the server had to wait for the client
	// from MAIL to the end of the content: the client's round trips.
	Flights int
	// Lint are the faults of content and commands of this transaction.
	Lint []Lint

	sum [sha256.Size]byte // of all octets, if not all are in Content
}

// Sum gives the SHA-256 hash of all Size octets of the content, whether or not
// they were kept.
func (t Transaction) Sum() [sha256.Size]byte {
	if int64(len(t.Content)) == t.Size {
		return sha256.Sum256(t.Content)
	}
	return t.sum
}

// Text gives the kept content as a string.
func (t Transaction) Text() string { return string(t.Content) }

func (t *Transaction) clone() Transaction {
	c := *t
	c.RcptTo = slices.Clone(t.RcptTo)
	c.Lint = slices.Clone(t.Lint)
	return c
}

// Command is a command that the server received, with its reply.
type Command struct {
	// Session is the number of the session.
	Session int
	// Time is when its line had been read.
	Time time.Time
	// Verb is the command in upper case, or a pseudo command such as
	// CommandGreeting. "": a line that is no command.
	Verb string
	// Arg is the rest of the line. What an AUTH command or response carried is
	// replaced by ***.
	Arg string
	// Flight counts the waits of the server for the client: commands with
	// the same number arrived together.
	Flight int
	// Reply is what was answered; zero if nothing was, or nothing yet.
	Reply SentReply
	// Scripted says whether a rule decided.
	Scripted bool
}

// String gives command and reply in one line.
func (c Command) String() string {
	line := c.Verb
	if c.Arg != "" {
		line += " " + c.Arg
	}
	return line + " → " + c.Reply.String()
}

// LintKind names a fault of a client.
type LintKind string

// The faults that are noted.
const (
	// LintBareCR is a CR without LF in content (RFC 5321 §2.3.8).
	LintBareCR LintKind = "bare CR"
	// LintBareLF is an LF without CR in content or ending a command line.
	LintBareLF LintKind = "bare LF"
	// LintNUL is a NUL in content that is not BODY=BINARYMIME.
	LintNUL LintKind = "NUL"
	// LintLongLine is a content line of more than 998 octets (RFC 5321 §4.5.3.1.6).
	LintLongLine LintKind = "line over 998 octets"
	// LintEightBit is an octet above 127 in content without BODY=8BITMIME,
	// BODY=BINARYMIME or SMTPUTF8.
	LintEightBit LintKind = "8-bit content without BODY=8BITMIME"
	// LintNoFinalCRLF is content that does not end in CRLF, by BDAT.
	LintNoFinalCRLF LintKind = "content does not end in CRLF"
	// LintPipelining is a command sent before the reply to the one before,
	// though PIPELINING was not offered.
	LintPipelining LintKind = "pipelining not offered"
	// LintPipelinedPast is something sent behind a command whose reply must be
	// awaited (RFC 2920 §3.1): EHLO, STARTTLS, AUTH, DATA, QUIT and others.
	LintPipelinedPast LintKind = "sent without waiting"
	// LintPathSpace is a space between FROM: or TO: and the path.
	LintPathSpace LintKind = "space before path"
)

// Lint is a fault of a client that the server let pass or answered mildly.
type Lint struct {
	// Session is the number of the session.
	Session int
	// Kind says what is wrong.
	Kind LintKind
	// Detail says where: a command, or the first octet of the content at fault.
	Detail string
}

// String gives kind, place and session in one line.
func (l Lint) String() string {
	return fmt.Sprintf("session %d: %s: %s", l.Session, l.Kind, l.Detail)
}
