package store

import (
	"bytes"
	"context"
	"fmt"

	"github.com/google/uuid"
)

// ResealReport says what ResealSecrets did.
type ResealReport struct {
	Secrets int // that are stored
	Changed int // that were replaced
}

// sealedSecret is a secret in the database: the password of a relay.
type sealedSecret struct {
	relay, owner uuid.UUID // owner uuid.Nil: the operator
	sealed       []byte
}

// resealPiece is how many secrets are held at a time.
const resealPiece = 200

// ResealSecrets gives every stored secret to reseal and keeps what that returns in its place; nil leaves it as it is. It is
// for the rotation of the keys that secrets are sealed with, may run beside the service, and may be called again after
// an error, which is reseal's or the database's. owner is whose secret it is, uuid.Nil the operator's. A secret that
// somebody changes meanwhile stays as that somebody wrote it.
func (s *Store) ResealSecrets(ctx context.Context, reseal func(owner uuid.UUID, sealed []byte) ([]byte, error), by Actor) (ResealReport, error) {
	var report ResealReport
	var after uuid.UUID
	for {
		piece, err := s.sealedSecrets(ctx, after)
		if err != nil {
			return report, err
		}
		for _, secret := range piece {
			report.Secrets++
			after = secret.relay
			fresh, err := reseal(secret.owner, secret.sealed)
			if err != nil {
				return report, fmt.Errorf("store: the password of relay %s: %w", secret.relay, err)
			}
			if fresh == nil || bytes.Equal(fresh, secret.sealed) {
				continue
			}
			changed, err := s.replaceSecret(ctx, secret, fresh, by)
			if err != nil {
				return report, err
			}
			if changed {
				report.Changed++
			}
		}
		if len(piece) < resealPiece {
			return report, nil
		}
	}
}

func (s *Store) sealedSecrets(ctx context.Context, after uuid.UUID) (list []sealedSecret, err error) {
	err = s.asDelivery(ctx, readOne, func(q tx) error {
		r, err := q.query(ctx, "select relay_id, tenant_id, sealed from relay_credentials where relay_id > $1 order by relay_id limit $2", first(after), resealPiece)
		list, err = collect(r, err, func(r *rows) (c sealedSecret, err error) {
			return c, r.Scan(&c.relay, &c.owner, &c.sealed)
		})
		return err
	})
	return list, err
}

// first makes the place before all ids of uuid.Nil, which stands for NULL in an argument.
func first(after uuid.UUID) uuid.UUID {
	if after == uuid.Nil {
		after[15] = 1
	}
	return after
}

func (s *Store) replaceSecret(ctx context.Context, c sealedSecret, fresh []byte, by Actor) (changed bool, err error) {
	replace := func(q tx) error {
		n, err := q.exec(ctx, "update relay_credentials set sealed = $1 where relay_id = $2 and tenant_id is not distinct from $3 and sealed = $4",
			fresh, c.relay, c.owner, c.sealed)
		if changed = n > 0; err != nil || !changed {
			return err
		}
		return s.audit(ctx, q, AuditEntry{TenantID: c.owner, Actor: by, Action: "relay.reseal", TargetKind: "relay", TargetID: c.relay.String()})
	}
	if c.owner == uuid.Nil {
		err = s.asOperator(ctx, readWrite, replace)
		return changed, err
	}
	err = s.inTenant(ctx, c.owner, readWrite, replace)
	return changed, err
}
