package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
)

// Standing is what decides, before each request, whether a verified credential still counts.
type Standing struct {
	TenantState State // empty: no such tenant
	UserState   State // empty: no such user
	Role        auth.Role
	// RevokedBefore makes tokens bad that were issued at this moment or earlier. Zero: none.
	RevokedBefore time.Time
	// RevokedTokens are the jti of single tokens of the user, and of those whose user is not known, that are bad and
	// have not expired.
	RevokedTokens []string
}

// Standing returns how a user stands. One that does not exist is no error.
func (t Tenant) Standing(ctx context.Context, user uuid.UUID) (Standing, error) {
	var st Standing
	err := t.readOne(ctx, func(q tx) error {
		list := "json_group_array(r.token_id)"
		if q.postgres() {
			list = "coalesce(json_agg(r.token_id), '[]')"
		}
		return q.row(ctx, `select t.state, u.state, u.role, u.revoked_before,
			(select `+list+` from revoked_tokens r where r.tenant_id = $1 and (r.user_id = $2 or r.user_id is null) and r.until > $3)
			from (select 1 as one) o left join tenants t on t.id = $1 left join users u on u.tenant_id = t.id and u.id = $2`,
			t.id, user, t.s.now()).Scan(&st.TenantState, &st.UserState, &st.Role, &st.RevokedBefore, &st.RevokedTokens)
	})
	if isNotFound(err) { // the tenant uuid.Nil
		return Standing{}, nil
	}
	return st, err
}

// RevokeToken makes one token bad until it expires. user is whose it is; uuid.Nil if that is not known.
func (t Tenant) RevokeToken(ctx context.Context, jti string, user uuid.UUID, until time.Time, by Actor) error {
	if jti == "" || len(jti) > maxTokenID {
		return &InvalidError{Field: "jti", Reason: "must have 1 to 256 octets"}
	}
	err := t.write(ctx, func(q tx) error {
		if _, err := q.exec(ctx, `insert into revoked_tokens (tenant_id, token_id, user_id, until, created_at) values ($1, $2, $3, $4, $5)
			on conflict (tenant_id, token_id) do update set
			user_id = case when revoked_tokens.user_id is distinct from excluded.user_id then null else revoked_tokens.user_id end,
			until = case when excluded.until > revoked_tokens.until then excluded.until else revoked_tokens.until end`,
			t.id, jti, user, until, t.s.now()); err != nil {
			return err
		}
		return t.s.audit(ctx, q, AuditEntry{TenantID: t.id, Actor: by, Action: "token.revoke", TargetKind: "token", TargetID: jti})
	})
	return notReferenced(err)
}

// maxTokenID bounds a jti, in octets.
const maxTokenID = 256

// Register creates the tenant and the user that a token of an outside issuer names, where they are missing. Those
// that exist stay as they are.
func (t Tenant) Register(ctx context.Context, user uuid.UUID, role auth.Role) error {
	if t.id == uuid.Nil || user == uuid.Nil {
		return ErrNotFound
	}
	if err := checkRole(role); err != nil {
		return err
	}
	by := Actor{Kind: ActorSystem}
	return t.s.asOperator(ctx, readWrite, func(q tx) error {
		q.setTenant(t.id)
		now := t.s.now()
		n, err := q.exec(ctx, "insert into tenants (id, name, state, created_at, updated_at) values ($1, $2, 'active', $3, $3) on conflict do nothing",
			t.id, "t-"+t.id.String(), now)
		if err != nil {
			return err
		}
		if n == 1 {
			if err := t.s.audit(ctx, q, AuditEntry{Actor: by, Action: "tenant.register", TargetKind: "tenant", TargetID: t.id.String()}); err != nil {
				return err
			}
		}
		n, err = q.exec(ctx, `insert into users (tenant_id, id, role, state, created_at, updated_at) values ($1, $2, $3, 'active', $4, $4)
			on conflict (tenant_id, id) do nothing`, t.id, user, role, now)
		if err != nil || n == 0 {
			return err
		}
		return t.s.audit(ctx, q, t.entry(by, "user.register", "user", user, map[string]string{"role": string(role)}))
	})
}
