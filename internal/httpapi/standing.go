package httpapi

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

const (
	// standingFor is how long an answer of the store counts. With the look-up itself, what changes on another node
	// is known here in well under 2 s.
	standingFor = time.Second
	// standingWait bounds one look-up: callers who wait longer have better tried again.
	standingWait = 5 * time.Second
	// standingMost bounds the memory: some 20 MB of users who asked within the last two seconds.
	standingMost = 50_000
)

// standing knows of the users that ask whether they and their tenants are registered and not suspended, which role
// they have, and which of their tokens are revoked. It keeps each answer of the store for a second, asks once for all
// who want the same, and forgets at once what this process changes. It is auth.Config's Directory and takes the place
// of auth.Revocations: one look-up answers both.
type standing struct {
	look     func(ctx context.Context, tenant, user uuid.UUID) (store.Standing, error)
	register func(ctx context.Context, tenant, user uuid.UUID, role auth.Role) error // nil: who is unknown stays unknown
	now      func() time.Time
	hits     counter // answered from memory
	misses   counter // asked of the store

	mu sync.Mutex
	// Two generations: when the young one is a second old or full, it becomes the old one, and the old one is
	// dropped. So nothing needs to be searched for what has expired.
	young, old standings
	turned     time.Time
}

// counter is what standing needs of a metric.
type counter interface{ Inc() }

type member struct{ tenant, user uuid.UUID }

type standings map[member]*look

// look is one question to the store. Who finds it unanswered waits for done.
type look struct {
	done   chan struct{}
	asked  time.Time
	answer store.Standing
	err    error
}

// Directory implements auth.Config.Directory.
func (s *standing) Directory(ctx context.Context, p auth.Principal) error {
	st, err := s.of(ctx, p.TenantID, p.UserID)
	if err != nil {
		return err
	}
	if st.TenantState == "" || st.UserState == "" {
		if st, err = s.enter(ctx, p, st); err != nil {
			return err
		}
	}
	switch {
	case st.TenantState != store.StateActive || st.UserState != store.StateActive:
		return auth.ErrSuspended
	case p.Kind == auth.KindToken && isRevoked(st, p):
		return &auth.Error{Code: auth.CodeRevoked, Reason: auth.ReasonRevoked}
	}
	return nil
}

// enter registers who is unknown, if an outside issuer is the authority for who exists. Only a token is its word: an
// API key is ours, and one without its user is an orphan.
func (s *standing) enter(ctx context.Context, p auth.Principal, st store.Standing) (store.Standing, error) {
	if s.register == nil || p.Kind != auth.KindToken {
		return st, auth.ErrNotRegistered
	}
	if err := s.register(ctx, p.TenantID, p.UserID, p.Role); err != nil {
		return st, err
	}
	s.forget(p.TenantID, p.UserID)
	st, err := s.of(ctx, p.TenantID, p.UserID)
	if err == nil && (st.TenantState == "" || st.UserState == "") {
		err = auth.ErrNotRegistered
	}
	return st, err
}

// isRevoked reports whether a token was ended before its time. A token that does not say when it was made counts as
// old.
func isRevoked(st store.Standing, p auth.Principal) bool {
	if !st.RevokedBefore.IsZero() && !p.IssuedAt.After(st.RevokedBefore) {
		return true
	}
	if p.TokenID != "" {
		for _, id := range st.RevokedTokens {
			if id == p.TokenID {
				return true
			}
		}
	}
	return false
}

// role is the lesser of the caller's role and the stored one.
func (s *standing) role(ctx context.Context, p auth.Principal) (auth.Role, error) {
	if p.Kind == auth.KindOperator {
		return p.Role, nil
	}
	st, err := s.of(ctx, p.TenantID, p.UserID)
	if err != nil {
		return "", &auth.Error{Code: auth.CodeUnavailable, Reason: auth.ReasonHook, Err: err}
	}
	if st.Role == auth.RoleAdmin {
		return p.Role, nil
	}
	return st.Role, nil
}

// of answers from memory or asks the store.
func (s *standing) of(ctx context.Context, tenant, user uuid.UUID) (store.Standing, error) {
	l, mine := s.join(member{tenant, user})
	if !mine {
		s.hits.Inc()
		select {
		case <-l.done:
			return l.answer, l.err
		case <-ctx.Done():
			return store.Standing{}, ctx.Err()
		}
	}
	s.misses.Inc()
	// Others wait for this answer, so it does not end with the request that happened to be first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), standingWait)
	defer cancel()
	defer close(l.done)
	l.err = errors.New("httpapi: the look-up panicked") // what others hear if it does
	l.answer, l.err = s.look(ctx, tenant, user)
	if l.err != nil { // not kept: the next one asks again
		s.drop(member{tenant, user}, l)
	}
	return l.answer, l.err
}

// join returns the question about m that counts at present; mine if the caller has to ask it.
func (s *standing) join(m member) (l *look, mine bool) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.young == nil || len(s.young) >= standingMost/2 || now.Sub(s.turned) >= standingFor {
		s.young, s.old, s.turned = make(standings, len(s.young)), s.young, now
	}
	for _, generation := range []standings{s.young, s.old} {
		if l := generation[m]; l != nil && now.Sub(l.asked) < standingFor {
			return l, false
		}
	}
	l = &look{done: make(chan struct{}), asked: now}
	s.young[m] = l
	return l, true
}

// drop forgets one question, unless a later one has taken its place.
func (s *standing) drop(m member, l *look) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, generation := range []standings{s.young, s.old} {
		if generation[m] == l {
			delete(generation, m)
		}
	}
}

// forget makes a change take effect here at once. A question that is under way may have seen the state before, so it
// is forgotten too: those who wait for it asked before the change was done.
func (s *standing) forget(tenant, user uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.young, member{tenant, user})
	delete(s.old, member{tenant, user})
}

// forgetTenant is forget for all users of a tenant. It is rare, and looks at every user in memory.
func (s *standing) forgetTenant(tenant uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, generation := range []standings{s.young, s.old} {
		for m := range generation {
			if m.tenant == tenant {
				delete(generation, m)
			}
		}
	}
}

// lookStanding asks the store about a user.
func (s *Server) lookStanding(ctx context.Context, tenant, user uuid.UUID) (store.Standing, error) {
	return s.store.Tenant(tenant).Standing(ctx, user)
}

// registerMember makes the rows of a tenant and a user whom an outside issuer named.
func (s *Server) registerMember(ctx context.Context, tenant, user uuid.UUID, role auth.Role) error {
	return s.store.Tenant(tenant).Register(ctx, user, role)
}
