package store

import (
	"context"
	"time"

	"github.com/google/uuid"
)

const (
	// resolvePiece is how many claims one transaction resolves.
	resolvePiece = 500
	// unknownWait is how long a message waits for its further attempt after an unknown outcome, at least.
	unknownWait = 10 * time.Minute
	// statusUnknown is the word of postrider.Status.
	statusUnknown = "unknown"
)

// foreignClaim is a claim of an incarnation that no longer drains the relay.
type foreignClaim struct {
	tenant, message, claim uuid.UUID
	claimedAt              time.Time
	hold, marked           bool
	unknownBefore          bool
}

// ResolveClaims settles what other incarnations than node claimed of a relay, when node has just got the right to drain
// it: due again if the content cannot have been accepted, else unknown. Claims that made no mark are due again at once; under
// OnUnknownRetry that may already be the one further attempt (Claimed.UnknownBefore), since only a mark would tell.
func (s *Store) ResolveClaims(ctx context.Context, relay, node uuid.UUID) (due, unknown int, err error) {
	err = s.asDelivery(ctx, readWrite, func(t tx) error {
		_, err := t.exec(ctx, "update relays set drained_by = $2 where id = $1", relay, node)
		return err
	})
	for err == nil {
		var d, u int
		err = s.asDelivery(ctx, readWrite, func(t tx) (err error) {
			d, u, err = s.resolvePiece(ctx, t, relay, node)
			return err
		})
		if err != nil || d+u == 0 {
			break
		}
		due, unknown = due+d, unknown+u
	}
	return due, unknown, err
}

func (s *Store) resolvePiece(ctx context.Context, t tx, relay, node uuid.UUID) (due, unknown int, err error) {
	r, err := t.query(ctx, `select tenant_id, message_id, claim, claimed_at, hold, marked, unknown_before from spool
		where relay_id = $1 and claim is not null and claim <> $2 order by tenant_id, message_id limit $3`+forUpdate(t), relay, node, resolvePiece)
	list, err := collect(r, err, func(r *rows) (foreignClaim, error) {
		var c foreignClaim
		err := r.Scan(&c.tenant, &c.message, &c.claim, &c.claimedAt, &c.hold, &c.marked, &c.unknownBefore)
		return c, err
	})
	if err != nil {
		return 0, 0, err
	}
	now := s.now()
	var units []*outcomeUnit
	again := &batch{}
	for _, c := range list {
		if c.marked {
			u, err := s.interrupted(ctx, t, c, now)
			if err != nil {
				return 0, 0, err
			}
			units = append(units, u)
			unknown++
			continue
		}
		again.setTenant(c.tenant)
		again.exec(nil, `update spool set claim = null, claimed_at = null, due = $3, unknown_before = $4 where tenant_id = $1 and message_id = $2`,
			c.tenant, c.message, now, c.unknownBefore || !c.hold)
		due++
	}
	t.setTenant(uuid.Nil)
	if len(again.items) > 0 {
		if err := t.batch(ctx, again); err != nil {
			return 0, 0, err
		}
	}
	if len(units) > 0 {
		if err := s.applyRecords(ctx, t, nil, units); err != nil {
			return 0, 0, err
		}
	}
	return due, unknown, nil
}

// interrupted is the outcome that the node could not record: the content may have been accepted.
func (s *Store) interrupted(ctx context.Context, t tx, c foreignClaim, now time.Time) (*outcomeUnit, error) {
	const why = "the node that sent it ended before the relay's reply was recorded"
	o := Outcome{
		Node: c.claim, MessageID: c.message, TenantID: c.tenant,
		Attempt: AttemptRecord{StartedAt: c.claimedAt, EndedAt: now, Phase: "dot", Status: statusUnknown, Text: why},
	}
	further := !c.hold && !c.unknownBefore
	if further {
		o.NextDue = now.Add(unknownWait)
	}
	r, err := t.query(ctx, `select n from recipients where tenant_id = $1 and message_id = $2 and (state in ('queued', 'deferred') or again) order by n`,
		c.tenant, c.message)
	o.Recipients, err = collect(r, err, func(r *rows) (RecipientOutcome, error) {
		end := RecipientOutcome{State: Unknown, Again: further, Text: why}
		err := r.Scan(&end.N)
		return end, err
	})
	return &outcomeUnit{o: o, now: now}, err
}

// ReleaseClaims gives back what an incarnation holds and has not marked: the end of a node that stops in good order. What that could not give back
// itself may have been sent, with an outcome that was lost: as after ResolveClaims, under OnUnknownRetry the next attempt may be the further one.
// It returns how many messages are due again.
func (s *Store) ReleaseClaims(ctx context.Context, node uuid.UUID) (int, error) {
	var total int
	for {
		var n int64
		err := s.asDelivery(ctx, readWrite, func(t tx) (err error) {
			n, err = t.exec(ctx, `update spool set claim = null, claimed_at = null, unknown_before = (unknown_before or not hold) where (tenant_id, message_id) in
				(select tenant_id, message_id from spool where claim = $1 and claim is not null and not marked
				order by tenant_id, message_id limit $2`+forUpdate(t)+`)`, node, resolvePiece)
			return err
		})
		total += int(n)
		if err != nil || n < resolvePiece {
			return total, err
		}
	}
}

// ForeignClaims lists the relays on which other incarnations than node hold claims: those of a node that has died, if
// nobody else drains them.
func (s *Store) ForeignClaims(ctx context.Context, node uuid.UUID) ([]uuid.UUID, error) {
	var list []uuid.UUID
	err := s.asDelivery(ctx, readOne, func(t tx) error {
		r, err := t.query(ctx, "select distinct relay_id from spool where claim is not null and claim <> $1 order by relay_id", node)
		list, err = collect(r, err, func(r *rows) (uuid.UUID, error) {
			var id uuid.UUID
			err := r.Scan(&id)
			return id, err
		})
		return err
	})
	return list, err
}
