package store

import "context"

// pruneMost bounds the rows that one transaction deletes, so that writers do not wait long for it.
const pruneMost = 1000

// PruneExpired deletes up to most sessions, refresh tokens and revocations each that have expired, and returns how
// many it deleted: call it again while it deletes any. 0 or more than 1 000: 1 000.
func (s *Store) PruneExpired(ctx context.Context, most int) (int, error) {
	if most <= 0 || most > pruneMost {
		most = pruneMost
	}
	var deleted int
	err := s.asDelivery(ctx, readWrite, func(q tx) error {
		now := s.now()
		var n [3]int64
		b := &batch{}
		b.exec(&n[0], `delete from refresh_tokens where (tenant_id, hash) in
			(select tenant_id, hash from refresh_tokens where expires_at <= $1 order by expires_at limit $2)`, now, most)
		// The tokens that a session still has go with it.
		b.exec(&n[1], `delete from sessions where (tenant_id, id) in
			(select tenant_id, id from sessions where expires_at <= $1 order by expires_at limit $2)`, now, most)
		b.exec(&n[2], `delete from revoked_tokens where (tenant_id, token_id) in
			(select tenant_id, token_id from revoked_tokens where until <= $1 order by until limit $2)`, now, most)
		if err := q.batch(ctx, b); err != nil {
			return err
		}
		deleted = int(n[0] + n[1] + n[2])
		return nil
	})
	return deleted, err
}
