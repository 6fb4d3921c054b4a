package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/egress"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/retry"
	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtppool"
)

const (
	// maxText bounds the text of a reply in a row.
	maxText = 512
	// storePause is how long a message waits that was given back because of the store.
	storePause = time.Second
)

// attempt is what one attempt met, as facts; judge says what they mean.
type attempt struct {
	claim        *store.Claimed
	begun, ended time.Time
	schedule     retry.Schedule
	random       float64 // for jitter

	outcome     *smtp.Outcome // an entry for each of claim.Recipients; nil with fault
	err         error         // nil if the content was accepted for somebody
	fault       error         // the lane cannot send at all
	pause       *smtppool.BackoffError
	told        bool // another message has been told of this failed dial
	interrupted bool // the caller's context has ended
	lost        bool // the claim is another node's
	transcript  transcript
}

// keep is the attempt for a message of a test key: everything but the last step.
func (a *attempt) keep() {
	r := smtp.Reply{Code: 250, Enhanced: smtp.EnhancedCode{2, 0, 0}, Lines: []string{"kept in the test inbox"}}
	a.outcome = &smtp.Outcome{Phase: smtp.PhaseDone, Content: r, Recipients: make([]smtp.RecipientOutcome, len(a.claim.Recipients))}
	for i := range a.outcome.Recipients {
		a.outcome.Recipients[i] = smtp.RecipientOutcome{Address: a.claim.Recipients[i].Address, Reply: r}
	}
}

// judge turns what happened into what is recorded and what dispatch is told.
func (a *attempt) judge(node uuid.UUID) (store.Outcome, Verdict) {
	o := store.Outcome{Node: node, MessageID: a.claim.MessageID, TenantID: a.claim.TenantID}
	o.Attempt.N = a.claim.Attempt // recording twice then does no harm
	v := a.relay()
	v.Kept = a.claim.Test
	if due, untried := a.untried(&v); untried {
		v.Released = true
		o.Release, o.NextDue = true, due
		return o, v
	}
	o.Recipients = make([]store.RecipientOutcome, len(a.claim.Recipients))
	for i := range a.claim.Recipients {
		o.Recipients[i] = a.recipient(i)
	}
	gaveUp := a.next(&o)
	for i := range o.Recipients {
		switch o.Recipients[i].State {
		case store.Sent:
			v.Sent++
		case store.Deferred:
			v.Deferred++
		case store.Unknown:
			v.Unknown++
		default:
			v.Failed++
		}
	}
	o.Attempt = a.record(&v, gaveUp)
	return o, v
}

// relay says what the attempt showed of the relay, whatever becomes of the message.
func (a *attempt) relay() Verdict {
	var v Verdict
	if a.outcome == nil {
		return v
	}
	if a.pause != nil {
		v.RetryAfter = a.pause.Wait
	}
	slow := func(code int) bool { return slices.Contains([]int{421, 432, 450, 451, 452, 454}, code) }
	for i := range a.outcome.Recipients {
		err := a.outcome.Recipients[i].Err
		e, ok := errors.AsType[*smtp.Error](err)
		if ok && slow(e.Code) && !a.told {
			v.SlowDown, v.Reason = true, reason(e)
		}
		if !ok || v.AuthRefused || !refusesAll(err) {
			continue
		}
		v.AuthRefused = smtp.IsAuth(err) && e.Code != 0 // else nobody but us refused anything
		v.ConfigRefused = !v.AuthRefused
		v.Reason = reason(e)
	}
	// Without a session every recipient has the same error.
	if e, ok := errors.AsType[*smtp.Error](a.err); ok && smtp.IsTransient(e) && opening(e.Phase) &&
		!a.told && !a.interrupted && !v.ConfigRefused && !errors.Is(e, smtppool.ErrClosed) {
		v.RelayDown, v.Reason = true, reason(e)
	}
	return v
}

// reason says what happened for people who look at the relay. Tenants may share that, so it tells nothing of the
// message: no recipient, and no text of a reply that was given in a transaction.
func reason(e *smtp.Error) string {
	if !opening(e.Phase) {
		command := e.Command
		if command == "" || e.Phase == smtp.PhaseData || e.Phase == smtp.PhaseDot {
			command = "the content"
		}
		return strings.TrimSpace(fmt.Sprintf("reply %d %s", e.Code, e.Enhanced)) + " to " + command
	}
	return cut(oneLine(said(e)), maxText)
}

// said tells of an error in the words of people who look at a message or a relay: neither the library's name nor the recipient,
// whom they see beside it, is of interest to them.
func said(e *smtp.Error) string {
	var b strings.Builder
	b.WriteString(map[smtp.Phase]string{
		smtp.PhaseDial: "connecting failed", smtp.PhaseTLS: "TLS failed", smtp.PhaseGreeting: "the greeting failed", smtp.PhaseAuth: "the login failed",
		smtp.PhaseMail: "MAIL failed", smtp.PhaseRcpt: "RCPT failed", smtp.PhaseData: "handing over the content failed", smtp.PhaseDot: "the last reply did not come",
	}[e.Phase])
	if b.Len() == 0 {
		b.WriteString("it failed")
	}
	if e.Code != 0 {
		b.WriteString(": " + smtp.Reply{Code: e.Code, Enhanced: e.Enhanced, Lines: []string{e.Text}}.String())
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if smtp.MaybeAccepted(e) {
		b.WriteString("; the relay may have accepted the message")
	}
	return b.String()
}

// refusesAll says whether an error is the configuration's, so that every message would meet it.
func refusesAll(err error) bool {
	if err == nil {
		return false
	}
	_, refused := errors.AsType[*egress.RefusedError](err)
	return refused || smtp.IsRelayFault(err)
}

// opening says whether a phase comes before the first transaction.
func opening(p smtp.Phase) bool {
	return p == smtp.PhaseDial || p == smtp.PhaseTLS || p == smtp.PhaseGreeting || p == smtp.PhaseAuth
}

// untried says whether the message goes back without an attempt being counted, and when it is due then;
// zero: at once.
func (a *attempt) untried(v *Verdict) (due time.Time, untried bool) {
	switch {
	case errors.Is(a.fault, errLaneClosed):
		return time.Time{}, true
	case a.fault != nil:
		v.ConfigRefused, v.Reason = true, oneLine(a.fault.Error())
		return time.Time{}, true
	}
	if len(a.outcome.Recipients) == 0 {
		return time.Time{}, false // nobody is left to try it for
	}
	for i := range a.outcome.Recipients {
		err := a.outcome.Recipients[i].Err
		_, unmarked := errors.AsType[*markError](err)
		switch {
		case err == nil, smtp.MaybeAccepted(err):
			return time.Time{}, false
		case unmarked:
			due = a.ended.Add(storePause)
		case refusesAll(err), errors.Is(err, smtppool.ErrClosed), a.pause != nil && a.told:
		case a.interrupted && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		default:
			return time.Time{}, false // it was tried, for somebody at least
		}
	}
	if a.pause != nil {
		due = a.ended.Add(a.pause.Wait)
	}
	return due, true
}

// recipient says what became of one recipient; the next due time is not decided yet.
func (a *attempt) recipient(i int) store.RecipientOutcome {
	c, got := a.claim.Recipients[i], &a.outcome.Recipients[i]
	r := store.RecipientOutcome{N: c.N}
	r.Code, r.Enhanced, r.Text = facts(got)
	switch {
	case got.Err == nil:
		r.State = store.Sent
	case c.State == store.Unknown:
		// A later refusal does not take back what may have been accepted before.
		r.State = store.Unknown
		r.Text = cut("it may have been accepted before; the further attempt: "+r.Text, maxText)
	case smtp.MaybeAccepted(got.Err):
		r.State = store.Unknown
		r.Again = a.claim.OnUnknown != store.OnUnknownHold && !a.claim.UnknownBefore
	case smtp.IsPermanent(got.Err), errors.Is(got.Err, store.ErrContentGone):
		r.State = store.Failed
	default:
		// Also what the relay refuses by its configuration, if others of this message were tried.
		r.State = store.Deferred
	}
	return r
}

// facts gives the reply that decided, or the error in one line where none came.
func facts(got *smtp.RecipientOutcome) (code int, enhanced, text string) {
	code, enhanced, text = got.Reply.Code, got.Reply.Enhanced.String(), oneLine(got.Reply.Text())
	if code == 0 && got.Err != nil {
		text = oneLine(got.Err.Error())
		if e, ok := errors.AsType[*smtp.Error](got.Err); ok {
			code, enhanced, text = e.Code, e.Enhanced.String(), oneLine(said(e))
			if code != 0 {
				text = oneLine(e.Text) // refused before there was a transaction: the greeting, AUTH
			}
		}
	}
	return code, enhanced, cut(text, maxText)
}

// next sets when the open recipients are tried again, and gives up those for which it is too late. It says
// whether it gave up any.
func (a *attempt) next(o *store.Outcome) (gaveUp bool) {
	var deferred, again bool
	for i := range o.Recipients {
		deferred = deferred || o.Recipients[i].State == store.Deferred
		again = again || o.Recipients[i].Again
	}
	if !deferred && !again {
		return false
	}
	wait, _ := a.schedule.Next(max(a.claim.Attempt, 1), 0, a.random)
	if a.pause != nil {
		wait = max(wait, a.pause.Wait) // before that nothing would be asked of the relay
	}
	inTime := func(wait time.Duration) bool {
		return a.claim.GiveUpAt.IsZero() || !a.ended.Add(wait).After(a.claim.GiveUpAt)
	}
	if again && inTime(max(wait, unknownWait)) {
		wait = max(wait, unknownWait)
	} else if again {
		for i := range o.Recipients {
			o.Recipients[i].Again = false
		}
		again = false
	}
	if deferred && !inTime(wait) {
		gaveUp, deferred = true, false
		for i := range o.Recipients {
			if r := &o.Recipients[i]; r.State == store.Deferred {
				r.State = store.Failed
				r.Text = cut("given up after "+a.ended.Sub(a.claim.CreatedAt).Round(time.Second).String()+": "+r.Text, maxText)
			}
		}
	}
	if deferred || again {
		o.NextDue = a.ended.Add(wait)
	}
	return gaveUp
}

// record is the row of the attempt.
func (a *attempt) record(v *Verdict, gaveUp bool) store.AttemptRecord {
	r := store.AttemptRecord{N: a.claim.Attempt, StartedAt: a.begun, EndedAt: a.ended, Phase: string(a.outcome.Phase), Transcript: a.transcript.String()}
	decided := &smtp.RecipientOutcome{Reply: a.outcome.Content}
	refused := 0
	for i := range slices.Backward(a.outcome.Recipients) {
		got := &a.outcome.Recipients[i]
		if got.Err == nil {
			continue
		}
		decided = got // the first that was not sent
		if e, ok := errors.AsType[*smtp.Error](got.Err); ok && e.Code >= 500 && (e.Phase == smtp.PhaseMail || e.Phase == smtp.PhaseRcpt) {
			refused++
		}
	}
	r.Code, r.Enhanced, r.Text = facts(decided)
	// The words are those of postrider.Status, for this attempt alone.
	switch all := len(a.outcome.Recipients); {
	case v.Sent == all:
		r.Status = "success"
	case v.Sent > 0:
		r.Status = "partial"
	case v.Unknown > 0:
		r.Status = "unknown"
	case v.Deferred > 0:
		r.Status = "retry"
	case gaveUp:
		r.Status = "temp_failed"
	case refused == all:
		r.Status = "rejected"
	default:
		r.Status = "failed"
	}
	return r
}

// oneLine gives s with single spaces only. Most texts are so already.
func oneLine(s string) string {
	space := true // one at the start is not wanted
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ' && !space:
			space = true
		case c <= ' ' || c >= 0x7f:
			return strings.Join(strings.Fields(s), " ")
		default:
			space = false
		}
	}
	return strings.TrimSuffix(s, " ")
}
