package httpapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

func (s *Server) apiKeyRoutes() {
	register(s, operation{
		ID: "create-api-key", Method: http.MethodPost, Path: "/v1/api-keys", Tag: tagKeys, Access: anyMember(), Status: http.StatusCreated,
		Summary: "Create an API key",
		Detail:  "The key is shown this once. It can do no more than its creator: neither by role nor, if made with another key, by networks, expiry or as a test key.",
	}, s.createAPIKey)
	register(s, operation{
		ID: "list-api-keys", Method: http.MethodGet, Path: "/v1/api-keys", Tag: tagKeys, Access: anyMember(),
		Summary: "List API keys, newest first: users their own, admins the tenant's",
	}, s.listAPIKeys)
	register(s, operation{ID: "get-api-key", Method: http.MethodGet, Path: "/v1/api-keys/{id}", Tag: tagKeys, Access: anyMember(), Summary: "Get an API key, without its secret"}, s.getAPIKey)
	register(s, operation{ID: "rename-api-key", Method: http.MethodPatch, Path: "/v1/api-keys/{id}", Tag: tagKeys, Access: anyMember(), Summary: "Rename an API key"}, s.renameAPIKey)
	register(s, operation{
		ID: "revoke-api-key", Method: http.MethodDelete, Path: "/v1/api-keys/{id}", Tag: tagKeys, Access: anyMember(), Status: http.StatusNoContent,
		Summary: "Revoke an API key, on all nodes within 2 s",
	}, s.revokeAPIKey)
}

func apiKeyOf(k store.APIKey) api.APIKey {
	return api.APIKey{
		ID: k.ID.String(), UserID: k.UserID.String(), Name: k.Name, Role: string(k.Role), Scope: string(k.Scope), Test: k.Test,
		Networks:  each(k.Networks, netip.Prefix.String),
		CreatedAt: k.CreatedAt.UTC(), ExpiresAt: timeOrNone(k.ExpiresAt), RevokedAt: timeOrNone(k.RevokedAt), LastUsedAt: timeOrNone(k.LastUsedAt),
	}
}

func (s *Server) createAPIKey(ctx context.Context, in *bodyOf[api.NewAPIKey]) (*bodyOf[api.CreatedAPIKey], error) {
	p := caller(ctx)
	n, err := s.wantedKey(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	if err := s.boundByUser(ctx, &n); err != nil {
		return nil, err
	}
	if p.Kind == auth.KindAPIKey {
		if err := s.boundByKey(ctx, &n); err != nil {
			return nil, err
		}
	}
	key, err := auth.GenerateAPIKey(p.TenantID, n.Test)
	if err != nil {
		return nil, err
	}
	n.ID, n.Hash = key.ID(), key.Hash()
	stored, err := s.tenantOf(ctx).CreateAPIKey(ctx, n, actor(ctx))
	if err != nil {
		return nil, err
	}
	return &bodyOf[api.CreatedAPIKey]{Body: api.CreatedAPIKey{APIKey: apiKeyOf(stored), Key: key.Reveal()}}, nil
}

// wantedKey reads what was asked for and says everything that cannot be.
func (s *Server) wantedKey(ctx context.Context, req api.NewAPIKey) (store.NewAPIKey, error) {
	p := caller(ctx)
	n := store.NewAPIKey{
		UserID: p.UserID, Name: req.Name, Role: cmp.Or(auth.Role(req.Role), auth.RoleUser), Scope: cmp.Or(auth.Scope(req.Scope), auth.ScopeFull), Test: req.Test,
	}
	var faults []api.FieldError
	if req.UserID != "" {
		var err error
		if n.UserID, err = auth.ParseID(req.UserID); err != nil {
			faults = append(faults, api.FieldError{Pointer: "/user_id", Code: api.FieldFormat, Detail: "It is not a UUID of 36 characters."})
		}
	}
	for i, text := range req.Networks {
		networks, err := parseNetwork(text)
		if err != nil {
			faults = append(faults, api.FieldError{Pointer: "/networks/" + strconv.Itoa(i), Code: api.FieldFormat, Detail: "It is neither an address nor a network such as 192.0.2.0/24."})
			continue
		}
		n.Networks = append(n.Networks, networks)
	}
	if req.ExpiresAt != nil {
		if n.ExpiresAt = *req.ExpiresAt; !n.ExpiresAt.After(s.cfg.Now()) {
			faults = append(faults, api.FieldError{Pointer: "/expires_at", Code: api.FieldOutOfRange, Detail: "It has passed."})
		}
	}
	if n.Role == auth.RoleAdmin && p.Role != auth.RoleAdmin {
		faults = append(faults, notAllowed("/role", "A key can have no more rights than its creator."))
	}
	if len(faults) > 0 {
		return n, invalid(faults...)
	}
	return n, nil
}

func notAllowed(pointer, detail string) api.FieldError {
	return api.FieldError{Pointer: pointer, Code: api.FieldNotAllowed, Detail: detail}
}

// parseNetwork reads a network, or an address as the network of it alone.
func parseNetwork(text string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, errNetwork{}
	}
	return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
}

type errNetwork struct{}

func (errNetwork) Error() string { return "httpapi: neither an address nor a network" }

// boundByUser checks in whose name the key shall act: users name themselves only, and a key has no more than the role
// of its user. A user whom the caller may not name is answered as one that does not exist.
func (s *Server) boundByUser(ctx context.Context, n *store.NewAPIKey) error {
	p := caller(ctx)
	if n.UserID == p.UserID {
		return nil
	}
	unknown := invalid(api.FieldError{Pointer: "/user_id", Code: api.FieldInvalid, Detail: "There is no such user."})
	if reach(ctx, n.UserID) != nil {
		return unknown
	}
	user, err := s.tenantOf(ctx).User(ctx, n.UserID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return unknown
	case err != nil:
		return err
	}
	if n.Role == auth.RoleAdmin && user.Role != auth.RoleAdmin {
		return invalid(notAllowed("/role", "A key can have no more rights than its user."))
	}
	return nil
}

// boundByKey keeps what is made with a key within that key: its networks, its end, and real mail for real keys only.
func (s *Server) boundByKey(ctx context.Context, n *store.NewAPIKey) error {
	p := caller(ctx)
	id, err := auth.ParseID(p.TokenID)
	if err != nil {
		return err
	}
	own, err := s.tenantOf(ctx).APIKey(ctx, id)
	if err != nil {
		return err
	}
	n.Test = n.Test || own.Test
	if len(own.Networks) > 0 && len(n.Networks) == 0 {
		n.Networks = own.Networks
	}
	var faults []api.FieldError
	for i, network := range n.Networks {
		within := len(own.Networks) == 0 || slices.ContainsFunc(own.Networks, func(outer netip.Prefix) bool { return contains(outer, network) })
		if !within {
			faults = append(faults, notAllowed("/networks/"+strconv.Itoa(i), "The key that asks may not be used from there."))
		}
	}
	if !own.ExpiresAt.IsZero() {
		switch {
		case n.ExpiresAt.IsZero():
			n.ExpiresAt = own.ExpiresAt
		case n.ExpiresAt.After(own.ExpiresAt):
			faults = append(faults, notAllowed("/expires_at", "The key that asks ends before that."))
		}
	}
	if len(faults) > 0 {
		return invalid(faults...)
	}
	return nil
}

func contains(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

type listAPIKeysInput struct {
	PageOf
	UserID string `query:"user_id" format:"uuid" doc:"Only the keys of this user."`
}

func (s *Server) listAPIKeys(ctx context.Context, in *listAPIKeysInput) (*bodyOf[api.APIKeys], error) {
	p := caller(ctx)
	var of uuid.UUID // of everybody
	if in.UserID != "" {
		var err error
		if of, err = parseID("user_id", in.UserID); err != nil {
			return nil, err
		}
	}
	if p.Role != auth.RoleAdmin {
		if of != uuid.Nil && of != p.UserID {
			return &bodyOf[api.APIKeys]{Body: api.APIKeys{Data: []api.APIKey{}}}, nil // as of a user who has none
		}
		of = p.UserID
	}
	keys, next, err := s.tenantOf(ctx).APIKeys(ctx, in.page(), of)
	if err != nil {
		return nil, err
	}
	return &bodyOf[api.APIKeys]{Body: api.APIKeys{Data: each(keys, apiKeyOf), Next: next}}, nil
}

// ownKey finds a key that the caller may see and change.
func (s *Server) ownKey(ctx context.Context, in ByID) (store.APIKey, error) {
	id, err := in.uuid()
	if err != nil {
		return store.APIKey{}, err
	}
	key, err := s.tenantOf(ctx).APIKey(ctx, id)
	if err != nil {
		return store.APIKey{}, err
	}
	return key, reach(ctx, key.UserID)
}

func (s *Server) getAPIKey(ctx context.Context, in *ByID) (*bodyOf[api.APIKey], error) {
	key, err := s.ownKey(ctx, *in)
	return answer(apiKeyOf(key), err)
}

func (s *Server) renameAPIKey(ctx context.Context, in *struct {
	ByID
	Body api.APIKeyPatch
},
) (*bodyOf[api.APIKey], error) {
	key, err := s.ownKey(ctx, in.ByID)
	if err != nil {
		return nil, err
	}
	key, err = s.tenantOf(ctx).UpdateAPIKey(ctx, key.ID, in.Body.Name, actor(ctx))
	return answer(apiKeyOf(key), err)
}

func (s *Server) revokeAPIKey(ctx context.Context, in *ByID) (*none, error) {
	key, err := s.ownKey(ctx, *in)
	if err != nil {
		return nil, err
	}
	err = s.tenantOf(ctx).RevokeAPIKey(ctx, key.ID, actor(ctx))
	s.keys.Forget(key.TenantID, key.ID)
	return nil, err
}
