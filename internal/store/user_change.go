package store

import (
	"context"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
)

// UpdateUser changes a user. Suspending it or changing its role ends its sessions and makes its tokens bad. The
// tenant's last active admin can be neither suspended nor demoted: ErrLastAdmin.
func (t Tenant) UpdateUser(ctx context.Context, id uuid.UUID, patch UserPatch, by Actor) (User, error) {
	var u User
	err := t.write(ctx, func(q tx) (err error) {
		if u, err = t.lockUser(ctx, q, id); err != nil {
			return err
		}
		before := u
		if err := patch.apply(&u); err != nil {
			return err
		}
		if u == before {
			return nil
		}
		if isAdmin(before) && !isAdmin(u) {
			if err := t.otherAdmin(ctx, q, id); err != nil {
				return err
			}
		}
		u.UpdatedAt = t.s.now()
		var key *string
		if u.Email != "" {
			key = null(emailKey(u.Email))
		}
		if _, err := q.exec(ctx, `update users set email = $3, email_key = $4, name = $5, role = $6, state = $7, updated_at = $8
			where tenant_id = $1 and id = $2`, t.id, id, null(u.Email), key, u.Name, u.Role, u.State, u.UpdatedAt); err != nil {
			return err
		}
		if u.Role != before.Role || u.State == StateSuspended && before.State != StateSuspended {
			if err := t.endAll(ctx, q, id); err != nil {
				return err
			}
		}
		return t.s.audit(ctx, q, t.entry(by, "user.update", "user", id, userChanges(before, u)))
	})
	return u, err
}

func (p UserPatch) apply(u *User) error {
	if p.Email != nil {
		if err := checkEmail(*p.Email); err != nil {
			return err
		}
		u.Email = *p.Email
	}
	if p.Name != nil {
		if err := checkName(*p.Name); err != nil {
			return err
		}
		u.Name = *p.Name
	}
	if p.Role != nil {
		if err := checkRole(*p.Role); err != nil {
			return err
		}
		u.Role = *p.Role
	}
	if p.State != nil {
		if err := p.State.check(); err != nil {
			return err
		}
		u.State = *p.State
	}
	return nil
}

// userChanges says what was changed; of what names a person only that it was.
func userChanges(before, after User) map[string]string {
	d := map[string]string{}
	if before.Email != after.Email {
		d["email"] = "changed"
	}
	if before.Name != after.Name {
		d["name"] = "changed"
	}
	if before.Role != after.Role {
		d["role"] = string(before.Role) + " to " + string(after.Role)
	}
	if before.State != after.State {
		d["state"] = string(before.State) + " to " + string(after.State)
	}
	return d
}

func isAdmin(u User) bool { return u.Role == auth.RoleAdmin && u.State == StateActive }

// lockUser reads a user that is going to be changed. Admins are locked first, all of them and always in the order of
// their ids: whoever demotes one must know that the others stay, and two who lock in different orders would wait for
// each other.
func (t Tenant) lockUser(ctx context.Context, q tx, id uuid.UUID) (User, error) {
	if q.postgres() {
		r, err := q.query(ctx, `select id from users where tenant_id = $1 and (id = $2 or role = 'admin') order by id for update`, t.id, id)
		if _, err := collect(r, err, func(r *rows) (id uuid.UUID, err error) { return id, r.Scan(&id) }); err != nil {
			return User{}, err
		}
	}
	return t.user(ctx, q, id, "")
}

// otherAdmin fails if the tenant has no active admin beside id.
func (t Tenant) otherAdmin(ctx context.Context, q tx, id uuid.UUID) error {
	var others int
	if err := q.row(ctx, `select count(*) from users where tenant_id = $1 and id <> $2 and role = 'admin' and state = 'active'`,
		t.id, id).Scan(&others); err != nil {
		return err
	}
	if others == 0 {
		return ErrLastAdmin
	}
	return nil
}

// endAll ends the user's sessions and makes the tokens bad that were issued up to now.
func (t Tenant) endAll(ctx context.Context, q tx, user uuid.UUID) error {
	now := t.s.now()
	b := &batch{}
	b.exec(nil, "update sessions set ended_at = $3 where tenant_id = $1 and user_id = $2 and ended_at is null", t.id, user, now)
	b.exec(nil, "update users set revoked_before = $3 where tenant_id = $1 and id = $2", t.id, user, now)
	return q.batch(ctx, b)
}

// SetPassword stores the hash of a new password, ends the user's sessions and makes its tokens bad.
func (t Tenant) SetPassword(ctx context.Context, id uuid.UUID, hash string, by Actor) error {
	return t.write(ctx, func(q tx) error {
		n, err := q.exec(ctx, "update users set password_hash = $3, updated_at = $4 where tenant_id = $1 and id = $2", t.id, id, null(hash), t.s.now())
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		if err := t.endAll(ctx, q, id); err != nil {
			return err
		}
		return t.s.audit(ctx, q, t.entry(by, "user.password", "user", id, nil))
	})
}

// UpgradePassword replaces a hash by one of the same password that is harder to compute. If the password was changed
// in between, nothing happens.
func (t Tenant) UpgradePassword(ctx context.Context, id uuid.UUID, oldHash, newHash string) error {
	return t.write(ctx, func(q tx) error {
		_, err := q.exec(ctx, "update users set password_hash = $4 where tenant_id = $1 and id = $2 and password_hash = $3", t.id, id, oldHash, newHash)
		return err
	})
}

// RevokeUserTokens ends the user's sessions and makes bad every token that was issued up to now.
func (t Tenant) RevokeUserTokens(ctx context.Context, user uuid.UUID, by Actor) error {
	return t.write(ctx, func(q tx) error {
		if _, err := t.user(ctx, q, user, forUpdate(q)); err != nil {
			return err
		}
		if err := t.endAll(ctx, q, user); err != nil {
			return err
		}
		return t.s.audit(ctx, q, t.entry(by, "user.revoke_tokens", "user", user, nil))
	})
}
