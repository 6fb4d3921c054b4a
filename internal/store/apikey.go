package store

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
)

// APIKey is an API key as its tenant sees it. The key itself is kept nowhere, its hash is for LookupAPIKey only.
type APIKey struct {
	ID        uuid.UUID
	TenantID  uuid.UUID
	UserID    uuid.UUID // in whose name the key acts
	Name      string
	Role      auth.Role
	Scope     auth.Scope
	Test      bool
	Networks  []netip.Prefix // if not empty, the only ones that the key may be used from
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
	RevokedAt time.Time // zero: not revoked
	// LastUsedAt and LastUsedFrom are some seconds old; zero if the key was never used.
	LastUsedAt   time.Time
	LastUsedFrom netip.Addr
}

// NewAPIKey is a key to be stored. ID and Hash are those of an auth.APIKey.
type NewAPIKey struct {
	ID        uuid.UUID
	UserID    uuid.UUID
	Name      string
	Role      auth.Role // at most the user's
	Scope     auth.Scope
	Test      bool
	Hash      auth.KeyHash
	Networks  []netip.Prefix // nil: the key may be used from everywhere
	ExpiresAt time.Time      // zero: never
}

// maxNetworks bounds the networks of a key.
const maxNetworks = 100

func (n NewAPIKey) check(owner User) error {
	if err := firstError(checkName(n.Name), checkRole(n.Role)); err != nil {
		return err
	}
	switch {
	case n.ID == uuid.Nil || n.Hash.IsZero():
		return &InvalidError{Field: "key", Reason: "has no id or no hash"}
	case n.Scope != auth.ScopeFull && n.Scope != auth.ScopeSending:
		return &InvalidError{Field: "scope", Reason: "use full or sending"}
	case n.Role == auth.RoleAdmin && owner.Role != auth.RoleAdmin:
		return &InvalidError{Field: "role", Reason: "the key's user is no admin"}
	case len(n.Networks) > maxNetworks:
		return &InvalidError{Field: "networks", Reason: fmt.Sprintf("may be %d at most", maxNetworks)}
	case slices.ContainsFunc(n.Networks, func(p netip.Prefix) bool { return !p.IsValid() }):
		return &InvalidError{Field: "networks", Reason: "contain one that is none"}
	}
	return nil
}

const keyColumns = "tenant_id, id, user_id, name, role, scope, test, networks, created_at, expires_at, revoked_at, last_used_at, last_used_addr"

func scanKey(scan func(...any) error) (APIKey, error) {
	var k APIKey
	var networks []string
	err := scan(&k.TenantID, &k.ID, &k.UserID, &k.Name, &k.Role, &k.Scope, &k.Test, &networks, &k.CreatedAt, &k.ExpiresAt,
		&k.RevokedAt, &k.LastUsedAt, &k.LastUsedFrom)
	if err != nil {
		return APIKey{}, err
	}
	k.Networks, err = parseNetworks(networks)
	return k, err
}

func parseNetworks(texts []string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			// A key that was bound to networks must not be free of them.
			return nil, fmt.Errorf("store: the networks of an API key cannot be read: %w", err)
		}
		list = append(list, p)
	}
	return list, nil
}

// CreateAPIKey stores a key of an active user.
func (t Tenant) CreateAPIKey(ctx context.Context, n NewAPIKey, by Actor) (APIKey, error) {
	var k APIKey
	err := t.write(ctx, func(q tx) (err error) {
		k, err = t.createKey(ctx, q, n, by)
		return err
	})
	return k, err
}

func (t Tenant) createKey(ctx context.Context, q tx, n NewAPIKey, by Actor) (APIKey, error) {
	owner, err := t.user(ctx, q, n.UserID, forShare(q))
	if err == nil && owner.State != StateActive {
		err = ErrNotFound
	}
	if err != nil {
		return APIKey{}, err
	}
	if err := n.check(owner); err != nil {
		return APIKey{}, err
	}
	k := APIKey{
		ID: n.ID, TenantID: t.id, UserID: n.UserID, Name: n.Name, Role: n.Role, Scope: n.Scope, Test: n.Test, Networks: slices.Clone(n.Networks),
		CreatedAt: t.s.now(), ExpiresAt: n.ExpiresAt.UTC().Truncate(time.Microsecond),
	}
	networks := make([]string, len(n.Networks))
	for i, p := range n.Networks {
		networks[i] = p.String()
	}
	if _, err := q.exec(ctx, `insert into api_keys (tenant_id, id, user_id, name, role, scope, test, hash, networks, created_at, expires_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		t.id, k.ID, k.UserID, k.Name, k.Role, k.Scope, k.Test, n.Hash[:], networks, k.CreatedAt, k.ExpiresAt); err != nil {
		return APIKey{}, err
	}
	return k, t.s.audit(ctx, q, t.entry(by, "api_key.create", "api_key", k.ID, map[string]string{
		"user_id": k.UserID.String(), "role": string(k.Role), "scope": string(k.Scope),
	}))
}

// APIKey returns a key by its id.
func (t Tenant) APIKey(ctx context.Context, id uuid.UUID) (APIKey, error) {
	var k APIKey
	err := t.readOne(ctx, func(q tx) (err error) {
		k, err = t.key(ctx, q, id)
		return err
	})
	return k, err
}

func (t Tenant) key(ctx context.Context, q tx, id uuid.UUID) (APIKey, error) {
	return scanKey(q.row(ctx, "select "+keyColumns+" from api_keys where tenant_id = $1 and id = $2", t.id, id).Scan)
}

// APIKeys lists the tenant's keys, revoked ones too. With ofUser other than uuid.Nil it lists that user's only.
func (t Tenant) APIKeys(ctx context.Context, page Page, ofUser uuid.UUID) (keys []APIKey, next string, err error) {
	after, err := page.position()
	if err != nil {
		return nil, "", err
	}
	text := "select " + keyColumns + " from api_keys where tenant_id = $1 and (created_at, id) < ($2, $3)"
	args := []any{t.id, after.at, after.id, page.limit() + 1}
	if ofUser != uuid.Nil {
		text += " and user_id = $5"
		args = append(args, ofUser)
	}
	err = t.readOne(ctx, func(q tx) error {
		r, err := q.query(ctx, text+" order by created_at desc, id desc limit $4", args...)
		keys, err = collect(r, err, func(r *rows) (APIKey, error) { return scanKey(r.Scan) })
		return err
	})
	if err != nil {
		return nil, "", err
	}
	keys, next = nextPage(keys, page.limit(), func(k APIKey) position { return position{k.CreatedAt, k.ID} })
	return keys, next, nil
}

// UpdateAPIKey renames a key.
func (t Tenant) UpdateAPIKey(ctx context.Context, id uuid.UUID, name string, by Actor) (APIKey, error) {
	if err := checkName(name); err != nil {
		return APIKey{}, err
	}
	var k APIKey
	err := t.write(ctx, func(q tx) error {
		if _, err := q.exec(ctx, "update api_keys set name = $3 where tenant_id = $1 and id = $2", t.id, id, name); err != nil {
			return err
		}
		var err error
		if k, err = t.key(ctx, q, id); err != nil {
			return err
		}
		return t.s.audit(ctx, q, t.entry(by, "api_key.update", "api_key", id, nil))
	})
	return k, err
}

// RevokeAPIKey makes a key bad for ever. Doing it twice does no harm.
func (t Tenant) RevokeAPIKey(ctx context.Context, id uuid.UUID, by Actor) error {
	return t.write(ctx, func(q tx) error {
		n, err := q.exec(ctx, "update api_keys set revoked_at = $3 where tenant_id = $1 and id = $2 and revoked_at is null", t.id, id, t.s.now())
		if err != nil {
			return err
		}
		if n == 0 {
			_, err := t.key(ctx, q, id)
			return err
		}
		return t.s.audit(ctx, q, t.entry(by, "api_key.revoke", "api_key", id, nil))
	})
}

// LookupAPIKey implements auth.KeyStore. A key never has more rights than its user has now.
func (s *Store) LookupAPIKey(ctx context.Context, tenant, key uuid.UUID) (auth.APIKeyRecord, error) {
	if tenant == uuid.Nil || key == uuid.Nil {
		return auth.APIKeyRecord{}, auth.ErrKeyNotFound
	}
	var r auth.APIKeyRecord
	var hash []byte
	var networks []string
	err := s.inTenant(ctx, tenant, readOne, func(q tx) error {
		return q.row(ctx, `select k.id, k.tenant_id, k.user_id, case when u.role = 'admin' then k.role else 'user' end, k.scope, k.hash, k.networks,
			k.expires_at, k.revoked_at
			from api_keys k join users u on u.tenant_id = k.tenant_id and u.id = k.user_id where k.tenant_id = $1 and k.id = $2`, tenant, key).
			Scan(&r.ID, &r.TenantID, &r.UserID, &r.Role, &r.Scope, &hash, &networks, &r.ExpiresAt, &r.RevokedAt)
	})
	switch {
	case isNotFound(err):
		return auth.APIKeyRecord{}, auth.ErrKeyNotFound
	case err != nil:
		return auth.APIKeyRecord{}, err
	}
	copy(r.Hash[:], hash)
	r.AllowedNetworks, err = parseNetworks(networks)
	return r, err
}

// KeyUse is one use of an API key.
type KeyUse struct {
	Tenant, Key uuid.UUID
	Addr        netip.Addr
	At          time.Time
}

// TouchAPIKeys writes down when and from where keys were used last. Keys that do not exist are passed over.
func (s *Store) TouchAPIKeys(ctx context.Context, uses []KeyUse) error {
	if len(uses) == 0 {
		return nil
	}
	uses = slices.Clone(uses)
	slices.SortFunc(uses, func(a, b KeyUse) int { // one order for all who lock rows
		if c := bytes.Compare(a.Tenant[:], b.Tenant[:]); c != 0 {
			return c
		}
		return bytes.Compare(a.Key[:], b.Key[:])
	})
	return s.inTenants(ctx, readWrite, func(q tx) error {
		b := &batch{}
		for i, u := range uses {
			if i == 0 || u.Tenant != uses[i-1].Tenant {
				b.setTenant(u.Tenant)
			}
			b.exec(nil, `update api_keys set last_used_at = $3, last_used_addr = $4
				where tenant_id = $1 and id = $2 and (last_used_at is null or last_used_at < $3)`, u.Tenant, u.Key, u.At, u.Addr)
		}
		return q.batch(ctx, b)
	})
}
