package store

import (
	"context"
	"strconv"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
)

// NewTenant is a tenant to be created, with its first admin.
type NewTenant struct {
	ID    uuid.UUID // uuid.Nil: a new one
	Name  string    // 1 to 63 characters of a to z, 0 to 9 and -; unique
	Admin NewUser   // its role is admin, whatever it says
	// Key, if not nil, is the admin's first API key; its UserID is filled in.
	Key *NewAPIKey
}

// CreateTenant creates a tenant with its admin and key. A second one with a name is a *ConflictError with the field
// "name".
func (o Operator) CreateTenant(ctx context.Context, n NewTenant, by Actor) (TenantRecord, User, error) {
	if err := checkTenantName(n.Name); err != nil {
		return TenantRecord{}, User{}, err
	}
	if n.ID == uuid.Nil {
		n.ID = NewID()
	}
	var r TenantRecord
	var u User
	err := o.s.asOperator(ctx, readWrite, func(q tx) (err error) {
		q.setTenant(n.ID)
		r = TenantRecord{ID: n.ID, Name: n.Name, State: StateActive, CreatedAt: o.s.now()}
		if _, err := q.exec(ctx, "insert into tenants (id, name, state, created_at, updated_at) values ($1, $2, $3, $4, $4)",
			r.ID, r.Name, r.State, r.CreatedAt); err != nil {
			return err
		}
		if err := o.s.audit(ctx, q, o.entry(by, "tenant.create", n.ID, map[string]string{"name": n.Name})); err != nil {
			return err
		}
		admin := n.Admin
		admin.Role = auth.RoleAdmin
		t := o.s.Tenant(n.ID)
		if u, err = t.createUser(ctx, q, admin, by); err != nil || n.Key == nil {
			return err
		}
		key := *n.Key
		key.UserID = u.ID
		_, err = t.createKey(ctx, q, key, by)
		return err
	})
	if err != nil {
		return TenantRecord{}, User{}, err
	}
	return r, u, nil
}

// entry is an audit entry of the operator about a tenant.
func (o Operator) entry(by Actor, action string, tenant uuid.UUID, detail map[string]string) AuditEntry {
	return AuditEntry{Actor: by, Action: action, TargetKind: "tenant", TargetID: tenant.String(), Detail: detail}
}

// Tenants lists all tenants. next is empty at the end.
func (o Operator) Tenants(ctx context.Context, page Page) (list []TenantRecord, next string, err error) {
	after, err := page.position()
	if err != nil {
		return nil, "", err
	}
	err = o.s.asOperator(ctx, readOne, func(q tx) error {
		r, err := q.query(ctx, "select "+tenantColumns+` from tenants where (created_at, id) < ($1, $2)
			order by created_at desc, id desc limit $3`, after.at, after.id, page.limit()+1)
		list, err = collect(r, err, func(r *rows) (TenantRecord, error) { return scanTenant(r.Scan) })
		return err
	})
	if err != nil {
		return nil, "", err
	}
	list, next = nextPage(list, page.limit(), func(r TenantRecord) position { return position{r.CreatedAt, r.ID} })
	return list, next, nil
}

// TenantRecord returns a tenant by its id.
func (o Operator) TenantRecord(ctx context.Context, id uuid.UUID) (TenantRecord, error) {
	var r TenantRecord
	err := o.s.asOperator(ctx, readOne, func(q tx) (err error) {
		r, err = scanTenant(q.row(ctx, "select "+tenantColumns+" from tenants where id = $1", id).Scan)
		return err
	})
	return r, err
}

// SetTenantState suspends a tenant, whose users can do nothing and whose messages wait, or lets it go on.
func (o Operator) SetTenantState(ctx context.Context, id uuid.UUID, state State, by Actor) error {
	if err := state.check(); err != nil {
		return err
	}
	return o.s.asOperator(ctx, readWrite, func(q tx) error {
		n, err := q.exec(ctx, "update tenants set state = $2, updated_at = $3 where id = $1 and state <> $2", id, state, o.s.now())
		if err != nil {
			return err
		}
		if n == 0 { // missing, or in that state already
			var found uuid.UUID
			return q.row(ctx, "select id from tenants where id = $1", id).Scan(&found)
		}
		return o.s.audit(ctx, q, o.entry(by, "tenant.state", id, map[string]string{"state": string(state)}))
	})
}

// Quotas bound what a tenant may use. 0: no bound.
type Quotas struct {
	MessagesPerDay   int // accepted on a day, UTC
	MessagesPerMonth int // accepted in a month, UTC
	Queued           int // with open recipients
}

// SetQuotas replaces a tenant's quotas.
func (o Operator) SetQuotas(ctx context.Context, id uuid.UUID, quotas Quotas, by Actor) error {
	if min(quotas.MessagesPerDay, quotas.MessagesPerMonth, quotas.Queued) < 0 {
		return &InvalidError{Field: "quotas", Reason: "cannot be negative; 0 stands for no bound"}
	}
	err := o.s.asOperator(ctx, readWrite, func(q tx) error {
		if _, err := q.exec(ctx, `insert into tenant_quotas (tenant_id, messages_per_day, messages_per_month, queued, updated_at) values ($1, $2, $3, $4, $5)
			on conflict (tenant_id) do update set messages_per_day = excluded.messages_per_day, messages_per_month = excluded.messages_per_month,
			queued = excluded.queued, updated_at = excluded.updated_at`,
			id, quotas.MessagesPerDay, quotas.MessagesPerMonth, quotas.Queued, o.s.now()); err != nil {
			return err
		}
		// What is counted against them is locked while messages are accepted, so it must exist.
		q.setTenant(id)
		if _, err := q.exec(ctx, `insert into tenant_usage (tenant_id, day, in_day, in_month, accepted) values ($1, $2, 0, 0, 0)
			on conflict (tenant_id) do nothing`, id, o.s.now().Format(dayLayout)); err != nil {
			return err
		}
		return o.s.audit(ctx, q, o.entry(by, "tenant.quotas", id, map[string]string{
			"messages_per_day": strconv.Itoa(quotas.MessagesPerDay), "messages_per_month": strconv.Itoa(quotas.MessagesPerMonth),
			"queued": strconv.Itoa(quotas.Queued),
		}))
	})
	return notReferenced(err)
}

// Quotas returns the tenant's quotas; none if the operator set none.
func (t Tenant) Quotas(ctx context.Context) (Quotas, error) {
	var quotas Quotas
	err := t.readOne(ctx, func(q tx) (err error) {
		quotas, err = t.quotas(ctx, q)
		return err
	})
	return quotas, err
}

func (t Tenant) quotas(ctx context.Context, q tx) (Quotas, error) {
	var quotas Quotas
	err := q.row(ctx, "select messages_per_day, messages_per_month, queued from tenant_quotas where tenant_id = $1", t.id).
		Scan(&quotas.MessagesPerDay, &quotas.MessagesPerMonth, &quotas.Queued)
	if isNotFound(err) {
		return Quotas{}, nil
	}
	return quotas, err
}
