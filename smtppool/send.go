package smtppool

import (
	"context"
	"errors"
	"time"

	"github.com/postrider/postrider/smtp"
)

// Send sends one message over a borrowed session and gives the session back. It makes one transaction, with these
// two exceptions, in which no recipient can get a second copy:
//
//   - when a session that had been idle turns out to be dead before anything can have been accepted (smtp.Stale),
//     the transaction moves to a freshly dialled one, once and silently;
//   - recipients that the server did not take in one go (smtp.TooManyRecipients) get further transactions at once.
//
// The Outcome has one entry for each of env.RcptTo, in their order, also with an error. Mail, Content and Phase are
// those of the first transaction, RoundTrips and Octets the sums. err is nil if the content was accepted for at
// least one recipient; else it is what conn.Send or Get returned. The pool does not retry otherwise.
func (p *Pool) Send(ctx context.Context, env *smtp.Envelope, content smtp.Content) (*smtp.Outcome, error) {
	m, err := p.borrow(ctx, nil)
	if err != nil {
		return unsent(env, err), err
	}
	returned := false
	defer func() {
		if !returned && m != nil {
			_ = m.conn.Close() // a panic of the content's: the session is in the middle of something
		}
		p.takeBack(m)
	}()
	out, err := m.conn.Send(ctx, env, content)
	if err != nil && smtp.Stale(err) {
		out, err = p.move(ctx, &m, env, content, out)
	}
	if err == nil {
		p.sendSurplus(ctx, &m, env, content, out)
	}
	returned = true
	return out, err
}

// takeBack is giveBack with the lock; nil is nothing.
func (p *Pool) takeBack(m *member) {
	if m == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.giveBack(m, time.Now())
}

// move makes the transaction anew on a fresh connection, in the place of the dead one. held is the session that the
// caller has to give back; nil if no fresh one can be had, and then the outcome says why.
func (p *Pool) move(ctx context.Context, held **member, env *smtp.Envelope, content smtp.Content, before *smtp.Outcome) (*smtp.Outcome, error) {
	p.cfg.Logger.Debug("smtppool: the connection was dead, moving the message to a fresh one")
	dead := *held
	_ = dead.conn.Close()
	m, err := p.borrow(ctx, dead)
	*held = m // before the content is asked, which may panic
	if err != nil {
		return unsent(env, err), err
	}
	p.mu.Lock()
	p.counts.moved++
	p.mu.Unlock()
	out, err := m.conn.Send(ctx, env, content)
	out.RoundTrips += before.RoundTrips
	out.Octets += before.Octets
	return out, err
}

// sendSurplus makes further transactions for the recipients that were too many for the one before, and merges their
// outcomes into out. Each transaction that succeeds takes at least one recipient, so this ends. It stops at the first
// that fails: its recipients keep an error of their own. held is the connection that the caller has to give back, nil if
// there is none.
func (p *Pool) sendSurplus(ctx context.Context, held **member, env *smtp.Envelope, content smtp.Content, out *smtp.Outcome) {
	var places []int // in out.Recipients
	for i := range out.Recipients {
		if smtp.TooManyRecipients(out.Recipients[i].Err) {
			places = append(places, i)
		}
	}
	for len(places) > 0 {
		rest := *env
		rest.RcptTo = make([]smtp.Recipient, len(places))
		for i, place := range places {
			rest.RcptTo[i] = env.RcptTo[place]
		}
		// A server that closes after so many messages, or our own limit, is no reason to leave them behind.
		m := *held
		if spent := m.conn.Closed() || p.cfg.MaxMessages > 0 && m.conn.Messages() >= p.cfg.MaxMessages; spent {
			p.takeBack(m)
			var err error
			m, err = p.borrow(ctx, nil)
			*held = m
			if err != nil {
				merge(out, unsent(&rest, err), places)
				return
			}
		}
		more, err := m.conn.Send(ctx, &rest, content)
		merge(out, more, places)
		if err != nil {
			return
		}
		var left []int
		for i, place := range places {
			if smtp.TooManyRecipients(more.Recipients[i].Err) {
				left = append(left, place)
			}
		}
		if len(left) == len(places) {
			return // cannot be: it was sent to somebody
		}
		places = left
	}
}

// merge puts the outcome of a further transaction into the places of its recipients.
func merge(out, more *smtp.Outcome, places []int) {
	for i, place := range places {
		out.Recipients[place] = more.Recipients[i]
	}
	out.RoundTrips += more.RoundTrips
	out.Octets += more.Octets
}

// unsent is the outcome for a message that found no session.
func unsent(env *smtp.Envelope, err error) *smtp.Outcome {
	out := &smtp.Outcome{Phase: smtp.PhaseDial, Recipients: make([]smtp.RecipientOutcome, len(env.RcptTo))}
	fault := smtp.Error{Phase: smtp.PhaseDial, Class: smtp.ClassTransient, Err: err}
	if e, ok := errors.AsType[*smtp.Error](err); ok {
		// The facts, not a copy of the value, which may hold more than its exported fields.
		fault = smtp.Error{
			Phase: e.Phase, Command: e.Command, Code: e.Code, Enhanced: e.Enhanced, Text: e.Text, Class: e.Class, Err: e.Err,
		}
		out.Phase = e.Phase
	}
	for i, recipient := range env.RcptTo {
		own := fault
		own.Recipient = recipient.Address
		out.Recipients[i] = smtp.RecipientOutcome{Address: recipient.Address, Err: &own}
	}
	return out
}
