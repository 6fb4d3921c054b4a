package smtp

import (
	"context"
	"errors"
	"time"
)

// idleLimit is how long a connection may rest before it is suspected of
// closing while we write.
const idleLimit = time.Second

// Send carries out one mail transaction in the fewest round trips that the
// server's extensions allow: one with PIPELINING and CHUNKING (content up to
// 64 KiB), two with PIPELINING, else one a command (RFC 2920, RFC 3030).
//
// Recipients that are refused do not keep the others from being served. The
// error is nil if the content was accepted for at least one recipient;
// otherwise it is an *Error that stands for all. The Outcome is complete
// either way. After a plain refusal the connection can be used again; see
// Closed.
func (c *Conn) Send(ctx context.Context, env *Envelope, content Content) (*Outcome, error) {
	f := c.d.getFlight()
	defer c.d.putFlight(f)
	t := &f.t
	*t = transaction{c: c, ctx: ctx, env: env, content: content, out: newOutcome(env), f: f}
	if err := c.enter(ctx); err != nil {
		t.fail(Reply{}, &Error{Phase: PhaseMail, Class: ClassTransient, Err: err})
		return t.out, t.verdict()
	}
	defer c.leave()
	c.traceEnvelope(env.Trace)
	t.run()
	return t.out, t.verdict()
}

func newOutcome(env *Envelope) *Outcome {
	o := &Outcome{Phase: PhaseMail}
	if len(env.RcptTo) == 1 {
		o.Recipients = o.one[:]
	} else {
		o.Recipients = make([]RecipientOutcome, len(env.RcptTo))
	}
	for i := range env.RcptTo {
		o.Recipients[i].Address = env.RcptTo[i].Address
	}
	return o
}

// transaction is one Send. A recipient's entry in out is undecided while it
// has neither Err nor Reply, and accepted when it has a positive Reply.
type transaction struct {
	c       *Conn
	ctx     context.Context // of Send
	env     *Envelope
	content Content
	out     *Outcome
	f       *flight
	params  mailParams

	idle, reused bool  // the connection rested; it was used before or rested
	octetsBefore int64 // received before this transaction
	wireBefore   int64 // likewise, under TLS
	rset         bool  // the flight begins with RSET
	whole        bool  // the content left in the flight of the envelope
	mailRefused  bool
	broken       bool  // a reply to RCPT was out of step
	asked        bool  // Envelope.BeforeContentEnds was called
	accepted     int   // recipients accepted
	err          error // stands for all recipients
}

// run does it. What happens is noted in out.
func (t *transaction) run() {
	c := t.c
	if !t.ready(c.began) {
		return
	}
	open, err := t.prepare()
	if err != nil {
		t.fail(Reply{}, err)
		return
	}
	if open == 0 {
		return // each has its own fault
	}
	t.out.Phase = PhaseMail
	if t.env.BeforeContentEnds != nil && t.goesWhole() {
		// That takes its time, in which the connection rests and may end.
		if !t.ask() || !t.ready(time.Now()) {
			return
		}
	}
	c.messages++
	switch {
	case !c.ext.pipelining:
		t.lockstep()
	case t.goesWhole():
		t.sendWhole()
	case c.ext.chunking:
		t.sendBlocks(t.params.size <= wholeLimit)
	default:
		t.sendData()
	}
	if t.out.Phase != PhaseDone {
		c.rset = true
	}
}

// ready sees to what has come since the last call. False: the session is over.
func (t *transaction) ready(now time.Time) bool {
	c := t.c
	t.idle = now.Sub(c.idleFrom) > idleLimit
	c.ownTurn(now)
	t.reused = t.idle || c.messages > 0
	t.octetsBefore, t.wireBefore = c.received(), c.wire.octets.Load()
	if !c.closed.Load() {
		return true
	}
	e := lossError(PhaseMail, "MAIL", c.deathCause())
	e.stale = true // nothing was written
	t.fail(Reply{}, e)
	return false
}

// goesWhole says whether envelope and content leave in one flight.
func (t *transaction) goesWhole() bool {
	c := t.c
	strict := c.d.cfg.Strict || t.env.BeforeContentEnds != nil
	return c.ext.pipelining && c.ext.chunking && t.params.size <= wholeLimit && (!strict || !t.idle)
}

// ask has Envelope.BeforeContentEnds agree to the write that can carry the last
// octet of the content. False: it did not, and the transaction is over.
func (t *transaction) ask() bool {
	if t.env.BeforeContentEnds == nil || t.asked {
		return true
	}
	t.asked = true
	err := t.env.BeforeContentEnds(t.ctx)
	if err == nil {
		return true
	}
	t.fail(Reply{}, &Error{Phase: t.out.Phase, Class: ClassTransient, Err: err})
	if t.out.Octets > 0 {
		// The server waits for the rest of a transaction.
		t.c.die(errHeldBack)
	}
	return false
}

var errHeldBack = errors.New("the end of the content was held back")

// sendWhole is one flight and one wait: MAIL, RCPT, BDAT and the content.
func (t *transaction) sendWhole() {
	c := t.c
	t.addEnvelope()
	_ = t.f.bdat(c, t.params.size, true) // digits only
	w := t.writer(frameWhole)
	if !t.render(w) {
		return
	}
	t.whole = true
	c.traceContent(t.params.size)
	n := len(t.f.owed)
	sent, complete := c.send(t.f)
	c.d.putBuffer(t.f)
	t.out.Octets += int64(sent)
	w.begun, w.lastGone = sent > 0, complete
	t.out.RoundTrips++
	c.waitReplies(n)
	if !t.envelopeReplies() {
		return
	}
	r, err := c.next()
	t.final(r, err, "BDAT")
}

// sendData is two flights: MAIL, RCPT and DATA; then the content.
func (t *transaction) sendData() {
	c := t.c
	t.addEnvelope()
	_ = t.f.line(c, expectData, "DATA")
	t.post(len(t.f.owed))
	if !t.envelopeReplies() {
		return
	}
	r, err := c.next()
	if t.mailRefused || t.accepted == 0 {
		// RFC 2920 §3.1: the server may have said 354 all the same. An empty
		// message ends that; the reply to it means nothing.
		if err == nil && r.Code == 354 {
			if c.tracing() {
				c.traceLine("C", ".")
			}
			t.f.buf = append(t.f.buf, ".\r\n"...)
			t.f.owed = append(t.f.owed, expectIgnored)
			c.send(t.f)
		}
		return
	}
	if t.goAhead(r, err) {
		t.sendDotted()
	}
}

// goAhead looks at the reply to DATA.
func (t *transaction) goAhead(r Reply, err error) bool {
	switch {
	case err != nil:
		t.lost(PhaseData, "DATA", err)
	case r.Code == 354:
		return true
	default:
		if outOfStep(r) {
			t.c.die(errOutOfStep)
		}
		t.fail(r, replyError(PhaseData, "DATA", r))
	}
	return false
}

// sendDotted sends the content after 354.
func (t *transaction) sendDotted() {
	c := t.c
	t.out.Phase = PhaseData
	c.expect(expectFinal)
	c.in.mu.Lock()
	c.in.open = true
	c.in.mu.Unlock()
	w := t.writer(frameDot)
	if !t.render(w) {
		return
	}
	c.traceContent(t.params.size)
	if c.tracing() {
		c.traceLine("C", ".")
	}
	t.f.buf = append(t.f.buf, ".\r\n"...)
	t.finish(w, "DATA")
}

// finish writes the last octets and waits for the final reply.
func (t *transaction) finish(w *contentWriter, command string) {
	if !t.ask() {
		t.out.Octets += w.octets
		return
	}
	_ = w.flush(true) // the replies, or their absence, tell what happened
	t.c.d.putBuffer(t.f)
	t.out.Octets += w.octets
	if w.lastGone {
		t.out.Phase = PhaseDot
	}
	t.out.RoundTrips += 1 + w.trips
	t.blockReplies(w, command)
}

// sendBlocks sends the envelope, and the content as BDAT blocks when it is
// known that somebody will have it. With early it only waits for the first
// reply, which shows that the connection is alive.
func (t *transaction) sendBlocks(early bool) {
	c := t.c
	t.addEnvelope()
	n := len(t.f.owed)
	if early {
		n = 1
	}
	t.post(n)
	if !early {
		if t.envelopeReplies() && t.accepted > 0 {
			t.sendChunks()
		}
		return
	}
	// The replies are read in order, so MAIL's is looked at here only if it
	// is there, and a refusal spares the content.
	if !t.mailReply() {
		return
	}
	if t.mailRefused {
		t.rcptReplies()
		return
	}
	_ = t.f.bdat(c, t.params.size, true)
	w := t.writer(frameWhole)
	if !t.render(w) {
		return
	}
	if !t.ask() {
		return
	}
	c.traceContent(t.params.size)
	t.whole = true
	sent, complete := c.send(t.f)
	c.d.putBuffer(t.f)
	t.out.Octets += int64(sent)
	w.begun, w.lastGone = sent > 0, complete
	t.out.RoundTrips++
	c.waitReplies(1 + t.undecided())
	if !t.rcptReplies() {
		return
	}
	r, err := c.next()
	t.final(r, err, "BDAT")
}

// sendChunks sends the content as BDAT blocks.
func (t *transaction) sendChunks() {
	t.out.Phase = PhaseData
	w := t.writer(frameBlock)
	w.lockMe = !t.c.ext.pipelining
	if !t.render(w) {
		return
	}
	t.c.traceContent(t.params.size)
	t.finish(w, "BDAT")
}

// lockstep does one command at a time, for servers without PIPELINING.
func (t *transaction) lockstep() {
	c := t.c
	if c.rset {
		t.rset = true
		_ = t.f.line(c, expectMail, "RSET")
		t.post(1)
		if !t.rsetReply() {
			return
		}
	}
	t.addMail()
	t.post(1)
	if !t.mailReply() || t.mailRefused {
		return
	}
	for i := range t.out.Recipients {
		if t.out.Recipients[i].Err != nil {
			continue
		}
		t.addRcpt(i)
		t.post(1)
		if !t.rcptReply(i) {
			return
		}
	}
	if t.accepted == 0 {
		return
	}
	if c.ext.chunking {
		t.sendChunks()
		return
	}
	_ = t.f.line(c, expectData, "DATA")
	t.post(1)
	r, err := c.next()
	if t.goAhead(r, err) {
		t.sendDotted()
	}
}

// post sends the flight and waits for n replies.
func (t *transaction) post(n int) {
	sent, _ := t.c.send(t.f)
	t.out.Octets += int64(sent)
	t.out.RoundTrips++
	t.c.waitReplies(n)
}

// writer readies the content writer of this transaction's flight.
func (t *transaction) writer(f framing) *contentWriter {
	t.f.w = contentWriter{c: t.c, f: t.f, framing: f, size: t.params.size, eightBit: t.params.eightBit, prevLF: true}
	return &t.f.w
}

// render has the content write itself. False: it failed, and the transaction
// with it.
func (t *transaction) render(w *contentWriter) bool {
	_, err := t.content.WriteTo(w)
	if w.err != nil {
		err = w.err
	}
	if err == nil {
		err = w.complete()
	}
	switch {
	case err == nil:
		return true
	case errors.Is(err, errStopped):
		// The server refused a block; the one in hand was completed.
		if w.flush(false) == nil {
			t.out.RoundTrips++
		}
		t.out.Octets += w.octets
		t.blockReplies(w, "BDAT")
	case errors.Is(err, errCutOff):
		t.out.Octets += w.octets
		r, err := t.c.next()
		for err == nil && w.framing == frameBlock && r.IsPositive() {
			r, err = t.c.next() // to blocks that were taken; one may have been refused after them
		}
		t.cutOff(w, r, err)
	default:
		// No final dot, no LAST, no surplus octet: the server must not take
		// what is there for the message.
		t.out.Octets += w.octets
		t.c.die(errContent)
		t.fail(Reply{}, contentFault(err))
	}
	return false
}

var errContent = errors.New("the content was faulty")

// verdict gives the error that stands for the whole transaction: nil if
// anybody was served, else the gravest for what to do next.
func (t *transaction) verdict() error {
	worst, rank := t.err, -1
	if len(t.out.Recipients) == 0 && worst == nil {
		return localError(PhaseRcpt, EnhancedCode{}, errors.New("no recipients"))
	}
	for i := range t.out.Recipients {
		err := t.out.Recipients[i].Err
		if err == nil {
			return nil
		}
		if t.err != nil {
			continue
		}
		// One that may succeed later keeps the message alive.
		r := map[Class]int{ClassPermanent: 0, ClassTransient: 1, ClassRelay: 2, ClassUnknown: 3}[classOf(err)]
		if r > rank {
			worst, rank = err, r
		}
	}
	return worst
}
