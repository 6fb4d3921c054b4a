package store

import (
	"context"
	"maps"
	"time"

	"github.com/google/uuid"
)

// releasePiece is how many messages one transaction lets go.
const releasePiece = 500

// HeldTenant is what a tenant has on hold since the database was restored.
type HeldTenant struct {
	Tenant    uuid.UUID
	Name      string
	Messages  int
	OldestDue time.Time // when the longest waiting of them was due
}

// Held lists the tenants with messages on hold since the database was restored, by name.
func (s *Store) Held(ctx context.Context) ([]HeldTenant, error) {
	var list []HeldTenant
	err := s.asDelivery(ctx, readOne, func(t tx) error {
		r, err := t.query(ctx, `select s.tenant_id, t.name, count(*), min(s.restored_due) from spool s join tenants t on t.id = s.tenant_id
			where s.restored_due is not null group by s.tenant_id, t.name order by t.name`)
		list, err = collect(r, err, func(r *rows) (HeldTenant, error) {
			var h HeldTenant
			err := r.Scan(&h.Tenant, &h.Name, &h.Messages, &h.OldestDue)
			return h, err
		})
		return err
	})
	return list, err
}

// SendHeld lets messages go that are on hold since the database was restored, of a tenant or of all (uuid.Nil): they are due when they were. If they left
// between the backup and the end of the old database, a second copy goes out, which is the caller's decision. It returns how many.
func (s *Store) SendHeld(ctx context.Context, tenant uuid.UUID, by Actor) (int, error) {
	return s.release(ctx, tenant, by, "restored.send", func(t tx, list []heldMessage) error {
		b := &batch{}
		for tenant, ids := range byTenant(list) {
			b.setTenant(tenant)
			b.exec(nil, "update spool set due = restored_due, restored_due = null where tenant_id = $1 and restored_due is not null and message_id "+oneOf(t, "$2"), tenant, manyIDs(t, ids))
			// The clock stood still meanwhile: they are tried for some time yet.
			b.exec(nil, "update messages set give_up_at = $3 where tenant_id = $1 and give_up_at < $3 and id "+oneOf(t, "$2"), tenant, manyIDs(t, ids), s.now().Add(keptFor))
		}
		return t.batch(ctx, b)
	})
}

// EndHeld ends such messages: their open recipients become unknown, since nobody can tell whether they were sent to. A retry of a message
// decides otherwise later. It returns how many.
func (s *Store) EndHeld(ctx context.Context, tenant uuid.UUID, by Actor) (int, error) {
	return s.release(ctx, tenant, by, "restored.end", func(t tx, list []heldMessage) error {
		node, now := NewID(), s.now()
		units := make([]*outcomeUnit, 0, len(list))
		b := &batch{}
		for _, m := range list {
			u := &outcomeUnit{now: now, o: Outcome{Node: node, TenantID: m.tenant, MessageID: m.message, untried: true}}
			units = append(units, u)
			b.setTenant(m.tenant)
			b.exec(nil, `update spool set claim = $3, claimed_at = $4, restored_due = null where tenant_id = $1 and message_id = $2 and claim is null
				and restored_due is not null`, m.tenant, m.message, node, now)
			b.query(func(r *rows) error {
				end := RecipientOutcome{State: Unknown, Text: "the database was restored from a backup: whether it was sent after that is not known"}
				err := r.Scan(&end.N)
				u.o.Recipients = append(u.o.Recipients, end)
				return err
			}, `select n from recipients where tenant_id = $1 and message_id = $2 and (state in ('queued', 'deferred') or again) order by n`, m.tenant, m.message)
		}
		if err := t.batch(ctx, b); err != nil {
			return err
		}
		return s.applyRecords(ctx, t, nil, units) // what was let go meanwhile stays as it is
	})
}

// heldMessage is a message on hold.
type heldMessage struct{ tenant, message uuid.UUID }

func byTenant(list []heldMessage) map[uuid.UUID][]uuid.UUID {
	all := map[uuid.UUID][]uuid.UUID{}
	for _, m := range list {
		all[m.tenant] = append(all[m.tenant], m.message)
	}
	return all
}

// release lets go of all that is on hold, in pieces, each with its line in the audit log of its tenant.
func (s *Store) release(ctx context.Context, tenant uuid.UUID, by Actor, action string, piece func(tx, []heldMessage) error) (int, error) {
	done := 0
	for {
		var list []heldMessage
		err := s.asDelivery(ctx, readWrite, func(t tx) error {
			text, args := "select tenant_id, message_id from spool where restored_due is not null", []any{releasePiece}
			if tenant != uuid.Nil {
				text, args = text+" and tenant_id = $2", append(args, tenant)
			}
			r, err := t.query(ctx, text+" order by tenant_id, message_id limit $1"+forUpdate(t), args...)
			list, err = collect(r, err, func(r *rows) (heldMessage, error) {
				var m heldMessage
				err := r.Scan(&m.tenant, &m.message)
				return m, err
			})
			if err != nil || len(list) == 0 {
				return err
			}
			if err := piece(t, list); err != nil {
				return err
			}
			t.setTenant(uuid.Nil)
			for tenant := range maps.Keys(byTenant(list)) {
				e := installationEntry(by, action, "")
				e.TenantID, e.Count = tenant, len(byTenant(list)[tenant])
				if err := s.audit(ctx, t, e); err != nil {
					return err
				}
			}
			return nil
		})
		done += len(list)
		if err != nil {
			return 0, err
		}
		if len(list) < releasePiece {
			return done, nil
		}
	}
}
