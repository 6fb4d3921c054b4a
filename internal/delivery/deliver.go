package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/retry"
	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtppool"
)

// Deliver makes one attempt to send a claimed message to its recipients, calls over (nil: not) as soon as the relay has
// answered, and records what came of it. It returns when that is recorded: as long as the store cannot take it,
// it is kept and tried again until ctx ends (see Deliverer.Unrecorded), and once more then.
//
// The end of ctx interrupts the conversation at once. What cannot have been accepted is
// then given back untried; what may have been is unknown.
//
// The Verdict is complete also with an error. The error is nil if the outcome was recorded; store.ErrNotMine
// if the claim has passed to another node, which then decides about the message; else the outcome is lost.
func (l *Lane) Deliver(ctx context.Context, c store.Claimed, over func(Verdict)) (Verdict, error) {
	d := l.d
	a := attempt{claim: &c, begun: d.cfg.Now()}
	if c.Test {
		a.keep()
	} else {
		a.schedule = l.send(ctx, &a)
	}
	a.ended, a.random = d.cfg.Now(), d.cfg.Random()
	outcome, verdict := a.judge(d.cfg.Node)
	if over != nil {
		over(verdict)
	}
	var err error
	if a.lost && verdict.Sent == 0 {
		err = store.ErrNotMine // whoever has the claim decides, and nothing was sent
	} else {
		err = d.record(ctx, outcome)
	}
	if d.cfg.Observe != nil {
		o := Observation{Relay: l.id, Tenant: c.TenantID, Verdict: verdict, Duration: a.ended.Sub(a.begun), Recorded: err == nil}
		if !verdict.Released {
			o.Phase = outcome.Attempt.Phase
		}
		d.cfg.Observe(o)
	}
	return verdict, err
}

// send asks the relay once and notes in a what happened.
func (l *Lane) send(ctx context.Context, a *attempt) retry.Schedule {
	env, content := l.d.envelope(a, l.mine()), l.d.content(ctx, a.claim)
	for {
		n, schedule, err := l.current()
		if err != nil {
			a.fault = err
			return schedule
		}
		env.Trace = n.openings.attemptTrace(&a.transcript)
		a.outcome, a.err = n.pool.Send(ctx, env, content)
		if errors.Is(a.err, smtppool.ErrClosed) && l.replaced(n) {
			continue // nothing was asked of the relay
		}
		if pause, ok := errors.AsType[*smtppool.BackoffError](a.err); ok {
			a.pause = pause
			a.told = n.told(pause.Err)
			if a.outcome.Phase != smtp.PhaseDial {
				a.transcript.text(n.openings.takeFailed())
			}
		}
		a.interrupted = ctx.Err() != nil
		return schedule
	}
}

// replaced says whether messages take another line by now.
func (l *Lane) replaced(n *line) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed && l.line != n
}

// dsn are the DSN parameters of a message as the store keeps them (store.NewMessage).
type dsn struct {
	Return     string `json:"return"`
	EnvelopeID string `json:"envelope_id"`
}

// errNotHeld is why a message is not sent by a node that may have lost the relay to another.
var errNotHeld = errors.New("this node may no longer have the right to drain the relay")

// envelope is that of the open recipients. held: see Deliverer.Relay.
func (d *Deliverer) envelope(a *attempt, held func() bool) *smtp.Envelope {
	c := a.claim
	env := &smtp.Envelope{
		MailFrom: c.MailFrom, EightBit: c.EightBit, SMTPUTF8: c.SMTPUTF8, RequireTLS: c.RequireTLS,
		RcptTo: make([]smtp.Recipient, len(c.Recipients)),
	}
	var words dsn
	if len(c.DSN) > 0 && json.Unmarshal(c.DSN, &words) == nil {
		// It was checked at acceptance. Without it the message is the same.
		env.Return, env.EnvelopeID = smtp.DSNReturn(strings.ToUpper(words.Return)), words.EnvelopeID
	}
	for i, r := range c.Recipients {
		env.RcptTo[i] = smtp.Recipient{Address: r.Address, OriginalRecipient: r.ORcpt}
		for word := range strings.SplitSeq(r.Notify, ",") {
			if word = strings.TrimSpace(word); word != "" {
				env.RcptTo[i].Notify = append(env.RcptTo[i].Notify, smtp.DSNNotify(strings.ToUpper(word)))
			}
		}
	}
	switch {
	case c.OnUnknown == store.OnUnknownHold || c.UnknownBefore:
		// Under retry the first copy needs no mark: if this process dies, the message is tried
		// again. The second one does, or there would be a third.
		env.BeforeContentEnds = func(ctx context.Context) error {
			if held != nil && !held() {
				return &markError{errNotHeld}
			}
			err := d.cfg.Store.Mark(ctx, d.cfg.Node, c.TenantID, c.MessageID)
			a.lost = a.lost || errors.Is(err, store.ErrNotMine)
			if err != nil {
				return &markError{err}
			}
			return nil
		}
	case held != nil:
		// No fence, since a node can stall between here and the write; but it keeps most second copies from being made.
		env.BeforeContentEnds = func(context.Context) error {
			if !held() {
				return &markError{errNotHeld}
			}
			return nil
		}
	}
	return env
}

// markError says that the mark could not be committed, or that the relay may be another node's, so that nothing was sent.
type markError struct{ err error }

func (e *markError) Error() string {
	if errors.Is(e.err, errNotHeld) {
		return "not sent: " + e.err.Error()
	}
	return "not sent, since that could not be written down before: " + e.err.Error()
}
func (e *markError) Unwrap() error { return e.err }

// content is the message: in memory if it came with the claim, else read anew for each transaction.
func (d *Deliverer) content(ctx context.Context, c *store.Claimed) smtp.Content {
	if c.Content != nil {
		return smtp.Bytes(c.Content)
	}
	return smtp.Reader(c.Size, func() (io.ReadCloser, error) {
		return d.cfg.Store.OpenContent(ctx, c.TenantID, c.ContentID)
	})
}
