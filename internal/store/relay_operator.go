package store

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// CreateRelay makes a relay of the operator's. Nobody may use it until it is shared.
func (o Operator) CreateRelay(ctx context.Context, n NewRelay, by Actor) (Relay, error) {
	return o.relayOwner().add(ctx, n, by)
}

// Relays lists the operator's relays. next is empty at the end.
func (o Operator) Relays(ctx context.Context, page Page) (list []Relay, next string, err error) {
	after, err := page.position()
	if err != nil {
		return nil, "", err
	}
	err = o.s.asOperator(ctx, readOne, func(q tx) error {
		r, err := q.query(ctx, "select "+relayColumns+` from relays r where r.tenant_id is null and r.deleted_at is null
			and (r.created_at, r.id) < ($1, $2) order by r.created_at desc, r.id desc limit $3`, after.at, after.id, page.limit()+1)
		list, err = collect(r, err, func(r *rows) (Relay, error) { return scanRelay(r.Scan) })
		return err
	})
	if err != nil {
		return nil, "", err
	}
	list, next = nextPage(list, page.limit(), func(r Relay) position { return position{r.CreatedAt, r.ID} })
	return list, next, nil
}

// Relay returns a relay of the operator's.
func (o Operator) Relay(ctx context.Context, id uuid.UUID) (Relay, error) {
	var r Relay
	err := o.s.asOperator(ctx, readOne, func(q tx) (err error) {
		r, err = scanRelay(q.row(ctx, "select "+relayColumns+" from relays r where r.id = $1 and r.tenant_id is null and r.deleted_at is null", id).Scan)
		return err
	})
	return r, err
}

// RelaySecret returns the sealed password of a relay of the operator's; nil if it has none.
func (o Operator) RelaySecret(ctx context.Context, id uuid.UUID) ([]byte, error) {
	var sealed []byte
	err := o.s.asOperator(ctx, readOne, func(q tx) error {
		return q.row(ctx, `select c.sealed from relays r left join relay_credentials c on c.relay_id = r.id
			where r.tenant_id is null and r.id = $1 and r.deleted_at is null`, id).Scan(&sealed)
	})
	return sealed, err
}

// UpdateRelay changes a relay of the operator's.
func (o Operator) UpdateRelay(ctx context.Context, id uuid.UUID, patch RelayPatch, by Actor) (Relay, error) {
	return o.relayOwner().update(ctx, id, patch, by)
}

// DeleteRelay removes a relay of the operator's. Messages that wait for it fail.
func (o Operator) DeleteRelay(ctx context.Context, id uuid.UUID, by Actor) error {
	return o.relayOwner().remove(ctx, id, by)
}

// PauseRelay holds everything for a relay of the operator's.
func (o Operator) PauseRelay(ctx context.Context, id uuid.UUID, reason string, by Actor) (Relay, error) {
	return o.relayOwner().pause(ctx, id, Pause{Kind: PauseOperator, Reason: reason}, by)
}

// ResumeRelay ends every pause of a relay of the operator's.
func (o Operator) ResumeRelay(ctx context.Context, id uuid.UUID, by Actor) (Relay, error) {
	return o.relayOwner().pause(ctx, id, Pause{}, by)
}

// ShareRelay lets a tenant use a relay of the operator's. Doing it again does nothing.
func (o Operator) ShareRelay(ctx context.Context, id, tenant uuid.UUID, by Actor) error {
	return o.share(ctx, id, tenant, true, "relay.share", by)
}

// UnshareRelay takes that back. Messages that wait for the relay stay where they are until it is shared again.
func (o Operator) UnshareRelay(ctx context.Context, id, tenant uuid.UUID, by Actor) error {
	return o.share(ctx, id, tenant, false, "relay.unshare", by)
}

func (o Operator) share(ctx context.Context, id, tenant uuid.UUID, active bool, action string, by Actor) error {
	if tenant == uuid.Nil {
		return ErrNotFound
	}
	err := o.s.asOperator(ctx, readWrite, func(q tx) error {
		if _, err := o.relayOwner().own(ctx, q, id); err != nil {
			return err
		}
		var known uuid.UUID
		if err := q.row(ctx, "select id from tenants where id = $1", tenant).Scan(&known); err != nil {
			return err
		}
		if _, err := q.exec(ctx, `insert into relay_grants (tenant_id, relay_id, active, created_at) values ($1, $2, $3, $4)
			on conflict (tenant_id, relay_id) do update set active = excluded.active`, tenant, id, active, o.s.now()); err != nil {
			return err
		}
		return o.s.audit(ctx, q, o.relayOwner().entry(by, action, id, map[string]string{"tenant": tenant.String()}))
	})
	return notReferenced(err)
}

// PauseAll holds everything: nothing is sent for anybody until ResumeAll. Accepting goes on.
func (o Operator) PauseAll(ctx context.Context, reason string, by Actor) error {
	return o.pauseAll(ctx, Pause{Kind: PauseOperator, Reason: reason, At: o.s.now()}, "relay.pause_all", by)
}

// ResumeAll ends PauseAll. Relays paused by themselves stay so.
func (o Operator) ResumeAll(ctx context.Context, by Actor) error {
	return o.pauseAll(ctx, Pause{}, "relay.resume_all", by)
}

func (o Operator) pauseAll(ctx context.Context, p Pause, action string, by Actor) error {
	if !storable(p.Reason) {
		return &InvalidError{Field: "reason", Reason: "is not valid UTF-8 or contains NUL"}
	}
	return o.s.asOperator(ctx, readWrite, func(q tx) error {
		if _, err := q.exec(ctx, "update service_pause set paused = $1, reason = $2, at = $3", p.Kind != PauseNone, p.Reason, p.At); err != nil {
			return err
		}
		return o.s.audit(ctx, q, AuditEntry{Actor: by, Action: action, TargetKind: "service", TargetID: "all"})
	})
}

// PausedAll says whether the operator holds everything, why and since when.
func (s *Store) PausedAll(ctx context.Context) (Pause, error) {
	var p Pause
	var paused bool
	err := s.asDelivery(ctx, readOne, func(q tx) error {
		return q.row(ctx, "select paused, reason, at from service_pause").Scan(&paused, &p.Reason, &p.At)
	})
	if err != nil || !paused {
		return Pause{}, err
	}
	p.Kind = PauseOperator
	p.At = p.At.Truncate(time.Microsecond)
	return p, nil
}
