package httpapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

// Reasons of denied logins, for the log and the audit log beside those of auth.
const (
	checkLogin          auth.Check  = "login"
	reasonWrongPassword auth.Reason = "wrong_password"
	reasonUnknownUser   auth.Reason = "unknown_user"
	reasonReused        auth.Reason = "refresh_token_reused"
	reasonNoSession     auth.Reason = "refresh_token_unknown"
)

func (s *Server) sessionRoutes() {
	register(s, operation{
		ID: "login", Method: http.MethodPost, Path: "/v1/login", Tag: tagSession, Access: everyone(), Errors: []int{http.StatusUnauthorized},
		Summary: "Log in with a password",
		Detail:  "Answers with an access token and a refresh token. Failures are limited for each account and for each address, and are alike for unknown accounts and wrong passwords.",
	}, s.login)
	register(s, operation{
		ID: "refresh", Method: http.MethodPost, Path: "/v1/refresh", Tag: tagSession, Access: everyone(), Errors: []int{http.StatusUnauthorized},
		Summary: "Get new tokens for a refresh token",
		Detail:  "A refresh token can be used once. When it is used again its session ends, with every token of it: one of the two who have it has stolen it.",
	}, s.refresh)
	register(s, operation{
		ID: "logout", Method: http.MethodPost, Path: "/v1/logout", Tag: tagSession, Access: anyMember().byToken(), Status: http.StatusNoContent,
		Summary: "Log out: end this token and, with its refresh token, the session",
	}, s.logout)
}

// login takes as long for an account that does not exist as for a wrong password: it makes the same queries, with a
// tenant made up from what was sent if need be, and computes a hash in any case.
func (s *Server) login(ctx context.Context, in *bodyOf[api.LoginRequest]) (*bodyOf[api.Tokens], error) {
	req := in.Body
	id, err := s.findTenant(ctx, req.Tenant)
	if err != nil {
		return nil, err
	}
	tries, err := s.throttle(ctx, id, req.Email)
	if err != nil {
		return nil, err
	}
	tenant := s.store.Tenant(id)
	user, err := tenant.UserByEmail(ctx, req.Email)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	err = s.cfg.Passwords.Login(ctx, user.PasswordHash, auth.NewSecret(req.Password), func(ctx context.Context, hash string) error {
		return tenant.UpgradePassword(ctx, user.ID, user.PasswordHash, hash)
	})
	switch {
	case errors.Is(err, auth.ErrWrongPassword), errors.Is(err, auth.ErrPasswordHash):
		return nil, s.loginRefused(ctx, id, user.ID)
	case err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil: // the password was right; a better hash could not be stored
		s.warn(ctx, "the hash of a password could not be renewed", err)
	}
	// The password is right, so its owner may learn no more than others: suspended is answered as wrong.
	st, err := s.standing.of(ctx, id, user.ID)
	if err != nil {
		return nil, unavailable(err)
	}
	if st.TenantState != store.StateActive || st.UserState != store.StateActive {
		return nil, s.loginRefused(ctx, id, user.ID)
	}
	tries.forgive(ctx)
	p := auth.Principal{TenantID: id, UserID: user.ID, Role: user.Role, Kind: auth.KindToken, Scope: auth.ScopeFull}
	recordOf(ctx).principal = p
	text, refresh := s.refreshToken(id)
	if _, err := tenant.StartSession(ctx, user.ID, refresh, actorOf(ctx, p)); err != nil {
		return nil, err
	}
	return s.tokens(p, text, refresh)
}

// findTenant reads the tenant's id, or finds it by its name. For a name that nobody has it makes an id up that no
// tenant has, always the same.
func (s *Server) findTenant(ctx context.Context, text string) (uuid.UUID, error) {
	if id, err := auth.ParseID(text); err == nil {
		return id, nil
	}
	text = strings.ToLower(text) // as names are; people are not so careful
	id, err := s.store.TenantByName(ctx, text)
	if errors.Is(err, store.ErrNotFound) {
		return uuid.NewHash(sha256.New(), uuid.Nil, []byte(text), 8), nil //nolint:mnd // version 8: made in a way of our own (RFC 9562 §5.8)
	}
	return id, err
}

// loginRefused is the one answer to a login that failed, whatever for.
func (s *Server) loginRefused(ctx context.Context, tenant, user uuid.UUID) error {
	rec := recordOf(ctx)
	rec.reason = reasonWrongPassword
	key := denial{tenant: tenant, user: user, kind: auth.KindToken, check: checkLogin, reason: reasonWrongPassword}
	if user == uuid.Nil {
		// The tenant may not exist either; entries of such belong to the operator.
		rec.reason, key.reason, key.kind = reasonUnknownUser, reasonUnknownUser, ""
		key.tenant = uuid.Nil
	}
	s.metrics.refusals.WithLabelValues(string(rec.reason)).Inc()
	s.deny(key, rec)
	return newProblem(http.StatusUnauthorized, api.CodeWrongCredentials, "Tenant, address or password are wrong, or the account is suspended.")
}

// refreshToken makes a refresh token and what is stored of it.
func (s *Server) refreshToken(tenant uuid.UUID) (string, store.RefreshToken) {
	text, hash := newRefreshToken(tenant)
	return text, store.RefreshToken{Hash: hash, ExpiresAt: s.cfg.Now().Add(s.cfg.SessionLifetime)}
}

// tokens makes the answer to a login or a refresh.
func (s *Server) tokens(p auth.Principal, text string, refresh store.RefreshToken) (*bodyOf[api.Tokens], error) {
	issued, err := s.cfg.Issuer.Issue(auth.Grant{TenantID: p.TenantID.String(), UserID: p.UserID.String(), Role: p.Role})
	if err != nil {
		return nil, err
	}
	return &bodyOf[api.Tokens]{Body: api.Tokens{
		AccessToken: issued.Token.Reveal(), TokenType: "Bearer",
		ExpiresAt: issued.ExpiresAt.UTC(), ExpiresIn: int(issued.ExpiresAt.Sub(issued.IssuedAt) / time.Second),
		RefreshToken: text, RefreshExpiresAt: refresh.ExpiresAt.UTC(),
		TenantID: p.TenantID.String(), UserID: p.UserID.String(), Role: string(p.Role),
	}}, nil
}

func (s *Server) refresh(ctx context.Context, in *bodyOf[api.RefreshRequest]) (*bodyOf[api.Tokens], error) {
	id, hash, ok := parseRefreshToken(in.Body.RefreshToken)
	if !ok {
		return nil, s.refreshRefused(ctx, uuid.Nil, reasonNoSession)
	}
	text, next := s.refreshToken(id)
	session, err := s.store.Tenant(id).RotateSession(ctx, hash, next, actorOf(ctx, auth.Principal{TenantID: id, Kind: auth.KindToken}))
	switch {
	case errors.Is(err, store.ErrReused):
		return nil, s.refreshRefused(ctx, id, reasonReused)
	case errors.Is(err, store.ErrNotFound):
		return nil, s.refreshRefused(ctx, uuid.Nil, reasonNoSession)
	case err != nil:
		return nil, err
	}
	// The role is that of now, not that of the login.
	st, err := s.standing.of(ctx, id, session.UserID)
	if err != nil {
		return nil, unavailable(err)
	}
	if st.TenantState != store.StateActive || st.UserState != store.StateActive {
		return nil, s.refreshRefused(ctx, id, auth.ReasonSuspended)
	}
	p := auth.Principal{TenantID: id, UserID: session.UserID, Role: st.Role, Kind: auth.KindToken, Scope: auth.ScopeFull}
	recordOf(ctx).principal = p
	return s.tokens(p, text, next)
}

func (s *Server) refreshRefused(ctx context.Context, tenant uuid.UUID, reason auth.Reason) error {
	rec := recordOf(ctx)
	rec.reason = reason
	s.metrics.refusals.WithLabelValues(string(reason)).Inc()
	s.deny(denial{tenant: tenant, check: checkLogin, reason: reason}, rec)
	if reason == reasonReused {
		return newProblem(http.StatusUnauthorized, api.CodeReusedRefresh, "The refresh token was used before, so its session has ended: log in again.")
	}
	return newProblem(http.StatusUnauthorized, api.CodeInvalidRefresh, "The refresh token is not good: log in again.")
}

func (s *Server) logout(ctx context.Context, in *bodyOf[*api.LogoutRequest]) (*none, error) {
	p, by := caller(ctx), actor(ctx)
	tenant := s.store.Tenant(p.TenantID)
	if in.Body != nil && in.Body.RefreshToken != "" {
		// A token of another tenant ends nothing, and nobody learns whether there was one.
		if id, hash, ok := parseRefreshToken(in.Body.RefreshToken); ok && id == p.TenantID {
			if err := tenant.EndSession(ctx, hash, by); err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
		}
	}
	var err error
	if p.TokenID != "" {
		err = tenant.RevokeToken(ctx, p.TokenID, p.UserID, p.ExpiresAt.Add(auth.DefaultLeeway), by)
	} else { // an outside issuer's token without jti can only be ended with all others
		err = tenant.RevokeUserTokens(ctx, p.UserID, by)
	}
	s.standing.forget(p.TenantID, p.UserID)
	return nil, err
}
