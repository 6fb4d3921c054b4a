package store

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/google/uuid"
)

const (
	// inlineUnused is how long nothing was accepted for an inline relay when it is removed. It comes again with the next
	// message that brings it.
	inlineUnused = 30 * 24 * time.Hour
	// inlineEvery is how often a tenant's inline relays are looked at: some tenants have one for each of their customers.
	inlineEvery = time.Hour
	// inlineRetired is how long nobody finds an inline relay any more before it is removed: longer than anybody remembers
	// one that was found.
	inlineRetired = time.Hour
	// retiredPrint is how long the fingerprint of a relay is that nobody finds any more; others have 32 octets.
	retiredPrint = 33
)

// inlineIdle says of an inline relay r of tenant $1 that no message waits for it.
const inlineIdle = `r.tenant_id = $1 and r.fingerprint is not null and r.deleted_at is null
	and not exists (select 1 from spool s where s.relay_id = r.id and s.tenant_id = $1 and s.claim is null)
	and not exists (select 1 from spool s where s.relay_id = r.id and s.tenant_id = $1 and s.claim is not null)`

// sweepInline removes inline relays that are of no use any more, with their passwords; the rows stay, since messages refer to
// them. First such a relay is only hidden from InlineRelay, so that nothing is accepted for it at the moment that it goes.
func (s *Store) sweepInline(ctx context.Context, tenant uuid.UUID, most int) (int, error) {
	now := s.now()
	if !s.swept.relaysDue(tenant, now) {
		return 0, nil
	}
	t := s.Tenant(tenant)
	var retire, remove []uuid.UUID
	err := t.read(ctx, func(q tx) error {
		unused := now.Add(-inlineUnused)
		// Not while its newest message could be sent once more.
		r, err := q.query(ctx, "select r.id from relays r where "+inlineIdle+` and length(r.fingerprint) < $5 and r.created_at < $2
			and not exists (select 1 from messages m where m.relay_id = r.id and m.tenant_id = $1 and m.id >= $3)
			and coalesce((select m.content_purged from messages m where m.relay_id = r.id and m.tenant_id = $1 order by m.id desc limit 1), $6)
			order by r.id limit $4`, tenant, unused, idAt(unused), most, retiredPrint, true)
		if retire, err = collect(r, err, scanID); err != nil {
			return err
		}
		r, err = q.query(ctx, "select r.id from relays r where "+inlineIdle+" and length(r.fingerprint) = $4 and r.updated_at < $2 order by r.id limit $3",
			tenant, now.Add(-inlineRetired), most, retiredPrint)
		remove, err = collect(r, err, scanID)
		return err
	})
	if err == nil && max(len(retire), len(remove)) < most {
		s.swept.relaysDone(tenant, now)
	}
	if err != nil || len(retire)+len(remove) == 0 {
		return 0, err
	}
	err = t.write(ctx, func(q tx) error {
		b := &batch{}
		for _, id := range retire {
			print := make([]byte, retiredPrint)
			rand.Read(print) // never fails
			b.exec(nil, "update relays set fingerprint = $3, updated_at = $4 where tenant_id = $1 and id = $2 and deleted_at is null", tenant, id, print, now)
		}
		for _, id := range remove {
			b.exec(nil, "delete from relay_credentials where relay_id = $2 and tenant_id = $1", tenant, id)
			b.exec(nil, "update relay_grants set active = $3 where relay_id = $2 and tenant_id = $1", tenant, id, false)
			b.exec(nil, "update relays set deleted_at = $3, has_password = $4 where tenant_id = $1 and id = $2", tenant, id, now, false)
		}
		return q.batch(ctx, b)
	})
	return len(retire) + len(remove), err
}

// relaysDue reports whether it is time to look at a tenant's relays.
func (w *swept) relaysDue(tenant uuid.UUID, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !now.Before(w.relays[tenant].Add(inlineEvery))
}

// relaysDone notes that there is nothing to do for a while.
func (w *swept) relaysDone(tenant uuid.UUID, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.relays == nil {
		w.relays = map[uuid.UUID]time.Time{}
	}
	w.relays[tenant] = now
}
