package smtptest

import (
	"strings"
	"time"
)

// Action is what a rule does in place of the server's own handling. The zero
// value does nothing but let the server go on by itself.
//
// Where an action replies, the code decides what follows as if it were the
// server's own: 2yz accepts the sender, the recipient, the content or the
// user, 354 after DATA reads content, 220 after STARTTLS begins TLS.
type Action struct {
	steps []step
}

type stepKind int

const (
	stepProceed stepKind = iota
	stepReply
	stepPieces
	stepWrite
	stepAccept
	stepWait
	stepDrop
	stepReset
	stepHangUp
	stepSilence
	stepStall
	stepAfterRead
	stepAtOctet
)

type step struct {
	kind  stepKind
	lines []string
	wait  time.Duration
	octet int64
	then  Action
}

// Reply answers with the lines given, each with its code: "550 5.1.1 no such
// user". With several lines, hyphens are put after the codes as a multi-line
// reply needs them; a line without code gets that of the first. A single line
// without code is sent as it is: a malformed reply.
func Reply(lines ...string) Action {
	return Action{[]step{{kind: stepReply, lines: lines}}}
}

// ReplyInPieces answers with pieces that together are the reply's octets, each in
// a write of its own and gap apart. A missing CRLF is added to the last.
func ReplyInPieces(gap time.Duration, pieces ...string) Action {
	return Action{[]step{{kind: stepPieces, lines: pieces, wait: gap}}}
}

// ReplyThenDrop answers and closes the connection.
func ReplyThenDrop(lines ...string) Action {
	return Sequence(Reply(lines...), Action{[]step{{kind: stepHangUp}}})
}

// Close421 answers 421 with the text, such as "4.3.2 shutting down", and
// closes the connection.
func Close421(text string) Action {
	return ReplyThenDrop("421 " + text)
}

// Accept does what a positive reply does, without writing one. Followed by
// Drop it is the message that was taken though the client cannot know:
// Sequence(Accept(), Drop()) on CommandContent.
func Accept() Action { return Action{[]step{{kind: stepAccept}}} }

// Drop closes the connection without a word. On BDAT it does so before the chunk
// is read, on CommandContent after all content has been read.
func Drop() Action { return Action{[]step{{kind: stepDrop}}} }

// DropAfterRead is Drop, but on BDAT the chunk is read first.
func DropAfterRead() Action { return Action{[]step{{kind: stepAfterRead}, {kind: stepDrop}}} }

// Reset breaks the connection with a TCP RST. On a connection that is not TCP it
// is the same as Drop.
func Reset() Action { return Action{[]step{{kind: stepReset}}} }

// Silence never answers again: it reads and forgets what comes, until the
// client closes the connection, or the server is closed.
func Silence() Action { return Action{[]step{{kind: stepSilence}}} }

// Stall never answers again and reads nothing either, so that the client's writes
// block sooner or later, until the server or the session is closed.
func Stall() Action { return Action{[]step{{kind: stepStall}}} }

// Delay waits and then does as then says; Delay(d, Proceed()) is a slow server,
// and so is Delay with a zero Action. It works under testing/synctest.
func Delay(d time.Duration, then Action) Action {
	return Sequence(Action{[]step{{kind: stepWait, wait: d}}}, then)
}

// Write sends octets as they are, which are not counted as a reply. Behind a reply
// in the same Sequence they leave in the same write: on STARTTLS,
// Sequence(Reply("220 go"), Write("250 injected\r\n")) is the classic injection.
func Write(octets string) Action {
	return Action{[]step{{kind: stepWrite, lines: []string{octets}}}}
}

// Garbage answers with octets that are no reply, and goes on with the next
// command as if it had refused this one.
func Garbage() Action {
	return Write("\x00\xff\x80\x01 this is no reply\n\r\x7f 2500-\r\n")
}

// AtOctet goes on as usual until n content octets of the transaction have
// arrived, and does as then says at that moment. It is for DATA, BDAT and
// CommandContent. If then only replies, the rest of the content is read and
// gets no further reply.
func AtOctet(n int64, then Action) Action {
	return Action{[]step{{kind: stepAtOctet, octet: n, then: then}}}
}

// DropAtOctet closes the connection when n content octets have arrived.
func DropAtOctet(n int64) Action { return AtOctet(n, Drop()) }

// Proceed lets the server handle the command as if there were no rule. Nothing
// behind it in a Sequence is done.
func Proceed() Action { return Action{[]step{{kind: stepProceed}}} }

// Sequence does the actions one after the other.
func Sequence(actions ...Action) Action {
	var a Action
	for _, x := range actions {
		a.steps = append(a.steps, x.steps...)
	}
	return a
}

// has reports whether one of the steps is of a kind given.
func (a Action) has(kinds ...stepKind) bool {
	for _, s := range a.steps {
		for _, k := range kinds {
			if s.kind == k {
				return true
			}
		}
	}
	return false
}

// beforeChunk reports whether the action, on BDAT, comes before the chunk.
func (a Action) beforeChunk() bool {
	return a.has(stepDrop, stepReset, stepSilence, stepStall) &&
		!a.has(stepReply, stepPieces, stepWrite, stepAccept, stepAfterRead)
}

// trigger gives the step for the middle of the content, if there is one.
func (a Action) trigger() (step, bool) {
	for _, s := range a.steps {
		if s.kind == stepAtOctet {
			return s, true
		}
	}
	return step{}, false
}

// replyOf takes lines as they are given to Reply. The wire form is with
// CRLF; code 0 means that the lines are sent as they are.
func replyOf(lines []string) (r SentReply, wire string) {
	code := 0
	if len(lines) > 0 {
		code = codeOf(lines[0])
	}
	if code == 0 {
		return SentReply{Lines: lines}, strings.Join(lines, "\r\n") + "\r\n"
	}
	r.Code = code
	for _, l := range lines {
		if codeOf(l) != 0 {
			l = l[min(len(l), 4):]
		}
		r.Lines = append(r.Lines, l)
	}
	return r, r.wire()
}

// codeOf gives the reply code that a line begins with, or 0.
func codeOf(line string) int {
	if len(line) < 3 || (len(line) > 3 && line[3] != ' ' && line[3] != '-') {
		return 0
	}
	code := 0
	for _, c := range []byte(line[:3]) {
		if c < '0' || c > '9' {
			return 0
		}
		code = code*10 + int(c-'0')
	}
	return code
}
