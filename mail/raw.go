package mail

import (
	"fmt"
	"io"
	"math"
	"time"
)

// RawOptions are the settings of [ComposeRaw]. nil stands for the zero value,
// in which every field has a sensible default.
type RawOptions struct {
	// MailFrom is the reverse-path. nil: Sender of the header, else the
	// first mailbox of From. &Address{}: the null reverse-path <>.
	MailFrom *Address
	// Rcpt are the recipients of the envelope. nil: To, Cc and Bcc of the
	// header. Resent fields are not looked at.
	Rcpt []Address
	// Limits bounds recipients and addresses, and the message as a whole:
	// bodies and attachments together, attachments as base64. nil: the
	// defaults.
	Limits *Limits
	// Now gives the time for a Date that is missing. nil: time.Now.
	Now func() time.Time
	// Random gives the randomness of a Message-ID that is missing. nil:
	// crypto/rand.
	Random io.Reader
	// MessageIDDomain is the right side of a Message-ID made here. Empty:
	// the domain of From.
	MessageIDDomain string
	// DSN asks for delivery status notifications. nil: none asked.
	DSN *DSN
	// RequireTLS demands verified TLS at every hop (RFC 8689).
	RequireTLS bool
}

// maxRawHeader bounds the header of a raw message, which is held in memory.
// Servers refuse far shorter ones: Postfix takes 100 KB, Gmail 500 KB.
const maxRawHeader = 1 << 20

// ComposeRaw takes a message that exists as RFC 5322 octets. One pass checks
// and measures it; each WriteTo is another pass. It never holds more than the
// header in memory, or the whole if that is at most 64 KiB.
//
// It mends line ends (bare CR, bare LF), ends the last line, removes Bcc,
// Resent-Bcc and Return-Path, and adds Date and Message-ID at the end of the
// header where they are missing. All else is left as it is, so that what it
// wrote comes out the same when given again. It refuses, all faults at once
// and with line numbers: a header that is not one, fields given twice that may
// be there once (RFC 5322 §3.6), a missing or invalid From, several authors
// without a Sender (§3.6.2), octets over 127 in the header that are not UTF-8,
// NUL, lines over 998 octets, and a header over 1 MiB. The error is [Faults];
// the field of what concerns the octets is "raw".
func ComposeRaw(open Opener, o *RawOptions) (*Composed, error) {
	if o == nil {
		o = &RawOptions{}
	}
	limits := o.Limits.resolved()
	r := rawMessage{options: o, limits: &limits}
	r.body = source{field: "raw", open: open, encoding: encoding8Bit}
	if open == nil {
		return nil, Faults{{Field: "raw", Code: CodeRequired, Detail: "message has no content; give an Opener"}}
	}
	limit := rawLimit(&limits)
	n, err := r.body.examine(limit, r.see)
	switch {
	case err != nil:
		return nil, Faults{asFault(err)}
	case n > limit:
		return nil, Faults{*tooLarge("raw", limit)}
	case r.tooLong:
		return nil, Faults{{Field: "raw", Code: CodeTooLong, Detail: fmt.Sprintf("header has more than %d octets; an empty line must end it", maxRawHeader)}}
	}
	return r.compose(n)
}

// rawLimit is the number of octets that a message within limits can have.
func rawLimit(l *Limits) int64 {
	if l.TextOctets == math.MaxInt64 || l.HTMLOctets == math.MaxInt64 || l.AttachmentsOctets > math.MaxInt64/2 {
		return math.MaxInt64
	}
	bodies := l.TextOctets + l.HTMLOctets
	if bodies < 0 || bodies > math.MaxInt64/2 {
		return math.MaxInt64
	}
	files := l.AttachmentsOctets/lineOctets*(lineChars+2) + lineChars + 2
	if files < 0 || files > math.MaxInt64/2-maxRawHeader {
		return math.MaxInt64
	}
	return maxRawHeader + bodies + files
}

// rawMessage is a raw message under examination.
type rawMessage struct {
	options *RawOptions
	limits  *Limits

	head     []byte // the header as given, with the empty line once it is whole
	headDone bool
	tooLong  bool
	start    []byte // the beginning of the body, while the message is small
	facts    textFacts
	body     source
}

// see takes the next octets of the message.
func (r *rawMessage) see(p []byte) {
	switch {
	case r.tooLong:
		return
	case r.headDone:
		r.seeBody(p)
		return
	}
	r.head = append(r.head, p...)
	end, ok := headerEnd(r.head)
	if !ok {
		r.tooLong = len(r.head) > maxRawHeader
		return
	}
	r.tooLong = end > maxRawHeader
	r.headDone = true
	body := r.head[end:]
	r.head = r.head[:end]
	r.seeBody(body)
}

// seeBody takes the next octets of the body.
func (r *rawMessage) seeBody(p []byte) {
	r.facts.add(p)
	if r.facts.octets <= smallMessage {
		r.start = append(r.start, p...)
	} else {
		r.start = nil
	}
}

// headerEnd finds the octet behind the empty line that ends a header. A CR at
// the end of p is left undecided, since a LF may follow.
func headerEnd(p []byte) (end int, ok bool) {
	for at := 0; at < len(p); {
		i := lineEnd(p[at:])
		if i < 0 {
			return 0, false
		}
		next := at + i + 1
		if p[at+i] == '\r' {
			if next == len(p) {
				return 0, false
			}
			if p[next] == '\n' {
				next++
			}
		}
		if i == 0 {
			return next, true
		}
		at = next
	}
	return 0, false
}

// compose checks what was seen and puts the result together. n is the number
// of octets of the whole.
func (r *rawMessage) compose(n int64) (*Composed, error) {
	if !r.headDone && len(r.head) > 0 && r.head[len(r.head)-1] == '\r' {
		// The octet that was waited for never came.
		if end, ok := headerEnd(append(r.head, '\n')); ok {
			r.head, r.headDone = r.head[:end-1], true
		}
	}
	h := readRawHeader(r.head, r.limits)
	fs := h.faults
	fs.checkRawBody(&r.facts, h.lines)
	env := h.envelope(r.options, r.limits, &fs)
	fs.checkIDDomain(r.options.MessageIDDomain)
	if len(fs) > 0 {
		return nil, fs
	}
	if err := h.complete(r.options); err != nil {
		return nil, err
	}
	env.SMTPUTF8 = env.SMTPUTF8 || h.utf8
	env.EightBit = h.utf8 || r.facts.high > 0

	c := &Composed{messageID: h.messageID, envelope: env}
	literal := append(h.clean, "\r\n"...)
	if n <= smallMessage {
		var ends lineEnds
		literal = ends.append(literal, r.start)
		if r.facts.octets > 0 && !r.facts.ended {
			literal = append(literal, "\r\n"...)
		}
		c.one[0].literal = literal
		c.segments = c.one[:]
	} else {
		s := r.body
		s.skip, s.raw = int64(len(r.head)), n-int64(len(r.head))
		s.size = r.facts.octets + r.facts.breaks - r.facts.pairs
		c.segments = []segment{{literal: literal}, {source: &s}}
		if s.raw > 0 && !r.facts.ended {
			c.segments = append(c.segments, segment{literal: []byte("\r\n")})
		}
	}
	for i := range c.segments {
		c.size += c.segments[i].size()
	}
	return c, nil
}

// checkRawBody checks what SMTP cannot carry. lines is the number of lines of
// the header with its empty line.
func (fs *Faults) checkRawBody(facts *textFacts, lines int64) {
	if facts.longAt > 0 {
		fs.addAt("raw", longLine(lines+facts.longAt))
	}
	if facts.nulAt > 0 {
		fs.addAt("raw", nulInLine(lines+facts.nulAt))
	}
}

// longLine is the fault of a line over 998 octets.
func longLine(line int64) *Fault {
	return fault(CodeTooLong, "line %d has more than %d octets (RFC 5322 section 2.1.1); encode the part as quoted-printable or base64", line, hardLine)
}

// nulInLine is the fault of a NUL.
func nulInLine(line int64) *Fault {
	return fault(CodeControlCharacter, "line %d has a NUL, which mail cannot carry; encode the part as base64", line)
}
