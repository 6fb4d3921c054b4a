package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/retry"
)

const (
	// firstRecordWait and maxRecordWait bound the waits between tries to record.
	firstRecordWait, maxRecordWait = 50 * time.Millisecond, 5 * time.Second
	// maxRefused bounds how often an outcome is tried that the store refuses although it is there: one bad
	// row must not keep a node from claiming for ever.
	maxRefused = 10
	// releasedWait is how long a message rests whose outcome nothing could be recorded of.
	releasedWait = 10 * time.Minute
	// lastRecord is the time for one last try when the caller's context has ended: what the
	// relay said is worth more than a quick end.
	lastRecord = 5 * time.Second
)

// record writes an outcome, however often it has to be tried, until ctx ends and one try after that.
// The error is the store's last; store.ErrNotMine is final at once, any but store.ErrUnavailable after a few
// tries, and then less is recorded.
func (d *Deliverer) record(ctx context.Context, o store.Outcome) error {
	err := d.cfg.Store.Record(ctx, o)
	if err == nil || errors.Is(err, store.ErrNotMine) {
		return err
	}
	d.unrecorded.Add(1)
	defer d.unrecorded.Add(-1)
	refused := 0
	for wait := firstRecordWait; ; wait = min(2*wait, maxRecordWait) {
		if !errors.Is(err, store.ErrUnavailable) && ctx.Err() == nil {
			if refused++; refused == maxRefused {
				return d.salvage(ctx, o, err)
			}
		}
		d.cfg.Logger.WarnContext(ctx, "delivery: an outcome cannot be recorded and is kept", "message", o.MessageID, "error", err, "next_try_in", wait)
		if retry.Wait(ctx, wait) != nil {
			break
		}
		if err = d.cfg.Store.Record(ctx, o); err == nil || errors.Is(err, store.ErrNotMine) {
			return err
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastRecord)
	defer cancel()
	if err = d.cfg.Store.Record(last, o); err == nil || errors.Is(err, store.ErrNotMine) {
		return err
	}
	return d.lost(ctx, o, err)
}

// lost is the end of an outcome that was not recorded.
func (d *Deliverer) lost(ctx context.Context, o store.Outcome, err error) error {
	d.cfg.Logger.ErrorContext(ctx, "delivery: an outcome is lost; the message stays claimed until the claim is resolved", "message", o.MessageID, "error", err)
	return fmt.Errorf("delivery: the outcome of message %s could not be recorded: %w", o.MessageID, err)
}

// unsaid stands for words that the store would not take.
const unsaid = "the relay's words could not be recorded"

// salvage records what matters of an outcome that the store refuses as it is: the states, without the words of others. If that
// is refused too and nothing was accepted, the message goes back, so that it is not held for as long as this process lives.
func (d *Deliverer) salvage(ctx context.Context, o store.Outcome, refusal error) error {
	bare := o
	bare.Attempt.Text, bare.Attempt.Enhanced, bare.Attempt.Transcript = unsaid, "", ""
	bare.Recipients = slices.Clone(o.Recipients)
	accepted := false
	for i := range bare.Recipients {
		r := &bare.Recipients[i]
		r.Text, r.Enhanced = unsaid, ""
		accepted = accepted || r.State == store.Sent || r.State == store.Unknown
	}
	tries := []store.Outcome{bare}
	if !accepted {
		tries = append(tries, store.Outcome{Node: o.Node, MessageID: o.MessageID, TenantID: o.TenantID, Release: true, NextDue: d.cfg.Now().Add(releasedWait)})
	}
	for _, less := range tries {
		err := d.cfg.Store.Record(ctx, less)
		if err == nil || errors.Is(err, store.ErrNotMine) {
			d.cfg.Logger.ErrorContext(ctx, "delivery: an outcome was refused and is recorded without its words", "message", o.MessageID, "released", less.Release, "error", refusal)
			return err
		}
	}
	return d.lost(ctx, o, refusal)
}
