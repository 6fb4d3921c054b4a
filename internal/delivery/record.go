package delivery

import (
	"context"
	"errors"
	"fmt"
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
	// lastRecord is the time for one last try when the caller's context has ended: what the
	// relay said is worth more than a quick end.
	lastRecord = 5 * time.Second
)

// record writes an outcome, however often it has to be tried, until ctx ends and one try after that.
// The error is the store's last; store.ErrNotMine is final at once, any but store.ErrUnavailable after a few tries.
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
				break
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
	d.cfg.Logger.ErrorContext(ctx, "delivery: an outcome is lost; the message stays claimed until the claim is resolved", "message", o.MessageID, "error", err)
	return fmt.Errorf("delivery: the outcome of message %s could not be recorded: %w", o.MessageID, err)
}
