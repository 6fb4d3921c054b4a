package smtptest

import (
	"strconv"
	"strings"
)

// bdat reads a chunk and answers BDAT (RFC 3030 §2). The chunk follows its
// command at once, so it is read even where it will be refused.
func (d *dialogue) bdat(arg string, a Action, scripted bool) {
	if scripted && a.beforeChunk() {
		d.perform(a, nil)
		return
	}
	if !d.offers("CHUNKING") {
		d.decide(verdict{reply: d.say(502, "5.5.1", "CHUNKING is not offered"), fault: true}, a, scripted)
		return
	}
	size, last, ok := parseChunk(arg)
	if !ok {
		d.decide(verdict{reply: d.say(501, "5.5.4", "syntax: BDAT octets [LAST]"), fault: true}, a, scripted)
		return
	}
	refusal := d.refuseChunk(size)
	if refusal.Code == 0 && d.tx.sink == nil {
		if s, ok := a.trigger(); ok {
			d.tx.arm(s)
		}
		d.startContent("BDAT")
	} else if s, ok := a.trigger(); ok && refusal.Code == 0 {
		d.tx.arm(s)
		d.fire()
	}
	if d.tx != nil {
		d.tx.Chunks++
	}
	if !d.ended {
		d.readChunk(size, refusal.Code == 0)
	}
	if d.ended {
		return
	}
	if d.r.Buffered() > 0 && !d.offers("PIPELINING") {
		d.note(LintPipelining, "something behind BDAT")
	}
	if a.has(stepAtOctet) {
		a, scripted = Action{}, false // it has had its chance
	}
	d.answerChunk(refusal, size, last, a, scripted)
}

// answerChunk answers a chunk that has been read.
func (d *dialogue) answerChunk(refusal SentReply, size int64, last bool, a Action, scripted bool) {
	t := d.tx
	switch {
	case refusal.Code != 0:
		d.decide(verdict{reply: refusal, settle: func(r SentReply) {
			if t != nil && !r.Positive() {
				t.failed = true
			}
		}}, a, scripted)
	case t.answered && !last:
		// The reply in the middle was the reply to this chunk.
		d.answered(t.Reply, true)
		t.failed, t.answered, t.Reply = !t.Reply.Positive(), false, SentReply{}
	case last && !scripted || t.answered:
		d.endContent()
	case last:
		t.Complete = true
		if t.sink.lint != nil {
			t.sink.lint.finish(t.Size)
		}
		d.srv.received(CommandContent)
		d.decide(verdict{run: d.endContent, settle: d.closeTransaction}, a, scripted)
	default:
		d.decide(verdict{reply: d.say(250, "2.0.0", strconv.FormatInt(size, 10)+" octets received"), settle: func(r SentReply) {
			t.failed = !r.Positive()
		}}, a, scripted)
	}
}

// refuseChunk gives the reply to a chunk that cannot be taken; zero if it can.
func (d *dialogue) refuseChunk(size int64) SentReply {
	switch {
	case d.tx == nil:
		return d.say(503, "5.5.1", "MAIL first")
	case d.tx.accepted == 0:
		return d.say(503, "5.5.1", "no valid recipients")
	case d.tx.failed:
		return d.say(503, "5.5.1", "a chunk was refused, RSET first")
	case d.cfg.MaxSize > 0 && size > d.cfg.MaxSize-d.tx.Size:
		return d.say(552, "5.3.4", "message too large")
	}
	return SentReply{}
}

// readChunk reads the octets of a chunk, to keep or to throw away.
func (d *dialogue) readChunk(size int64, wanted bool) {
	for size > 0 && !d.ended {
		if d.r.Buffered() == 0 {
			if _, err := d.r.Peek(1); err != nil {
				d.lost(err)
				return
			}
		}
		n := min(size, int64(d.r.Buffered()))
		piece, err := d.r.Peek(int(n))
		if err != nil {
			d.lost(err)
			return
		}
		if wanted {
			d.feed(piece)
		}
		if _, err := d.r.Discard(len(piece)); err != nil {
			d.lost(err)
			return
		}
		size -= n
	}
}

// parseChunk takes the argument of BDAT apart.
func parseChunk(arg string) (size int64, last, ok bool) {
	number, rest, found := strings.Cut(arg, " ")
	if found && !strings.EqualFold(strings.TrimSpace(rest), "LAST") {
		return 0, false, false
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil {
		return 0, false, false
	}
	return int64(n), found, true
}
