package store

import (
	"context"
	"errors"

	"github.com/google/uuid"
)

// CreateRelay makes a relay of the tenant. A second one of a name is a *ConflictError with the field "name".
func (t Tenant) CreateRelay(ctx context.Context, n NewRelay, by Actor) (Relay, error) {
	return t.relayOwner().add(ctx, n, by)
}

func (o relayOwner) add(ctx context.Context, n NewRelay, by Actor) (Relay, error) {
	r := n.relay(o.tenant, o.s.now())
	err := o.write(ctx, func(q tx) error {
		if err := o.create(ctx, q, r, n.SealedPassword, nil); err != nil {
			return err
		}
		return o.s.audit(ctx, q, o.entry(by, "relay.create", r.ID, map[string]string{"name": r.Name, "host": r.Host}))
	})
	return r, notReferenced(err)
}

// usable are the relays that the tenant may use.
const usable = ` r.deleted_at is null and exists (select 1 from relay_grants g where g.relay_id = r.id and g.tenant_id = $1 and g.active)`

// Relay returns a relay that the tenant may use: its own, inline ones too, or one that was shared with it.
func (t Tenant) Relay(ctx context.Context, id uuid.UUID) (Relay, error) {
	var r Relay
	err := t.readOne(ctx, func(q tx) (err error) {
		r, err = scanRelay(q.row(ctx, "select "+relayColumns+" from relays r where r.id = $2 and"+usable, t.id, id).Scan)
		return err
	})
	return r, err
}

// Relays lists the relays that the tenant may use, without inline ones. next is empty at the end.
func (t Tenant) Relays(ctx context.Context, page Page) (list []Relay, next string, err error) {
	after, err := page.position()
	if err != nil {
		return nil, "", err
	}
	err = t.readOne(ctx, func(q tx) error {
		r, err := q.query(ctx, "select "+relayColumns+` from relays r where r.fingerprint is null and (r.created_at, r.id) < ($2, $3) and`+usable+`
			order by r.created_at desc, r.id desc limit $4`, t.id, after.at, after.id, page.limit()+1)
		list, err = collect(r, err, func(r *rows) (Relay, error) { return scanRelay(r.Scan) })
		return err
	})
	if err != nil {
		return nil, "", err
	}
	list, next = nextPage(list, page.limit(), func(r Relay) position { return position{r.CreatedAt, r.ID} })
	return list, next, nil
}

// UpdateRelay changes a relay of the tenant. A pause because of a refused password ends. ErrNotOwner: the relay is shared
// with the tenant, and the operator's to change.
func (t Tenant) UpdateRelay(ctx context.Context, id uuid.UUID, patch RelayPatch, by Actor) (Relay, error) {
	return t.relayOwner().update(ctx, id, patch, by)
}

// DeleteRelay removes a relay of the tenant with its password. ErrInUse: messages wait for it.
func (t Tenant) DeleteRelay(ctx context.Context, id uuid.UUID, by Actor) error {
	return t.relayOwner().remove(ctx, id, by)
}

// PauseRelay holds everything for a relay of the tenant, without using up attempts.
func (t Tenant) PauseRelay(ctx context.Context, id uuid.UUID, reason string, by Actor) (Relay, error) {
	return t.relayOwner().pause(ctx, id, Pause{Kind: PauseTenant, Reason: reason}, by)
}

// ResumeRelay ends every pause of a relay of the tenant, and what held it back for a time.
func (t Tenant) ResumeRelay(ctx context.Context, id uuid.UUID, by Actor) (Relay, error) {
	return t.relayOwner().pause(ctx, id, Pause{}, by)
}

// InlineRelay finds the relay that came with an earlier message and has this fingerprint, or makes it. The fingerprint is
// over all settings and the password, so that another password is another relay. It is not listed.
func (t Tenant) InlineRelay(ctx context.Context, n NewRelay, fingerprint [32]byte) (Relay, error) {
	find := func(q tx) (Relay, error) {
		return scanRelay(q.row(ctx, "select "+relayColumns+` from relays r
			where coalesce(r.tenant_id, `+noTenant(q)+`) = $1 and r.fingerprint = $2 and r.deleted_at is null`, t.id, fingerprint[:]).Scan)
	}
	var r Relay
	err := t.readOne(ctx, func(q tx) (err error) {
		r, err = find(q)
		return err
	})
	if !errors.Is(err, ErrNotFound) {
		return r, err
	}
	made := n.relay(t.id, t.s.now())
	made.Name, made.Inline = "", true
	err = t.write(ctx, func(q tx) error {
		r = made
		return t.relayOwner().create(ctx, q, made, n.SealedPassword, fingerprint[:])
	})
	if _, ok := errors.AsType[*ConflictError](err); ok { // another request made it meanwhile
		err = t.readOne(ctx, func(q tx) (err error) {
			r, err = find(q)
			return err
		})
	}
	return r, notReferenced(err)
}

// noTenant stands for the operator in the indexes of relays.
func noTenant(t tx) string {
	if t.postgres() {
		return "'00000000-0000-0000-0000-000000000000'"
	}
	return "x'00'"
}

// RelaySecret returns the sealed password of a relay that the tenant owns; nil if it has none.
func (t Tenant) RelaySecret(ctx context.Context, id uuid.UUID) ([]byte, error) {
	var sealed []byte
	err := t.readOne(ctx, func(q tx) error {
		return q.row(ctx, `select c.sealed from relays r left join relay_credentials c on c.relay_id = r.id
			where r.tenant_id = $1 and r.id = $2 and r.deleted_at is null`, t.id, id).Scan(&sealed)
	})
	return sealed, err
}
