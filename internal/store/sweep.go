package store

import (
	"context"
	"time"

	"github.com/google/uuid"
)

const (
	defaultRetainContent = 30 * 24 * time.Hour
	defaultRetain        = 90 * 24 * time.Hour
	// retainStats is a little more than a year, so that years can be compared.
	retainStats = 400 * 24 * time.Hour
)

// Sweep removes what is no longer kept: content that no message refers to after a day, idempotency keys after theirs, contents,
// messages and events as the configuration says, inline relays that were not used for a month. It also fails messages that wait for a relay which was deleted. At most about
// most rows (0 or more than 1 000: 1 000) go in a transaction; it returns how many it removed: call it again while it removes any.
func (s *Store) Sweep(ctx context.Context, most int) (int, error) {
	if most <= 0 || most > pruneMost {
		most = pruneMost
	}
	total, err := s.pruneIdempotency(ctx, most)
	if err != nil {
		return total, err
	}
	for _, step := range []func(context.Context, int) (int, error){s.sweepUploads, s.failOrphans} {
		n, err := step(ctx, most)
		total += n
		if err != nil {
			return total, err
		}
	}
	var tenants []uuid.UUID
	err = s.asDelivery(ctx, readOne, func(t tx) error {
		r, err := t.query(ctx, "select id from tenants order by id")
		tenants, err = collect(r, err, func(r *rows) (uuid.UUID, error) {
			var id uuid.UUID
			err := r.Scan(&id)
			return id, err
		})
		return err
	})
	for _, tenant := range tenants {
		if err != nil {
			break
		}
		for _, step := range []func(context.Context, uuid.UUID, int) (int, error){s.sweepContents, s.sweepMessages, s.sweepEvents, s.sweepInline} {
			var n int
			if n, err = step(ctx, tenant, most); err != nil {
				break
			}
			total += n
		}
	}
	return total, err
}

// sweepUploads removes content that was never accepted, one content a transaction since it may be large.
func (s *Store) sweepUploads(ctx context.Context, most int) (int, error) {
	type upload struct{ tenant, id uuid.UUID }
	var list []upload
	err := s.asDelivery(ctx, readOne, func(t tx) error {
		r, err := t.query(ctx, "select tenant_id, id from uploads where created_at < $1 limit $2", s.now().Add(-uploadExpiry), most)
		list, err = collect(r, err, func(r *rows) (upload, error) {
			var u upload
			err := r.Scan(&u.tenant, &u.id)
			return u, err
		})
		return err
	})
	for i, u := range list {
		if err != nil {
			return i, err
		}
		err = s.asDelivery(ctx, readWrite, func(t tx) error {
			t.setTenant(u.tenant)
			return dropUpload(ctx, t, u.tenant, u.id)
		})
	}
	return len(list), err
}

func (s *Store) sweepMessages(ctx context.Context, tenant uuid.UUID, most int) (int, error) {
	if s.cfg.RetainMessages < 0 {
		return 0, nil
	}
	var list []finishedMessage
	err := s.asDelivery(ctx, readWrite, func(t tx) (err error) {
		// What was scheduled or tried for long is kept as long after its end as all else: somebody has yet to read how it ended.
		before := s.now().Add(-s.cfg.RetainMessages)
		list, err = finishedMessages(ctx, t, tenant, before, most)
		if err != nil || len(list) == 0 {
			return err
		}
		b := &batch{}
		dropMessages(b, t, tenant, list)
		return t.batch(ctx, b)
	})
	return len(list), err
}

func (s *Store) sweepEvents(ctx context.Context, tenant uuid.UUID, most int) (int, error) {
	var events, stats int64
	err := s.asDelivery(ctx, readWrite, func(t tx) error {
		t.setTenant(tenant)
		b := &batch{}
		if s.cfg.RetainEvents >= 0 {
			b.exec(&events, `delete from events where tenant_id = $1 and at < $2 and seq in
				(select seq from events where tenant_id = $1 order by seq limit $3)`, tenant, s.now().Add(-s.cfg.RetainEvents), most)
		}
		b.exec(&stats, "delete from message_stats where tenant_id = $1 and hour < $2", tenant, s.now().Add(-retainStats))
		return t.batch(ctx, b)
	})
	return int(events + stats), err
}

// failOrphans ends messages whose relay was deleted: nobody would ever claim them.
func (s *Store) failOrphans(ctx context.Context, most int) (int, error) {
	const why = "the relay was deleted"
	n := 0
	err := s.asDelivery(ctx, readWrite, func(t tx) error {
		n = 0
		r, err := t.query(ctx, `select s.tenant_id, s.message_id from relays r join spool s on s.relay_id = r.id
			where r.deleted_at is not null and s.claim is null limit $1`, most)
		node, now := NewID(), s.now()
		units, err := collect(r, err, func(r *rows) (*outcomeUnit, error) {
			u := &outcomeUnit{now: now, o: Outcome{Node: node, Attempt: AttemptRecord{StartedAt: now, EndedAt: now, Status: "failed", Text: why}}}
			err := r.Scan(&u.o.TenantID, &u.o.MessageID)
			return u, err
		})
		if err != nil || len(units) == 0 {
			return err
		}
		b := &batch{}
		for _, u := range units { // as if claimed, so that the outcome counts
			b.setTenant(u.o.TenantID)
			b.exec(nil, "update spool set claim = $3, claimed_at = $4 where tenant_id = $1 and message_id = $2 and claim is null",
				u.o.TenantID, u.o.MessageID, node, now)
		}
		if err := t.batch(ctx, b); err != nil {
			return err
		}
		n = len(units)
		return s.applyRecords(ctx, t, nil, units)
	})
	return n, err
}
