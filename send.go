package postrider

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/retry"
	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtppool"
)

// Send validates and composes m and hands it to the relay, trying again after
// transient failures as [Config.Retry] says, for the recipients still open only.
//
// The Result is never nil. The error is nil only if every recipient was sent;
// otherwise it is a *SendError: look at its Result, or ask smtp.IsTransient,
// smtp.IsPermanent, smtp.MaybeAccepted or smtp.IsAuth of it. An invalid message
// (errors.As with mail.Faults) was not sent at all.
//
// When ctx ends, what is under way is interrupted at once: a message whose last
// octet may have left is then reported as unknown, never as failed.
func (c *Client) Send(ctx context.Context, m *mail.Message) (*Result, error) {
	composed, err := m.Compose(&c.compose)
	if err != nil {
		return invalid(err)
	}
	result, err := c.SendComposed(ctx, composed)
	if c.ownBuffers {
		composed.Release()
	}
	return result, err
}

// SendComposed is Send for a message composed before: by m.Compose, or by
// mail.ComposeRaw. Its octets, and so its Message-ID, are the same each time it
// is sent; a Config.Sign is applied first. Result and error are those of Send.
func (c *Client) SendComposed(ctx context.Context, m *mail.Composed) (*Result, error) {
	if c.sign != nil {
		signed, err := c.sign(m)
		if err != nil {
			return invalid(err)
		}
		m = signed
	}
	d := c.newDelivery(m)
	result, err := d.run(ctx, c)
	*d = delivery{}
	c.deliveries.Put(d)
	return result, err
}

// run makes attempts until all is decided or the schedule ends.
func (d *delivery) run(ctx context.Context, c *Client) (*Result, error) {
	for n := 1; ; n++ {
		d.attempt(ctx, c, n)
		if !d.again(c.retryUnknown) {
			return d.settle(false)
		}
		if errors.Is(d.result.Attempts[n-1].Err, smtppool.ErrClosed) {
			return d.settle(true) // a closed client opens no more
		}
		wait, ok := c.schedule.Next(n, time.Since(d.result.Attempts[0].StartedAt), rand.Float64())
		if !ok {
			return d.settle(false)
		}
		if retry.Wait(ctx, max(wait, d.untilDial())) != nil {
			return d.settle(true)
		}
	}
}

// untilDial is how long the pool will refuse to dial after a failure: an attempt
// before that would be used up without having asked the relay.
func (d *delivery) untilDial() time.Duration {
	last := &d.result.Attempts[len(d.result.Attempts)-1]
	if pause, ok := errors.AsType[*smtppool.BackoffError](last.Err); ok {
		return time.Until(pause.Until)
	}
	return 0
}

// invalid is the answer for a message that cannot be sent at all.
func invalid(err error) (*Result, error) {
	r := &Result{Status: StatusInvalid, SMTPError: oneLine(err.Error())}
	if !errors.As(err, &r.Faults) {
		r.Faults = mail.Faults{{Field: "message", Code: mail.CodeUnreadable, Detail: err.Error()}}
	}
	return r, r.Err()
}

// delivery is one Send under way. Its memory is used again by the client.
type delivery struct {
	content  smtp.Content
	envelope smtp.Envelope // of all recipients
	result   *Result
	open     []int // indexes into result.Recipients that the next attempt asks for
	doubted  bool  // an unknown outcome has been tried again: never a third copy
	// doubts holds the answers that were unknown and tried again, by index.
	doubts map[int]RecipientResult

	// Most messages have one recipient; its memory comes with the delivery's.
	oneRcpt [1]smtp.Recipient
	oneOpen [1]int
}

// answer is a Result with the memory of most: one recipient and one attempt.
type answer struct {
	Result
	recipient [1]RecipientResult
	attempt   [1]Attempt
}

func (c *Client) newDelivery(m *mail.Composed) *delivery {
	e := m.Envelope()
	d, ok := c.deliveries.Get().(*delivery)
	if !ok {
		d = &delivery{}
	}
	a := &answer{}
	a.MessageID = m.MessageID()
	a.Attempts = a.attempt[:0]
	d.content, d.result = content{m}, &a.Result
	d.envelope = smtp.Envelope{
		MailFrom:   e.MailFrom,
		EightBit:   e.EightBit,
		SMTPUTF8:   e.SMTPUTF8,
		RequireTLS: e.RequireTLS,
	}
	if n := len(e.RcptTo); n == 1 {
		a.Recipients, d.envelope.RcptTo, d.open = a.recipient[:], d.oneRcpt[:], d.oneOpen[:]
	} else {
		a.Recipients, d.envelope.RcptTo, d.open = make([]RecipientResult, n), make([]smtp.Recipient, n), make([]int, n)
	}
	var notify []smtp.DSNNotify
	if e.DSN != nil {
		d.envelope.Return = smtp.DSNReturn(e.DSN.Return)
		d.envelope.EnvelopeID = e.DSN.EnvelopeID
		for _, word := range e.DSN.Notify {
			notify = append(notify, smtp.DSNNotify(word))
		}
	}
	for i, address := range e.RcptTo {
		d.envelope.RcptTo[i] = smtp.Recipient{Address: address, Notify: notify}
		if e.DSN != nil {
			d.envelope.RcptTo[i].OriginalRecipient = address
		}
		d.result.Recipients[i] = RecipientResult{Address: address, State: StateDeferred}
		d.open[i] = i
	}
	return d
}

// attempt asks the relay once for the recipients still open and notes the answers.
func (d *delivery) attempt(ctx context.Context, c *Client, n int) {
	env := &d.envelope
	if len(d.open) < len(env.RcptTo) {
		rest := d.envelope
		env = &rest
		env.RcptTo = make([]smtp.Recipient, len(d.open))
		for i, at := range d.open {
			env.RcptTo[i] = d.envelope.RcptTo[at]
		}
	}
	a := Attempt{Number: n, StartedAt: time.Now(), Recipients: len(d.open)}
	outcome, err := c.pool.Send(ctx, env, d.content)
	now := time.Now()
	a.Duration = now.Sub(a.StartedAt)
	a.Err = err
	if outcome != nil {
		a.Phase, a.RoundTrips, a.Octets, a.Reply = outcome.Phase, outcome.RoundTrips, outcome.Octets, outcome.Content
	}
	for i, at := range d.open {
		rcpt := &d.result.Recipients[at]
		rcpt.Attempts++
		rcpt.Err, rcpt.Reply = err, smtp.Reply{}
		if outcome != nil {
			rcpt.Err, rcpt.Reply = outcome.Recipients[i].Err, outcome.Recipients[i].Reply
		}
		rcpt.Phase = a.Phase
		if failure, ok := asSMTP(rcpt.Err); ok {
			rcpt.Phase = failure.Phase
			if rcpt.Reply.Code == 0 && failure.Code != 0 {
				// Refused before there was a transaction: the greeting, AUTH.
				rcpt.Reply = smtp.Reply{Code: failure.Code, Enhanced: failure.Enhanced, Lines: []string{failure.Text}}
			}
			if a.Err == nil {
				a.Err = rcpt.Err
			}
			if a.Phase == "" {
				a.Phase = failure.Phase
			}
		}
		if rcpt.State = stateOf(rcpt.Err); rcpt.State == StateSent {
			a.Sent++
			d.result.SentAt = now
		}
	}
	if a.Reply.Code == 0 {
		for _, at := range d.open {
			if a.Reply = d.result.Recipients[at].Reply; a.Reply.Code != 0 {
				break
			}
		}
	}
	d.result.Attempts = append(d.result.Attempts, a)
}

// stateOf reads a recipient's state off its error. What is neither permanent,
// nor the relay's fault, nor in doubt, was interrupted before it could be accepted.
func stateOf(err error) State {
	switch {
	case err == nil:
		return StateSent
	case smtp.MaybeAccepted(err):
		return StateUnknown
	case smtp.IsPermanent(err), smtp.IsRelayFault(err), unreadable(err) != nil:
		return StateFailed
	default:
		return StateDeferred
	}
}

// unreadable is the fault of content that could not be read while it was sent,
// such as a file that has gone or changed since: trying again would meet the same.
// What the relay cannot take as it is, is a permanent failure there and no fault of the message.
func unreadable(err error) mail.Faults {
	if f, ok := errors.AsType[mail.Fault](err); ok && !smtp.IsPermanent(err) {
		return mail.Faults{f}
	}
	return nil
}

// again keeps the recipients that a further attempt may ask for, and says whether there are any.
func (d *delivery) again(retryUnknown bool) bool {
	open := d.open[:0]
	doubt := false
	for _, at := range d.open {
		switch d.result.Recipients[at].State {
		case StateDeferred:
			open = append(open, at)
		case StateUnknown:
			if retryUnknown && !d.doubted {
				open = append(open, at)
				doubt = true
				if d.doubts == nil {
					d.doubts = make(map[int]RecipientResult)
				}
				d.doubts[at] = d.result.Recipients[at]
			}
		}
	}
	d.open = open
	d.doubted = d.doubted || doubt
	return len(open) > 0
}

// settle sums up; remaining says that the schedule had tries left.
func (d *delivery) settle(remaining bool) (*Result, error) {
	r := d.result
	for at, doubt := range d.doubts {
		// A later refusal does not take back what may have been accepted before.
		if rcpt := &r.Recipients[at]; rcpt.State != StateSent {
			doubt.Attempts = rcpt.Attempts
			*rcpt = doubt
		}
	}
	r.RetryCount = len(r.Attempts) - 1
	var sent, unknown, deferred int
	refused := 0 // 5yz to the sender or the recipient
	var first *RecipientResult
	for i := range r.Recipients {
		rcpt := &r.Recipients[i]
		switch rcpt.State {
		case StateSent:
			sent++
			continue
		case StateUnknown:
			unknown++
		case StateDeferred:
			deferred++
		}
		if first == nil {
			first = rcpt
		}
		if rcpt.State == StateFailed && rcpt.Reply.Code >= 500 && (rcpt.Phase == smtp.PhaseMail || rcpt.Phase == smtp.PhaseRcpt) {
			refused++
		}
	}
	all := len(r.Recipients)
	switch {
	case sent == all:
		r.Status = StatusSuccess
	case sent > 0:
		r.Status = StatusPartial
	case unknown > 0:
		r.Status = StatusUnknown
	case deferred > 0 && remaining:
		r.Status = StatusRetry
	case deferred > 0:
		r.Status = StatusTempFailed
	case refused == all:
		r.Status = StatusRejected
	default:
		r.Status = StatusFailed
		if r.Faults = unreadable(first.Err); r.Faults != nil {
			r.Status = StatusInvalid
		}
	}
	r.IsRetryable = deferred > 0
	decided := &r.Attempts[len(r.Attempts)-1].Reply
	if first != nil {
		decided = &first.Reply
		r.SMTPError = explain(first.Reply, first.Err)
		if all > 1 {
			r.SMTPError = "<" + first.Address + ">: " + r.SMTPError
		}
	}
	r.SMTPCode, r.EnhancedCode = decided.Code, decided.Enhanced
	return r, r.Err()
}

// content lets a composed message be downgraded where the relay lacks an extension.
type content struct{ *mail.Composed }

// Downgrade implements smtp.Downgrader.
func (c content) Downgrade() (smtp.Content, error) {
	plain, err := c.Composed.Downgrade()
	if err != nil {
		return nil, err
	}
	return content{plain}, nil
}
