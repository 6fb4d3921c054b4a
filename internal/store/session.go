package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
)

// RefreshToken is what is kept of a refresh token.
type RefreshToken struct {
	Hash      auth.KeyHash
	ExpiresAt time.Time
}

// Session is what a login began. It lives as long as its refresh token is exchanged for the next one in time.
type Session struct {
	ID        uuid.UUID
	TenantID  uuid.UUID
	UserID    uuid.UUID
	Role      auth.Role // the user's, now
	CreatedAt time.Time
	ExpiresAt time.Time // its last refresh token's
}

// StartSession begins a session of an active user with its first refresh token.
func (t Tenant) StartSession(ctx context.Context, user uuid.UUID, token RefreshToken, by Actor) (Session, error) {
	var s Session
	err := t.write(ctx, func(q tx) error {
		// Shared with other logins, but not with a suspension, which would not see the new session.
		u, err := t.user(ctx, q, user, forShare(q))
		if err == nil && u.State != StateActive {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		s = Session{ID: NewID(), TenantID: t.id, UserID: user, Role: u.Role, CreatedAt: t.s.now(), ExpiresAt: token.ExpiresAt.UTC().Truncate(time.Microsecond)}
		b := &batch{}
		b.exec(nil, "insert into sessions (tenant_id, id, user_id, created_at, expires_at) values ($1, $2, $3, $4, $5)",
			t.id, s.ID, user, s.CreatedAt, s.ExpiresAt)
		t.addToken(b, s, token)
		if err := q.batch(ctx, b); err != nil {
			return err
		}
		return t.s.audit(ctx, q, t.entry(by, "session.start", "session", s.ID, nil))
	})
	return s, err
}

func (t Tenant) addToken(b *batch, s Session, token RefreshToken) {
	b.exec(nil, "insert into refresh_tokens (tenant_id, hash, session_id, created_at, expires_at) values ($1, $2, $3, $4, $5)",
		t.id, token.Hash[:], s.ID, t.s.now(), token.ExpiresAt)
}

// foundToken is a refresh token with its session and user.
type foundToken struct {
	session   Session
	expiresAt time.Time
	usedAt    time.Time
	endedAt   time.Time
	userState State
}

func (t Tenant) lockToken(ctx context.Context, q tx, hash auth.KeyHash) (foundToken, error) {
	var f foundToken
	lock := ""
	if q.postgres() {
		lock = " for update of r, s" // both, or an end of the session that we waited for would not be seen
	}
	s := &f.session
	s.TenantID = t.id
	err := q.row(ctx, `select s.id, s.user_id, s.created_at, s.expires_at, s.ended_at, r.expires_at, r.used_at, u.role, u.state
		from refresh_tokens r join sessions s on s.tenant_id = r.tenant_id and s.id = r.session_id
		join users u on u.tenant_id = s.tenant_id and u.id = s.user_id
		where r.tenant_id = $1 and r.hash = $2`+lock, t.id, hash[:]).
		Scan(&s.ID, &s.UserID, &s.CreatedAt, &s.ExpiresAt, &f.endedAt, &f.expiresAt, &f.usedAt, &s.Role, &f.userState)
	return f, err
}

// RotateSession exchanges a refresh token for the next one. A token that was exchanged before ends the session and
// returns ErrReused: either it or its successor is in wrong hands. ErrNotFound stands for a token that is unknown or
// expired, or whose session has ended or user is suspended.
func (t Tenant) RotateSession(ctx context.Context, hash auth.KeyHash, next RefreshToken, by Actor) (Session, error) {
	var s Session
	reused := false
	err := t.write(ctx, func(q tx) error {
		reused = false // fn may run again
		f, err := t.lockToken(ctx, q, hash)
		if err != nil {
			return err
		}
		now := t.s.now()
		if !f.usedAt.IsZero() {
			reused = true
			if !f.endedAt.IsZero() {
				return nil
			}
			if err := t.endSession(ctx, q, f.session.ID); err != nil {
				return err
			}
			return t.s.audit(ctx, q, t.entry(by, "session.reuse", "session", f.session.ID, map[string]string{"user_id": f.session.UserID.String()}))
		}
		if !f.endedAt.IsZero() || !now.Before(f.expiresAt) || f.userState != StateActive {
			return ErrNotFound
		}
		s = f.session
		s.ExpiresAt = next.ExpiresAt.UTC().Truncate(time.Microsecond)
		b := &batch{}
		b.exec(nil, "update refresh_tokens set used_at = $3 where tenant_id = $1 and hash = $2", t.id, hash[:], now)
		b.exec(nil, "update sessions set expires_at = $3 where tenant_id = $1 and id = $2", t.id, s.ID, s.ExpiresAt)
		t.addToken(b, s, next)
		return q.batch(ctx, b)
	})
	switch {
	case err != nil:
		return Session{}, err
	case reused:
		return Session{}, ErrReused
	}
	return s, nil
}

func (t Tenant) endSession(ctx context.Context, q tx, id uuid.UUID) error {
	_, err := q.exec(ctx, "update sessions set ended_at = $3 where tenant_id = $1 and id = $2 and ended_at is null", t.id, id, t.s.now())
	return err
}

// EndSession ends the session of a refresh token, used or not. One that is unknown has ended already: no error.
func (t Tenant) EndSession(ctx context.Context, hash auth.KeyHash, by Actor) error {
	return t.write(ctx, func(q tx) error {
		f, err := t.lockToken(ctx, q, hash)
		if isNotFound(err) || err == nil && !f.endedAt.IsZero() {
			return nil
		}
		if err != nil {
			return err
		}
		if err := t.endSession(ctx, q, f.session.ID); err != nil {
			return err
		}
		return t.s.audit(ctx, q, t.entry(by, "session.end", "session", f.session.ID, nil))
	})
}

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }
