package smtp

import (
	"context"
	"time"
)

// The methods of this file drive a session by hand, one command and one round
// trip each. Send does all of it better; they are for probing servers and for
// what Send does not do.

// Hello says EHLO again (or HELO, if that is refused) and renews the list of
// extensions. It also ends an open transaction (RFC 5321 §4.1.4). The error is
// an *Error if the reply is not positive or none came.
func (c *Conn) Hello(ctx context.Context) error {
	if err := c.enter(ctx); err != nil {
		return &Error{Phase: PhaseGreeting, Command: "EHLO", Class: ClassTransient, Err: err}
	}
	defer c.leave()
	err := c.hello()
	if err == nil {
		c.rset = false
	}
	return err
}

// Mail begins a transaction (RFC 5321 §4.1.1.2) with the reverse-path and
// parameters of env. size is that of the content; 0: not known. The
// recipients of env are not looked at. The error is an *Error if the reply is
// not positive.
func (c *Conn) Mail(ctx context.Context, env *Envelope, size int64) (Reply, error) {
	return c.step(ctx, PhaseMail, "MAIL", func(t *transaction) *Error {
		t.env = env
		t.params.size = size
		if err := t.prepareSender(); err != nil {
			return err
		}
		t.content = sizeOnly(size)
		if err := t.prepareContent(); err != nil {
			return err
		}
		c.messages++
		c.rset, c.manual = true, t.params
		t.addMail()
		return nil
	})
}

// Rcpt adds a recipient (RFC 5321 §4.1.1.3). The error is an *Error if the
// reply is not positive.
func (c *Conn) Rcpt(ctx context.Context, rcpt Recipient) (Reply, error) {
	return c.step(ctx, PhaseRcpt, "RCPT", func(t *transaction) *Error {
		t.env = &Envelope{RcptTo: []Recipient{rcpt}}
		t.params.rcptTo = t.params.one[:]
		if err := t.prepareRecipient(0); err != nil {
			err.Recipient = rcpt.Address
			return err
		}
		t.addRcpt(0)
		return nil
	})
}

// Data sends the content, by BDAT where the server offers CHUNKING, else by
// DATA (RFC 3030 §2, RFC 5321 §4.1.1.4), and gives the final reply. If err is
// nil the server has accepted the content for the recipients it accepted.
func (c *Conn) Data(ctx context.Context, content Content) (Reply, error) {
	// One imaginary recipient stands for those of the Rcpt calls.
	t := &transaction{c: c, env: &Envelope{RcptTo: []Recipient{{}}}, content: content, params: c.manual, accepted: 1}
	t.out = newOutcome(t.env)
	if err := c.enter(ctx); err != nil {
		return Reply{}, &Error{Phase: PhaseData, Command: "DATA", Class: ClassTransient, Err: err}
	}
	defer c.leave()
	if content == nil {
		return Reply{}, contentFault(errNoContent)
	}
	t.params.size = content.Size()
	t.f = c.d.getFlight()
	defer c.d.putFlight(t.f)
	if c.ext.chunking {
		t.sendChunks()
	} else {
		_ = t.f.line(c, expectData, "DATA")
		t.post(1)
		if r, err := c.next(); t.goAhead(r, err) {
			t.sendDotted()
		}
	}
	r := t.out.Recipients[0].Reply
	if t.err != nil {
		return r, t.err
	}
	return r, nil
}

// Reset ends an open transaction (RFC 5321 §4.1.1.5). Send does this by
// itself, without a round trip. The error is an *Error if the reply is not
// positive or none came.
func (c *Conn) Reset(ctx context.Context) error {
	_, err := c.step(ctx, PhaseMail, "RSET", func(t *transaction) *Error {
		_ = t.f.line(c, expectMail, "RSET")
		return nil
	})
	if err == nil {
		c.rset = false
	}
	return err
}

// Noop does nothing but ask whether the server is there (RFC 5321 §4.1.1.9).
// It is not needed before Send: the reader sees a dead connection by itself.
// The error is an *Error if the reply is not positive or none came.
func (c *Conn) Noop(ctx context.Context) error {
	_, err := c.step(ctx, PhaseMail, "NOOP", func(t *transaction) *Error {
		_ = t.f.line(c, expectMail, "NOOP")
		return nil
	})
	return err
}

// step is one command with its reply.
func (c *Conn) step(ctx context.Context, phase Phase, verb string, add func(*transaction) *Error) (Reply, error) {
	if err := c.enter(ctx); err != nil {
		return Reply{}, &Error{Phase: phase, Command: verb, Class: ClassTransient, Err: err}
	}
	defer c.leave()
	t := &transaction{c: c, f: c.d.getFlight()}
	defer c.d.putFlight(t.f)
	if err := add(t); err != nil {
		return Reply{}, err
	}
	c.send(t.f)
	r, err := c.next()
	if err != nil {
		return Reply{}, lossError(phase, verb, err)
	}
	if !r.IsPositive() {
		t.inStep(r)
		e := replyError(phase, verb, r)
		if phase == PhaseRcpt {
			e.Recipient = t.env.RcptTo[0].Address
		}
		return r, e
	}
	return r, nil
}

// Quit says QUIT, waits for the reply for Timeouts.Quit at most, and closes
// the connection whatever happens. The error says that the farewell failed;
// nothing is lost by that.
func (c *Conn) Quit(ctx context.Context) error {
	if err := c.enter(ctx); err != nil {
		c.die(errClosed)
		c.await()
		return &Error{Phase: PhaseDone, Command: "QUIT", Class: ClassTransient, Err: err}
	}
	defer c.leave()
	defer c.await()
	defer c.die(errClosed)
	f := c.d.getFlight()
	defer c.d.putFlight(f)
	_ = f.line(c, expectQuit, "QUIT")
	c.expect(f.owed...)
	c.in.mu.Lock()
	c.in.quitting = true
	c.in.mu.Unlock()
	if _, err := c.write(f.buf, c.d.timeouts.Quit); err != nil {
		return lossError(PhaseDone, "QUIT", err)
	}
	if _, err := c.next(); err != nil {
		return lossError(PhaseDone, "QUIT", err)
	}
	if c.tls != nil {
		// RFC 8446 §6.1: a farewell of TLS, so that nobody suspects a cut.
		c.wire.writeBy(time.Now().Add(c.d.timeouts.Quit))
		_ = c.tls.CloseWrite()
	}
	return nil
}
