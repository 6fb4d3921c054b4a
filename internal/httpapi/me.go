package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
)

func (s *Server) meRoutes() {
	register(s, operation{
		ID: "get-me", Method: http.MethodGet, Path: "/v1/me", Tag: tagSession, Access: senders(),
		Summary: "Who the caller is, and what its credential may do",
	}, s.me)
	register(s, operation{
		ID: "change-password", Method: http.MethodPost, Path: "/v1/me/password", Tag: tagSession, Access: anyMember().byToken(), Status: http.StatusNoContent,
		Summary: "Change one's password",
		Detail:  "All of the caller's sessions and tokens end, this one too. Wrong current passwords are limited like failed logins.",
	}, s.changePassword)
}

func (s *Server) me(ctx context.Context, _ *none) (*bodyOf[api.Me], error) {
	p := caller(ctx)
	tenant := s.tenantOf(ctx)
	record, err := tenant.Record(ctx)
	if err != nil {
		return nil, err
	}
	user, err := tenant.User(ctx, p.UserID)
	if err != nil {
		return nil, err
	}
	return &bodyOf[api.Me]{Body: api.Me{
		Kind: string(p.Kind), TenantID: p.TenantID.String(), Tenant: record.Name, UserID: p.UserID.String(), Email: user.Email, Name: user.Name,
		Role: string(p.Role), Scope: string(p.Scope), TokenID: p.TokenID, ExpiresAt: timeOrNone(p.ExpiresAt), Test: p.Test,
	}}, nil
}

func (s *Server) changePassword(ctx context.Context, in *bodyOf[api.ChangePasswordRequest]) (*none, error) {
	p := caller(ctx)
	tenant := s.tenantOf(ctx)
	user, err := tenant.User(ctx, p.UserID)
	if err != nil {
		return nil, err
	}
	tries, err := s.throttle(ctx, p.TenantID, user.Email+p.UserID.String())
	if err != nil {
		return nil, err
	}
	switch err := s.cfg.Passwords.Login(ctx, user.PasswordHash, auth.NewSecret(in.Body.CurrentPassword), nil); {
	case errors.Is(err, auth.ErrWrongPassword), errors.Is(err, auth.ErrPasswordHash):
		return nil, invalid(api.FieldError{Pointer: "/current_password", Code: api.FieldWrong, Detail: "It is not the current password."})
	case err != nil:
		return nil, err
	}
	tries.forgive(ctx)
	hash, err := s.cfg.Passwords.Hash(ctx, auth.NewSecret(in.Body.NewPassword))
	if err != nil {
		return nil, err
	}
	err = tenant.SetPassword(ctx, p.UserID, hash, actor(ctx))
	s.standing.forget(p.TenantID, p.UserID)
	return nil, err
}
