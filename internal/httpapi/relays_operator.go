package httpapi

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/api"
)

// operatorRelayRoutes are about the relays that the operator shares with chosen tenants, and about stopping everything.
func (s *Server) operatorRelayRoutes() {
	op := operatorOnly()
	conflict := []int{http.StatusConflict}
	const list, one, grant = "/v1/operator/relays", "/v1/operator/relays/{id}", "/v1/operator/relays/{id}/tenants/{tenant}"
	register(s, operation{
		ID: "create-shared-relay", Method: http.MethodPost, Path: list, Tag: tagOperator, Access: op, Status: http.StatusCreated, Errors: conflict, MaxBody: maxRelayBody,
		Summary: "Create a relay to be shared with tenants",
	}, s.createSharedRelay)
	register(s, operation{ID: "list-shared-relays", Method: http.MethodGet, Path: list, Tag: tagOperator, Access: op, Summary: "List the operator's relays, newest first"}, s.listSharedRelays)
	register(s, operation{ID: "get-shared-relay", Method: http.MethodGet, Path: one, Tag: tagOperator, Access: op, Summary: "Get a relay of the operator"}, s.getSharedRelay)
	register(s, operation{
		ID: "update-shared-relay", Method: http.MethodPatch, Path: one, Tag: tagOperator, Access: op, Errors: conflict, MaxBody: maxRelayBody, Summary: "Change a relay of the operator",
	}, s.updateSharedRelay)
	register(s, operation{
		ID: "delete-shared-relay", Method: http.MethodDelete, Path: one, Tag: tagOperator, Access: op, Status: http.StatusNoContent, Errors: conflict, Summary: "Delete a relay of the operator",
	}, s.deleteSharedRelay)
	register(s, operation{ID: "pause-shared-relay", Method: http.MethodPost, Path: one + "/pause", Tag: tagOperator, Access: op, Summary: "Pause a relay of the operator"}, s.pauseSharedRelay)
	register(s, operation{ID: "resume-shared-relay", Method: http.MethodPost, Path: one + "/resume", Tag: tagOperator, Access: op, Summary: "Let a relay of the operator go on"}, s.resumeSharedRelay)
	register(s, operation{
		ID: "check-shared-relay", Method: http.MethodPost, Path: one + "/check", Tag: tagOperator, Access: op, Summary: "Connect to a relay of the operator, log in, and report what it offers",
	}, s.checkSharedRelay)
	register(s, operation{
		ID: "share-relay", Method: http.MethodPut, Path: grant, Tag: tagOperator, Access: op, Status: http.StatusNoContent, Summary: "Let a tenant use a relay of the operator",
	}, s.shareRelay)
	register(s, operation{
		ID: "unshare-relay", Method: http.MethodDelete, Path: grant, Tag: tagOperator, Access: op, Status: http.StatusNoContent, Summary: "Take a relay away from a tenant",
	}, s.unshareRelay)
	register(s, operation{
		ID: "pause-all", Method: http.MethodPost, Path: "/v1/operator/pause", Tag: tagOperator, Access: op, Status: http.StatusNoContent,
		Summary: "Stop all sending: messages are accepted and wait",
	}, s.pauseAll)
	register(s, operation{
		ID: "resume-all", Method: http.MethodPost, Path: "/v1/operator/resume", Tag: tagOperator, Access: op, Status: http.StatusNoContent, Summary: "Let sending go on",
	}, s.resumeAll)
}

func (s *Server) createSharedRelay(ctx context.Context, in *bodyOf[api.NewRelay]) (*bodyOf[api.Relay], error) {
	n, err := s.newRelay(uuid.Nil, in.Body)
	if err != nil {
		return nil, err
	}
	relay, err := s.store.Operator().CreateRelay(ctx, n, actor(ctx))
	return answer(relayOf(relay), err)
}

func (s *Server) listSharedRelays(ctx context.Context, in *PageOf) (*bodyOf[api.Relays], error) {
	list, next, err := s.store.Operator().Relays(ctx, in.page())
	if err != nil {
		return nil, err
	}
	return &bodyOf[api.Relays]{Body: api.Relays{Data: each(list, relayOf), Next: next}}, nil
}

func (s *Server) getSharedRelay(ctx context.Context, in *ByID) (*bodyOf[api.Relay], error) {
	id, err := in.uuid()
	if err != nil {
		return nil, err
	}
	relay, err := s.store.Operator().Relay(ctx, id)
	return answer(relayOf(relay), err)
}

func (s *Server) updateSharedRelay(ctx context.Context, in *updateRelayInput) (*bodyOf[api.Relay], error) {
	id, err := in.uuid()
	if err != nil {
		return nil, err
	}
	relay, err := s.store.Operator().Relay(ctx, id)
	if err != nil {
		return nil, err
	}
	patch, err := s.relayPatch(uuid.Nil, relay, in.Body)
	if err != nil {
		return nil, err
	}
	relay, err = s.store.Operator().UpdateRelay(ctx, id, patch, actor(ctx))
	s.cfg.Submission.Forget()
	return answer(relayOf(relay), err)
}

func (s *Server) deleteSharedRelay(ctx context.Context, in *ByID) (*none, error) {
	id, err := in.uuid()
	if err != nil {
		return nil, err
	}
	err = s.store.Operator().DeleteRelay(ctx, id, actor(ctx))
	s.cfg.Submission.Forget()
	return nil, err
}

func (s *Server) pauseSharedRelay(ctx context.Context, in *pauseInput) (*bodyOf[api.Relay], error) {
	id, err := in.uuid()
	if err != nil {
		return nil, err
	}
	relay, err := s.store.Operator().PauseRelay(ctx, id, in.reason(), actor(ctx))
	return answer(relayOf(relay), err)
}

func (s *Server) resumeSharedRelay(ctx context.Context, in *ByID) (*bodyOf[api.Relay], error) {
	id, err := in.uuid()
	if err != nil {
		return nil, err
	}
	relay, err := s.store.Operator().ResumeRelay(ctx, id, actor(ctx))
	return answer(relayOf(relay), err)
}

func (s *Server) checkSharedRelay(ctx context.Context, in *ByID) (*bodyOf[*postrider.CheckReport], error) {
	id, err := in.uuid()
	if err != nil {
		return nil, err
	}
	relay, err := s.store.Operator().Relay(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.check(ctx, relay, s.store.Operator().RelaySecret)
}

type grantInput struct {
	ByID
	Tenant string `path:"tenant" format:"uuid" doc:"The id of the tenant."`
}

// ids reads both.
func (in *grantInput) ids() (relay, tenant uuid.UUID, err error) {
	if relay, err = in.uuid(); err != nil {
		return relay, tenant, err
	}
	tenant, err = parseID("tenant", in.Tenant)
	return relay, tenant, err
}

func (s *Server) shareRelay(ctx context.Context, in *grantInput) (*none, error) {
	relay, tenant, err := in.ids()
	if err != nil {
		return nil, err
	}
	err = s.store.Operator().ShareRelay(ctx, relay, tenant, actor(ctx))
	s.cfg.Submission.Forget()
	return nil, err
}

func (s *Server) unshareRelay(ctx context.Context, in *grantInput) (*none, error) {
	relay, tenant, err := in.ids()
	if err != nil {
		return nil, err
	}
	err = s.store.Operator().UnshareRelay(ctx, relay, tenant, actor(ctx))
	s.cfg.Submission.Forget()
	return nil, err
}

type pauseAllInput struct{ Body *api.PauseRequest }

func (s *Server) pauseAll(ctx context.Context, in *pauseAllInput) (*none, error) {
	reason := ""
	if in.Body != nil {
		reason = in.Body.Reason
	}
	return nil, s.store.Operator().PauseAll(ctx, reason, actor(ctx))
}

func (s *Server) resumeAll(ctx context.Context, _ *none) (*none, error) {
	return nil, s.store.Operator().ResumeAll(ctx, actor(ctx))
}
