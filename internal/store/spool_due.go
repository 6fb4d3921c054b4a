package store

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
)

// turn is the longest waiting message of a relay, tenant and class.
type turn struct {
	relay, tenant uuid.UUID
	class         Class
	due           time.Time
	notBefore     time.Time
	pause         PauseKind
	unheld        bool // nothing but time is missing
	may           bool // may be sent now
}

// A step of a loose index scan: the first row behind one turn is the first of the next. So 100 000 rows of a tenant cost as
// much as one. The index spool_due has this order.
const (
	turnColumns = `s.relay_id, s.tenant_id, s.class, s.due, r.not_before, r.pause_kind, (` + unheld + `) as unheld, (` + maySend + `) as may`
	turnOrder   = ` order by s.relay_id, s.tenant_id, s.class, s.due, s.message_id limit 1`

	// SQLite begins to read at the first row that equals the row value, also for "greater": behind the greatest due time there is none
	// of the last turn to pass over.
	nextTurnSQLite = `select ` + turnColumns + ` from spool s join relays r on r.id = s.relay_id
		where s.claim is null and (s.relay_id, s.tenant_id, s.class, s.due) > ($2, $3, $4, 9223372036854775807)` + turnOrder

	nextTurnOfRelaySQLite = `select ` + turnColumns + ` from spool s join relays r on r.id = s.relay_id
		where s.claim is null and s.relay_id = $2 and (s.tenant_id, s.class, s.due) > ($3, $4, 9223372036854775807)` + turnOrder

	// PostgreSQL walks in one round trip. The rows are found first and judged afterwards.
	turnsPostgres = `with recursive turn as (
			(select relay_id, tenant_id, class, due from spool where claim is null order by relay_id, tenant_id, class, due limit 1)
			union all
			select n.relay_id, n.tenant_id, n.class, n.due from turn p cross join lateral (
				select relay_id, tenant_id, class, due from spool
				where claim is null and (relay_id, tenant_id, class) > (p.relay_id, p.tenant_id, p.class)
				order by relay_id, tenant_id, class, due limit 1) n)
		select ` + turnColumns + ` from (select *, null::uuid as claim from turn) s join relays r on r.id = s.relay_id`

	turnsOfRelayPostgres = `with recursive turn as (
			(select relay_id, tenant_id, class, due from spool where claim is null and relay_id = $2 order by tenant_id, class, due limit 1)
			union all
			select n.relay_id, n.tenant_id, n.class, n.due from turn p cross join lateral (
				select relay_id, tenant_id, class, due from spool
				where claim is null and relay_id = $2 and (tenant_id, class) > (p.tenant_id, p.class)
				order by tenant_id, class, due limit 1) n)
		select ` + turnColumns + ` from (select *, null::uuid as claim from turn) s join relays r on r.id = s.relay_id`
)

// turns lists the turns of a relay, or of all when relay is uuid.Nil.
func (s *Store) turns(ctx context.Context, relay uuid.UUID, now time.Time) ([]turn, error) {
	var list []turn
	err := s.asDelivery(ctx, readOnly, func(t tx) error {
		list = nil
		if t.postgres() {
			text, args := turnsPostgres, []any{now}
			if relay != uuid.Nil {
				text, args = turnsOfRelayPostgres, append(args, relay)
			}
			return askTurns(ctx, t, func(r *rows) error {
				next, err := scanTurn(r)
				list = append(list, next)
				return err
			}, text, args...)
		}
		at := turn{relay: relay, class: -1}
		text := nextTurnSQLite
		if relay != uuid.Nil {
			text = nextTurnOfRelaySQLite
		}
		for {
			// As octets, since uuid.Nil would be NULL, behind which nothing comes.
			r, err := t.query(ctx, text, now, at.relay[:], at.tenant[:], int(at.class))
			next, err := collect(r, err, scanTurn)
			if err != nil || len(next) == 0 {
				return err
			}
			at = next[0]
			list = append(list, at)
		}
	})
	return list, err
}

// askTurns asks PostgreSQL in one round trip. Left alone it sorts all that waits: the policy makes it believe that there is one row.
func askTurns(ctx context.Context, t tx, each func(*rows) error, text string, args ...any) error {
	b := &batch{}
	b.exec(nil, goByIndex)
	b.query(each, text, args...)
	return t.batch(ctx, b)
}

func scanTurn(r *rows) (turn, error) {
	var t turn
	err := r.Scan(&t.relay, &t.tenant, &t.class, &t.due, &t.notBefore, &t.pause, &t.unheld, &t.may)
	return t, err
}

func (s *Store) orNow(now time.Time) time.Time {
	if now.IsZero() {
		return s.now()
	}
	return now
}

// DueRelays lists the relays that have messages which may be sent now, the longest waiting first, at most limit
// (0: all). A zero now is the store's clock.
func (s *Store) DueRelays(ctx context.Context, now time.Time, limit int) ([]DueRelay, error) {
	turns, err := s.turns(ctx, uuid.Nil, s.orNow(now))
	if err != nil {
		return nil, err
	}
	place := map[uuid.UUID]int{}
	var list []DueRelay
	for _, t := range turns {
		if !t.may {
			continue
		}
		i, known := place[t.relay]
		if !known {
			i = len(list)
			place[t.relay] = i
			list = append(list, DueRelay{ID: t.relay, OldestDue: t.due, Probe: t.pause == PauseAuth})
		}
		if t.due.Before(list[i].OldestDue) {
			list[i].OldestDue = t.due
		}
	}
	slices.SortFunc(list, func(a, b DueRelay) int {
		if c := a.OldestDue.Compare(b.OldestDue); c != 0 {
			return c
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
	if limit > 0 && len(list) > limit {
		list = list[:limit]
	}
	return list, nil
}

// DueTenants lists whose turns there are at a relay: tenants and classes with messages that may be sent now, in
// the order of the tenants' ids, transactional before bulk.
func (s *Store) DueTenants(ctx context.Context, relay uuid.UUID, now time.Time) ([]DueTenant, error) {
	if relay == uuid.Nil {
		return nil, ErrNotFound
	}
	turns, err := s.turns(ctx, relay, s.orNow(now))
	if err != nil {
		return nil, err
	}
	var list []DueTenant
	for _, t := range turns {
		if t.may {
			list = append(list, DueTenant{Tenant: t.tenant, Class: t.class, OldestDue: t.due})
		}
	}
	return list, nil
}

// NextDue is when the next message may be sent that may not be sent yet; zero when there is none. What is paused or suspended
// does not count, nor what stands behind a message of its turn that is due: whoever has sent that asks again.
func (s *Store) NextDue(ctx context.Context) (time.Time, error) {
	now := s.now()
	turns, err := s.turns(ctx, uuid.Nil, now)
	if err != nil {
		return time.Time{}, err
	}
	var next time.Time
	for _, t := range turns {
		if !t.unheld || !t.due.Before(heldUntil()) {
			continue
		}
		at := t.due
		if t.notBefore.After(at) {
			at = t.notBefore
		}
		if at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next, nil
}
