package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
)

// change is a message that its tenant changes, with its rows locked.
type change struct {
	t     Tenant
	q     tx
	m     Message
	spool *spoolRow // nil: it is finished
	// states are those of all recipients.
	states []recipientRow
	g      *recordGroup
	u      *outcomeUnit
}

// changeMessage locks a message, calls fn and writes what it left in change.g. ErrClaimed: a node is sending it.
func (t Tenant) changeMessage(ctx context.Context, id uuid.UUID, fn func(*change) error) error {
	return t.write(ctx, func(q tx) error {
		c := &change{t: t, q: q, g: &recordGroup{tenant: t.id}, u: &outcomeUnit{o: Outcome{MessageID: id, TenantID: t.id}, now: t.s.now()}}
		if err := c.load(ctx, id); err != nil {
			return err
		}
		if err := fn(c); err != nil {
			return err
		}
		b := &batch{}
		c.g.write(b, q)
		c.g.count(b, q)
		return q.batch(ctx, b)
	})
}

func (c *change) load(ctx context.Context, id uuid.UUID) error {
	row := &spoolRow{}
	err := c.q.row(ctx, `select relay_id, recipients, hold, attempts, claim, unknown_before from spool where tenant_id = $1 and message_id = $2`+
		forUpdate(c.q), c.t.id, id).Scan(&row.relay, &row.recipients, &row.hold, &row.attempts, &row.claim, &row.unknownBefore)
	switch {
	case errors.Is(err, ErrNotFound): // finished, or not there
	case err != nil:
		return err
	case row.claim != uuid.Nil:
		return ErrClaimed
	default:
		c.spool = row
	}
	lock := ""
	if c.q.postgres() {
		lock = " for update of m"
	}
	c.m, err = scanMessage(c.q.row(ctx, "select "+messageColumns+messageFrom+"where m.tenant_id = $1 and m.id = $2"+lock, c.t.id, id).Scan)
	if err != nil {
		return err
	}
	r, err := c.q.query(ctx, "select n, state, again from recipients where tenant_id = $1 and message_id = $2 order by n", c.t.id, id)
	c.states, err = collect(r, err, func(r *rows) (recipientRow, error) {
		var rc recipientRow
		err := r.Scan(&rc.n, &rc.state, &rc.again)
		return rc, err
	})
	return err
}

// set gives a recipient a new state.
func (c *change) set(i int, state RecipientState) {
	c.states[i].state, c.states[i].again = state, false
	c.g.change(c.u, c.m.RelayID, 0, RecipientOutcome{N: c.states[i].n}, state, false)
}

// Cancel withdraws a message from all recipients that are still open. Those that have it keep it. ErrFinished: none is open.
func (t Tenant) Cancel(ctx context.Context, id uuid.UUID, by Actor) error {
	return t.changeMessage(ctx, id, func(c *change) error {
		if c.spool == nil {
			return ErrFinished
		}
		c.cancel()
		return t.s.audit(ctx, c.q, t.entry(by, "message.cancel", "message", id, nil))
	})
}

func (c *change) cancel() {
	for i, s := range c.states {
		switch {
		case s.again, s.open() && c.m.Restored: // it may have been accepted before, and that cannot be withdrawn
			c.set(i, Unknown)
		case s.open():
			c.set(i, Canceled)
		}
	}
	id := c.m.ID
	c.g.messages = append(c.g.messages, []any{id, string(summary(c.states)), int64(c.m.Attempts), c.u.now})
	c.g.left = append(c.g.left, []any{id})
	c.g.finished++
}

// Reschedule changes when the next attempt is made; a zero at is now. The time that it is tried for moves along. ErrFinished:
// nobody is left to send to.
func (t Tenant) Reschedule(ctx context.Context, id uuid.UUID, at time.Time, by Actor) error {
	var relay uuid.UUID
	err := t.changeMessage(ctx, id, func(c *change) error {
		if c.spool == nil {
			return ErrFinished
		}
		relay = c.m.RelayID
		now := c.u.now
		if at.Before(now) {
			at = now
		}
		if c.spool.unknownBefore && at.Before(c.m.NextDue) {
			at = c.m.NextDue // ten minutes after an unknown end are not ours to cut
		}
		giveUp := c.m.GiveUpAt
		if later := at.Add(c.window()); !giveUp.IsZero() && later.After(giveUp) {
			giveUp = later
		}
		b := &batch{}
		b.exec(nil, "update spool set due = $3, restored_due = null where tenant_id = $1 and message_id = $2", t.id, id, at)
		b.exec(nil, "update messages set send_at = $3, give_up_at = $4 where tenant_id = $1 and id = $2", t.id, id, at, giveUp)
		if err := c.q.batch(ctx, b); err != nil {
			return err
		}
		return t.s.audit(ctx, c.q, t.entry(by, "message.reschedule", "message", id, map[string]string{"send_at": at.UTC().Format(time.RFC3339)}))
	})
	if err == nil && !at.After(t.s.now()) {
		t.s.announceRelay(relay)
	}
	return err
}

// window is how long the message is tried from its first attempt on.
func (c *change) window() time.Duration {
	from := c.m.CreatedAt
	if c.m.SendAt.After(from) {
		from = c.m.SendAt
	}
	return c.m.GiveUpAt.Sub(from)
}

// Retry sends again to recipients that failed or are unknown, and at once to those that wait for their next attempt; never to those
// that are sent. For an unknown one that may make a second copy, which is the caller's decision. ErrFinished: there is nobody
// to send to. ErrContentGone: what to send is no longer there.
func (t Tenant) Retry(ctx context.Context, id uuid.UUID, by Actor) error {
	var relay uuid.UUID
	err := t.changeMessage(ctx, id, func(c *change) error {
		relay = c.m.RelayID
		open := c.spool != nil
		for i, s := range c.states {
			if s.state == Failed || s.state == Unknown && !s.again {
				c.set(i, Queued)
				open = true
			}
		}
		switch {
		case !open:
			return ErrFinished
		case c.m.ContentPurged:
			return ErrContentGone
		}
		if err := c.requeue(ctx); err != nil {
			return err
		}
		return t.s.audit(ctx, c.q, t.entry(by, "message.retry", "message", id, nil))
	})
	if err == nil {
		t.s.announceRelay(relay)
	}
	return err
}

// requeue puts the message into the spool, due now.
func (c *change) requeue(ctx context.Context) error {
	now, id := c.u.now, c.m.ID
	var usableRelay uuid.UUID
	err := c.q.row(ctx, `select g.relay_id from relay_grants g join relays r on r.id = g.relay_id
		where g.tenant_id = $1 and g.relay_id = $2 and g.active and r.deleted_at is null`, c.t.id, c.m.RelayID).Scan(&usableRelay)
	if errors.Is(err, ErrNotFound) {
		return &InvalidError{Field: "relay_id", Reason: "names no relay that the tenant may use"}
	}
	if err != nil {
		return err
	}
	giveUp := c.m.GiveUpAt
	if later := now.Add(c.window()); !giveUp.IsZero() && later.After(giveUp) {
		giveUp = later
	}
	b := &batch{}
	switch {
	case c.spool == nil:
		b.exec(nil, `insert into spool (tenant_id, message_id, relay_id, class, due, recipients, hold, attempts) values ($1, $2, $3, $4, $5, $6, $7, $8)`,
			c.t.id, id, c.m.RelayID, int(c.m.Class), now, len(c.states), c.m.OnUnknown == OnUnknownHold, c.m.Attempts)
		c.g.finished--
	case !slices.ContainsFunc(c.states, func(s recipientRow) bool { return s.again }): // that one's ten minutes are not ours to cut
		b.exec(nil, "update spool set due = $3, restored_due = null where tenant_id = $1 and message_id = $2", c.t.id, id, now)
	case c.m.Restored:
		b.exec(nil, "update spool set due = restored_due, restored_due = null where tenant_id = $1 and message_id = $2", c.t.id, id)
	}
	b.exec(nil, "update messages set state = $3, finished_at = null, give_up_at = $4 where tenant_id = $1 and id = $2",
		c.t.id, id, summary(c.states), giveUp)
	return c.q.batch(ctx, b)
}

// Delete removes a message with its recipients, attempts and content, canceled if it is still open. Its events stay, without
// addresses.
func (t Tenant) Delete(ctx context.Context, id uuid.UUID, by Actor) error {
	return t.changeMessage(ctx, id, func(c *change) error {
		if c.spool != nil {
			c.cancel()
			c.g.changed, c.g.messages, c.g.left = nil, nil, nil // they go with the message
		}
		var content uuid.UUID
		if err := c.q.row(ctx, "select content_id from messages where tenant_id = $1 and id = $2", t.id, id).Scan(&content); err != nil {
			return err
		}
		b := &batch{}
		dropMessages(b, c.q, t.id, []finishedMessage{{id: id, content: content}})
		if err := c.q.batch(ctx, b); err != nil {
			return err
		}
		return t.s.audit(ctx, c.q, t.entry(by, "message.delete", "message", id, nil))
	})
}

func (s *Store) announceRelay(relay uuid.UUID) { s.tellAll([]uuid.UUID{relay}) }
