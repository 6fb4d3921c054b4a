package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
)

func (s *Server) tokenRoutes() {
	register(s, operation{
		ID: "revoke-tokens", Method: http.MethodPost, Path: "/v1/tokens/revoke", Tag: tagSession, Access: anyMember(), Status: http.StatusNoContent,
		Summary: "Make access tokens bad before they expire: one, or all of a user's",
		Detail:  "It takes effect on all nodes within 2 s. Users revoke their own, admins anybody's of the tenant. Whether a token_id exists is not told.",
	}, s.revokeTokens)
}

func (s *Server) revokeTokens(ctx context.Context, in *bodyOf[api.RevokeTokensRequest]) (*none, error) {
	p, req, tenant := caller(ctx), in.Body, s.tenantOf(ctx)
	switch {
	case req.TokenID == "" && req.UserID == "":
		return nil, invalid(api.FieldError{Pointer: "/token_id", Code: api.FieldRequired, Detail: "Give token_id or user_id."})
	case req.TokenID != "" && req.UserID != "":
		return nil, invalid(api.FieldError{Pointer: "/user_id", Code: api.FieldNotTogether, Detail: "Give either token_id or user_id."})
	case req.TokenID != "":
		// A user's revocation reaches the user's own tokens only, whoever's token has that id.
		of := p.UserID
		if p.Role == auth.RoleAdmin {
			of = uuid.Nil
		}
		err := tenant.RevokeToken(ctx, req.TokenID, of, s.cfg.Now().Add(longestToken), actor(ctx))
		s.standing.forgetTenant(p.TenantID)
		return nil, err
	}
	id, err := auth.ParseID(req.UserID)
	if err != nil {
		return nil, invalid(api.FieldError{Pointer: "/user_id", Code: api.FieldFormat, Detail: "It is not a UUID of 36 characters."})
	}
	if err := reach(ctx, id); err != nil {
		return nil, err
	}
	err = tenant.RevokeUserTokens(ctx, id, actor(ctx))
	s.standing.forget(p.TenantID, id)
	return nil, err
}

// longestToken is longer than any token that is accepted (auth.VerifierConfig.MaxLifetime): then a revocation can be
// forgotten.
const longestToken = 367 * 24 * time.Hour
