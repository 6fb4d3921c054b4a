package smtp

import (
	"errors"
	"syscall"
)

// This file reads the replies to a transaction and decides what each means
// for the recipients. Functions that give a bool say whether the transaction
// can go on; if not, every recipient has its error.

// envelopeReplies reads the replies to RSET, MAIL and every RCPT.
func (t *transaction) envelopeReplies() bool { return t.mailReply() && t.rcptReplies() }

// rsetReply reads the reply to RSET, if it was sent. A refusal of it is
// strange but does no harm: MAIL's reply will show.
func (t *transaction) rsetReply() bool {
	if !t.rset {
		return true
	}
	t.rset = false
	r, err := t.c.next()
	if err != nil {
		t.lost(PhaseMail, "RSET", err)
		return false
	}
	if r.Code == 421 {
		t.farewell(PhaseMail, "RSET", r, true)
		return false
	}
	t.c.rset = false
	return true
}

// mailReply reads the reply to MAIL. A refusal lets the transaction go on, as
// the replies to what was pipelined after it must be read.
func (t *transaction) mailReply() bool {
	first := !t.rset
	if !t.rsetReply() {
		return false
	}
	r, err := t.c.next()
	if err != nil {
		t.lost(PhaseMail, "MAIL", err)
		return false
	}
	t.out.Mail = r
	switch {
	case r.IsPositive():
		t.out.Phase = PhaseRcpt
		return true
	case r.Code == 421:
		t.farewell(PhaseMail, "MAIL", r, first)
		return false
	}
	t.mailRefused = true
	t.fail(r, replyError(PhaseMail, "MAIL", r))
	return t.inStep(r)
}

// inStep ends the session if a reply shows that we and the server have lost
// each other.
func (t *transaction) inStep(r Reply) bool {
	if outOfStep(r) {
		t.c.die(errOutOfStep)
		return false
	}
	return true
}

// rcptReplies reads the reply to each RCPT.
func (t *transaction) rcptReplies() bool {
	for i := range t.out.Recipients {
		if !t.params.refused(i) && !t.rcptReply(i) {
			return false
		}
	}
	return true
}

// rcptReply reads the reply to one RCPT.
func (t *transaction) rcptReply(i int) bool {
	o := &t.out.Recipients[i]
	r, err := t.c.next()
	switch {
	case err != nil:
		t.lost(PhaseRcpt, "RCPT", err)
		return false
	case r.Code == 421:
		t.farewell(PhaseRcpt, "RCPT", r, false)
		return false
	case t.mailRefused:
		// Whatever it says, it is a consequence.
		return true
	case r.IsPositive():
		// 251 and 252 accept too (RFC 5321 §3.4, §3.5.3).
		o.Reply = r
		t.accepted++
		return true
	}
	e := replyError(PhaseRcpt, "RCPT", r)
	if t.accepted > 0 && (r.Code == 452 || r.Code == 552) && (r.Enhanced.IsZero() || r.Enhanced[1] == 5 && r.Enhanced[2] == 3) {
		// RFC 5321 §4.5.3.1.10: 452 means too many recipients, and 552 is to
		// be read as 452 here.
		e.Class, e.tooMany = ClassTransient, true
	}
	e.Recipient = o.Address
	o.Reply, o.Err = r, e
	if !outOfStep(r) {
		return true
	}
	if t.whole {
		// The content has left, and the others may be served yet.
		t.broken = true
		return true
	}
	t.c.die(errOutOfStep)
	t.fail(r, replyError(PhaseRcpt, "RCPT", r))
	return false
}

// undecided counts the recipients whose reply has not been read.
func (t *transaction) undecided() int {
	n := 0
	for i := range t.out.Recipients {
		if o := &t.out.Recipients[i]; o.Err == nil && o.Reply.IsZero() {
			n++
		}
	}
	return n
}

// final takes the reply to the content, or the error that came instead.
func (t *transaction) final(r Reply, err error, command string) {
	if t.broken {
		defer t.c.die(errOutOfStep)
	}
	if t.mailRefused || t.accepted == 0 {
		// Everybody was refused; the server had to swallow the content
		// (RFC 3030 §2) and complains about that. Nothing was accepted.
		return
	}
	if err != nil {
		t.lost(PhaseDot, command, err)
		return
	}
	t.out.Content = r
	switch {
	case r.IsPositive():
		t.out.Phase = PhaseDone
		t.c.rset = false
		for i := range t.out.Recipients {
			if o := &t.out.Recipients[i]; o.Err == nil {
				o.Reply = r
			}
		}
	case r.Code < 400:
		// It is no answer, and the content is gone.
		t.c.die(errOutOfStep)
		e := replyError(PhaseDot, command, r)
		e.Class = ClassUnknown
		t.fail(r, e)
	default:
		t.fail(r, replyError(PhaseDot, command, r))
		t.inStep(r)
	}
}

// blockReplies reads the replies to BDAT blocks, or the only one to a dot.
func (t *transaction) blockReplies(w *contentWriter, command string) {
	if w.framing == frameDot {
		r, err := t.c.next()
		if err == nil && !w.lastGone {
			t.cutOff(w, r, nil)
			return
		}
		t.setContent(w)
		t.final(r, err, command)
		return
	}
	t.setContent(w)
	last := w.seen == w.size && w.err == nil
	refused := w.refused
	for i := range w.blocks {
		r, err := t.c.next()
		if err != nil {
			if !refused.IsZero() && !w.lastGone {
				t.fail(refused, replyError(PhaseData, command, refused))
				return
			}
			t.lost(PhaseDot, command, err)
			return
		}
		if refused.IsZero() || r.Code == 421 {
			if last && i == w.blocks-1 {
				t.final(r, nil, command)
				return
			}
			if !r.IsPositive() {
				refused = r
			}
			continue
		}
		if last && i == w.blocks-1 && r.IsPositive() {
			// A block was refused and yet the whole accepted: what the server
			// has now, nobody knows (RFC 3030 §2).
			t.c.die(errOutOfStep)
			e := replyError(PhaseDot, command, refused)
			e.Class = ClassUnknown
			t.fail(r, e)
			return
		}
	}
	t.out.Content = refused
	t.fail(refused, replyError(PhaseData, command, refused))
	t.inStep(refused)
}

// setContent notes for lost what the writer has written.
func (t *transaction) setContent(w *contentWriter) {
	if w.lastGone {
		t.out.Phase = PhaseDot
	}
}

// cutOff is the end of a session while content was being written, so that the
// last octet was not. An early refusal is still a refusal.
func (t *transaction) cutOff(w *contentWriter, r Reply, err error) {
	t.setContent(w)
	switch {
	case err != nil:
		t.lost(PhaseData, "", err)
	case r.IsTransient() || r.IsPermanent():
		t.out.Content = r
		t.fail(r, replyError(PhaseData, "", r))
		t.c.die(errEarlyReply)
	default:
		t.lost(PhaseData, "", errEarlyReply)
		t.c.die(errEarlyReply)
	}
}

// farewell is reply 421: all that is open is refused for now, whatever was
// written (RFC 5321 §3.8). As the first reply on a connection that rested it
// is the server's idle timeout, which has nothing to do with the message.
func (t *transaction) farewell(phase Phase, command string, r Reply, first bool) {
	e := replyError(phase, command, r)
	e.stale = first && t.reused
	t.fail(r, e)
}

// lost is the end of the session before the reply to command.
func (t *transaction) lost(phase Phase, command string, err error) {
	e := lossError(phase, command, err)
	w := &t.f.w
	silent := t.c.received() == t.octetsBefore
	switch {
	case e.Code == 421:
		// It came before MAIL was written, or it would be the reply to that.
		e.stale = t.reused && phase == PhaseMail
	case t.whole && t.idle && silent && isLoss(err) && t.closedByServer(err):
		// The server closed before the flight reached it.
		e.stale = true
	case w.lastGone:
		e.Class, e.Phase = ClassUnknown, PhaseDot
		t.out.Phase = PhaseDot
	default:
		e.stale = t.reused && !w.begun && isLoss(err)
	}
	t.fail(Reply{}, e)
}

// closedByServer says whether the end of a connection that gave no reply is the
// server's own doing. If the network went silent instead, the server may have
// all that was written. So it may if some of its answer came: half a record of
// TLS shows nothing of a reply in it, whereas the end of the stream comes after
// whole records only, so that what came was TLS's farewell and the like.
func (t *transaction) closedByServer(err error) bool {
	if isTimeout(err) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) {
		return false
	}
	return t.c.wire.octets.Load() == t.wireBefore || errors.Is(err, errServerClosed) && !errors.Is(err, errTorn)
}

// fail gives every recipient that has no error yet this one.
func (t *transaction) fail(r Reply, e *Error) {
	all := true
	for i := range t.out.Recipients {
		o := &t.out.Recipients[i]
		if o.Err != nil {
			all = false
			continue
		}
		f := *e
		f.Recipient = o.Address
		o.Reply, o.Err = r, &f
	}
	if all {
		t.err = e
	}
}
