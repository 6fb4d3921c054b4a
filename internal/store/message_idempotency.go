package store

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// idempotencyExpiry is how long a key is remembered.
const idempotencyExpiry = 24 * time.Hour

// inFlightWait is how long the second one waits for the first one's transaction, which others wait with it: a group commit
// takes milliseconds, unless its node was stopped in the middle.
const (
	inFlightWait = "2s"
	lockTimeout  = "select set_config('lock_timeout', $1, true)"
)

type idemKey struct {
	user       uuid.UUID
	scope, key string
}

func (i *Idempotency) id() idemKey { return idemKey{i.UserID, i.Scope, i.Key} }

// The row is inserted by whoever is first, or takes the place of one whose time is over. A second one waits at the unique
// index until the first one's transaction ends: the mark cannot outlive a crash.
var insertIdempotency = insertInto("idempotency", `on conflict (tenant_id, user_id, scope, key) do update
	set fingerprint = excluded.fingerprint, status = excluded.status, response = excluded.response, expires_at = excluded.expires_at
	where idempotency.expires_at <= $9 returning user_id, scope, key`,
	column{"user_id", "uuid"}, column{"scope", "text"}, column{"key", "text"}, column{"fingerprint", "bytea"},
	column{"status", "bigint"}, column{"response", "bytea"}, column{"expires_at", "timestamptz"})

// lookIdempotency inserts the keys of the group's units, the first unit of each key.
func (g *acceptGroup) lookIdempotency(b *batch, t tx) {
	leaders := map[idemKey]*acceptUnit{}
	var values [][]any
	var now time.Time
	for _, u := range g.units {
		if u.idem == nil {
			continue
		}
		k := u.idem.id()
		if first := leaders[k]; first != nil {
			u.leader = first
			continue
		}
		leaders[k] = u
		now = u.now
		values = append(values, []any{
			k.user, k.scope, k.key, u.idem.Fingerprint[:], int64(u.idem.Status), u.idem.Response, u.now.Add(idempotencyExpiry),
		})
	}
	if len(values) == 0 {
		return
	}
	won := func(r *rows) error {
		var k idemKey
		if err := r.Scan(&k.user, &k.scope, &k.key); err != nil {
			return err
		}
		g.won[k] = true
		return nil
	}
	sortRows(values) // so that two groups wait for each other in one direction only
	if t.postgres() {
		b.exec(nil, lockTimeout, inFlightWait)
		b.query(won, insertIdempotency.postgres, append(append([]any{g.tenant}, arrays(insertIdempotency.columns, values)...), now)...)
		b.exec(nil, lockTimeout, "10s") // as before
		return
	}
	for _, row := range values {
		b.query(won, insertIdempotency.sqlite, append(append([]any{g.tenant}, row...), now)...)
	}
}

// findReplays asks for the rows that stood in the way.
func (g *acceptGroup) findReplays(b *batch) {
	asked := false
	for _, u := range g.units {
		if u.idem == nil || u.leader != nil || g.won[u.idem.id()] {
			continue
		}
		if !asked {
			b.setTenant(g.tenant)
			asked = true
		}
		k := u.idem.id()
		b.query(func(r *rows) error {
			old := &Idempotency{Scope: k.scope, UserID: k.user, Key: k.key}
			var print []byte
			if err := r.Scan(&print, &old.Status, &old.Response); err != nil {
				return err
			}
			copy(old.Fingerprint[:], print)
			g.old[k] = old
			return nil
		}, "select fingerprint, status, response from idempotency where tenant_id = $1 and user_id = $2 and scope = $3 and key = $4",
			g.tenant, k.user, k.scope, k.key)
	}
}

// replayed reports whether the unit's key settles it, and how.
func (g *acceptGroup) replayed(u *acceptUnit) (settled bool, err error) {
	if u.idem == nil || u.leader == nil && g.won[u.idem.id()] {
		return false, nil
	}
	old := g.old[u.idem.id()]
	if first := u.leader; first != nil {
		switch {
		case first.err != nil && first.replay == nil && first.idem.Fingerprint == u.idem.Fingerprint:
			return true, first.err // the same request, refused
		case first.err != nil && g.won[u.idem.id()]:
			return true, ErrInFlight // the key is free again
		case g.won[u.idem.id()]:
			old = first.idem
		}
	}
	switch {
	case old == nil: // removed meanwhile
		return true, ErrInFlight
	case old.Fingerprint != u.idem.Fingerprint:
		return true, ErrIdempotencyMismatch
	}
	replay := *old
	u.replay = &replay
	return true, nil
}

// release gives back the keys of units that were refused: a corrected request may use its key again.
func (g *acceptGroup) release(b *batch) {
	for _, u := range g.units {
		if u.err == nil || u.idem == nil || u.leader != nil || !g.won[u.idem.id()] {
			continue
		}
		b.exec(nil, "delete from idempotency where tenant_id = $1 and user_id = $2 and scope = $3 and key = $4",
			g.tenant, u.idem.UserID, u.idem.Scope, u.idem.Key)
	}
}

// pruneIdempotency removes keys whose time is over, at most limit of them, and returns how many.
func (s *Store) pruneIdempotency(ctx context.Context, limit int) (int, error) {
	var n int64
	err := s.asDelivery(ctx, readWrite, func(t tx) error {
		var err error
		n, err = t.exec(ctx, `delete from idempotency where (tenant_id, user_id, scope, key) in
			(select tenant_id, user_id, scope, key from idempotency where expires_at <= $1 order by expires_at limit $2)`, s.now(), limit)
		return err
	})
	return int(n), err
}
