package httpapi

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

func (s *Server) operatorRoutes() {
	op := operatorOnly()
	register(s, operation{
		ID: "create-tenant", Method: http.MethodPost, Path: "/v1/tenants", Tag: tagOperator, Access: op, Status: http.StatusCreated, Errors: []int{http.StatusConflict},
		Summary: "Create a tenant with its first admin",
		Detail:  "All of it, or nothing. Without a password one is made; password and API key are shown this once.",
	}, s.createTenant)
	register(s, operation{ID: "list-tenants", Method: http.MethodGet, Path: "/v1/tenants", Tag: tagOperator, Access: op, Summary: "List the tenants, newest first"}, s.listTenants)
	register(s, operation{ID: "get-tenant-by-id", Method: http.MethodGet, Path: "/v1/tenants/{id}", Tag: tagOperator, Access: op, Summary: "Get a tenant"}, s.getTenantByID)
	register(s, operation{
		ID: "suspend-tenant", Method: http.MethodPost, Path: "/v1/tenants/{id}/suspend", Tag: tagOperator, Access: op,
		Summary: "Suspend a tenant: its users and keys are refused, and nothing of it is sent",
	}, s.setState(store.StateSuspended))
	register(s, operation{
		ID: "resume-tenant", Method: http.MethodPost, Path: "/v1/tenants/{id}/resume", Tag: tagOperator, Access: op, Summary: "Let a suspended tenant go on",
	}, s.setState(store.StateActive))
	register(s, operation{
		ID: "set-quotas", Method: http.MethodPut, Path: "/v1/tenants/{id}/quotas", Tag: tagOperator, Access: op, Status: http.StatusNoContent,
		Summary: "Bound what a tenant may send",
	}, s.setQuotas)
	register(s, operation{
		ID: "list-operator-audit", Method: http.MethodGet, Path: "/v1/operator/audit", Tag: tagOperator, Access: op,
		Summary: "Read the operator's audit log, newest first: what belongs to no tenant",
	}, s.listOperatorAudit)
	register(s, operation{
		ID: "list-nodes", Method: http.MethodGet, Path: "/v1/operator/nodes", Tag: tagOperator, Access: op,
		Summary: "List the nodes, and who drains which relay",
		Detail:  "Those that work come first; those that ended are listed for an hour.",
	}, s.listNodes)
}

func (s *Server) listNodes(ctx context.Context, _ *none) (*bodyOf[api.Nodes], error) {
	list, err := s.store.Operator().Nodes(ctx)
	if err != nil {
		return nil, err
	}
	return &bodyOf[api.Nodes]{Body: api.Nodes{Data: each(list, nodeOf)}}, nil
}

func nodeOf(n store.NodeRecord) api.Node {
	return api.Node{
		ID: n.ID.String(), Name: n.Name, Role: string(n.Role), Version: n.Version, State: string(n.State),
		StartedAt: n.StartedAt.UTC(), HeardAt: n.BeatAt.UTC(), EndedAt: timeOrNone(n.EndedAt), Relays: each(n.Relays, uuid.UUID.String),
	}
}

func (s *Server) createTenant(ctx context.Context, in *bodyOf[api.NewTenant]) (*bodyOf[api.CreatedTenant], error) {
	shown, hash, err := s.newPassword(ctx, in.Body.Password, "/password")
	if err != nil {
		return nil, err
	}
	n := store.NewTenant{
		ID: store.NewID(), Name: in.Body.Name,
		Admin: store.NewUser{ID: store.NewID(), Email: in.Body.Email, Role: auth.RoleAdmin, PasswordHash: hash},
	}
	var text string
	if in.Body.APIKey {
		key, err := auth.GenerateAPIKey(n.ID, false)
		if err != nil {
			return nil, err
		}
		text = key.Reveal()
		n.Key = &store.NewAPIKey{ID: key.ID(), UserID: n.Admin.ID, Name: "first key", Role: auth.RoleAdmin, Scope: auth.ScopeFull, Hash: key.Hash()}
	}
	record, admin, err := s.store.Operator().CreateTenant(ctx, n, actor(ctx))
	if err != nil {
		return nil, err
	}
	s.standing.forgetTenant(record.ID)
	return &bodyOf[api.CreatedTenant]{Body: api.CreatedTenant{Tenant: tenantRecordOf(record), UserID: admin.ID.String(), Password: shown, APIKey: text}}, nil
}

func (s *Server) listTenants(ctx context.Context, in *PageOf) (*bodyOf[api.Tenants], error) {
	tenants, next, err := s.store.Operator().Tenants(ctx, in.page())
	if err != nil {
		return nil, err
	}
	return &bodyOf[api.Tenants]{Body: api.Tenants{Data: each(tenants, tenantRecordOf), Next: next}}, nil
}

func (s *Server) getTenantByID(ctx context.Context, in *ByID) (*bodyOf[api.Tenant], error) {
	id, err := in.uuid()
	if err != nil {
		return nil, err
	}
	record, err := s.store.Operator().TenantRecord(ctx, id)
	return answer(tenantRecordOf(record), err)
}

func (s *Server) setState(state store.State) func(context.Context, *ByID) (*bodyOf[api.Tenant], error) {
	return func(ctx context.Context, in *ByID) (*bodyOf[api.Tenant], error) {
		id, err := in.uuid()
		if err != nil {
			return nil, err
		}
		err = s.store.Operator().SetTenantState(ctx, id, state, actor(ctx))
		s.standing.forgetTenant(id)
		if err != nil {
			return nil, err
		}
		record, err := s.store.Operator().TenantRecord(ctx, id)
		return answer(tenantRecordOf(record), err)
	}
}

func (s *Server) setQuotas(ctx context.Context, in *struct {
	ByID
	Body api.Quotas
},
) (*none, error) {
	id, err := in.uuid()
	if err != nil {
		return nil, err
	}
	return nil, s.store.Operator().SetQuotas(ctx, id, store.Quotas{
		MessagesPerDay: in.Body.MessagesPerDay, MessagesPerMonth: in.Body.MessagesPerMonth, Queued: in.Body.Queued,
	}, actor(ctx))
}
