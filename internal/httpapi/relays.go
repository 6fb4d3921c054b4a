package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

const tagRelays = "Relays"

func (s *Server) relayRoutes() {
	admin := members(auth.RoleAdmin)
	conflict := []int{http.StatusConflict}
	register(s, operation{
		ID: "create-relay", Method: http.MethodPost, Path: "/v1/relays", Tag: tagRelays, Access: admin, Status: http.StatusCreated, Errors: conflict, MaxBody: maxRelayBody,
		Summary: "Create a relay",
	}, s.createRelay)
	register(s, operation{
		ID: "list-relays", Method: http.MethodGet, Path: "/v1/relays", Tag: tagRelays, Access: anyMember(),
		Summary: "List the relays that the tenant may use, newest first",
	}, s.listRelays)
	register(s, operation{ID: "get-relay", Method: http.MethodGet, Path: "/v1/relays/{id}", Tag: tagRelays, Access: anyMember(), Summary: "Get a relay, without its password"}, s.getRelay)
	register(s, operation{
		ID: "update-relay", Method: http.MethodPatch, Path: "/v1/relays/{id}", Tag: tagRelays, Access: admin, Errors: conflict, MaxBody: maxRelayBody,
		Summary: "Change a relay of the tenant", Detail: "A pause because the relay refused our password ends with it.",
	}, s.updateRelay)
	register(s, operation{
		ID: "delete-relay", Method: http.MethodDelete, Path: "/v1/relays/{id}", Tag: tagRelays, Access: admin, Status: http.StatusNoContent, Errors: conflict,
		Summary: "Delete a relay of the tenant",
	}, s.deleteRelay)
	register(s, operation{
		ID: "pause-relay", Method: http.MethodPost, Path: "/v1/relays/{id}/pause", Tag: tagRelays, Access: admin,
		Summary: "Pause a relay of the tenant: messages are accepted and wait",
	}, s.pauseRelay)
	register(s, operation{
		ID: "resume-relay", Method: http.MethodPost, Path: "/v1/relays/{id}/resume", Tag: tagRelays, Access: admin, Summary: "Let a relay of the tenant go on",
	}, s.resumeRelay)
	register(s, operation{
		ID: "check-relay", Method: http.MethodPost, Path: "/v1/relays/{id}/check", Tag: tagRelays, Access: admin,
		Summary: "Connect to a relay, log in, and report what it offers",
		Detail:  "Nothing is sent. The answer has the status 200 also when the relay cannot be used: then ok is false, and phase and error say why.",
	}, s.checkRelay)
	s.operatorRelayRoutes()
}

// maxRelayBody is room for the longest certificates and lists of domains.
const maxRelayBody = 1 << 20

func relayOf(r store.Relay) api.Relay {
	out := api.Relay{
		ID: r.ID.String(), Name: r.Name, Shared: r.OwnerTenant == uuid.Nil, Host: r.Host, Port: r.Port, TLS: r.TLS, Username: r.Username, HasPassword: r.HasPassword, HELO: r.HELO,
		FromDomains: each(r.FromDomains, func(d string) string { return d }),
		Limits: api.RelayLimits{
			MaxConns: r.Limits.MaxConns, MessagesPerConn: r.Limits.MessagesPerConn, MessagesPerMinute: r.Limits.MessagesPerMinute, RecipientsPerDay: r.Limits.RecipientsPerDay,
		},
		CACert: r.CACert, DangerouslySkipTLSVerify: r.DangerouslySkipTLSVerify, Paused: pauseOf(r.Pause), NotBefore: timeOrNone(r.NotBefore),
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
	if len(r.RetrySchedule) > 0 {
		out.RetrySchedule = each(r.RetrySchedule, time.Duration.String)
	}
	if r.GiveUpAfter > 0 {
		out.GiveUpAfter = r.GiveUpAfter.String()
	}
	return out
}

// relayForTenant is a relay as the tenants see it: how the operator logs in at a shared one is the operator's business.
func relayForTenant(r store.Relay) api.Relay {
	out := relayOf(r)
	if out.Shared {
		out.Username, out.HasPassword, out.CACert = "", false, ""
		out.Paused = pauseOf(pauseForTenant(r))
	}
	return out
}

// pauseForTenant is a relay's pause as tenants see it. What the server of a shared one says of the operator's login may name
// the user.
func pauseForTenant(r store.Relay) store.Pause {
	p := r.Pause
	if r.OwnerTenant == uuid.Nil && p.Kind == store.PauseAuth {
		p.Reason = "the server does not take the operator's login"
	}
	return p
}

func pauseOf(p store.Pause) *api.Pause {
	if p.Kind == store.PauseNone {
		return nil
	}
	return &api.Pause{By: string(p.Kind), Reason: p.Reason, At: p.At.UTC()}
}

func (s *Server) createRelay(ctx context.Context, in *bodyOf[api.NewRelay]) (*bodyOf[api.Relay], error) {
	n, err := s.newRelay(caller(ctx).TenantID, in.Body)
	if err != nil {
		return nil, err
	}
	relay, err := s.tenantOf(ctx).CreateRelay(ctx, n, actor(ctx))
	s.cfg.Submission.Forget()
	return answer(relayForTenant(relay), err)
}

func (s *Server) listRelays(ctx context.Context, in *PageOf) (*bodyOf[api.Relays], error) {
	list, next, err := s.tenantOf(ctx).Relays(ctx, in.page())
	if err != nil {
		return nil, err
	}
	return &bodyOf[api.Relays]{Body: api.Relays{Data: each(list, relayForTenant), Next: next}}, nil
}

func (s *Server) getRelay(ctx context.Context, in *ByID) (*bodyOf[api.Relay], error) {
	id, err := in.uuid()
	if err != nil {
		return nil, err
	}
	relay, err := s.tenantOf(ctx).Relay(ctx, id)
	return answer(relayForTenant(relay), err)
}

type updateRelayInput struct {
	ByID
	Body api.RelayPatch
}

func (s *Server) updateRelay(ctx context.Context, in *updateRelayInput) (*bodyOf[api.Relay], error) {
	id, err := in.uuid()
	if err != nil {
		return nil, err
	}
	tenant := s.tenantOf(ctx)
	relay, err := tenant.Relay(ctx, id)
	if err != nil {
		return nil, err
	}
	patch, err := s.relayPatch(caller(ctx).TenantID, relay, in.Body)
	if err != nil {
		return nil, err
	}
	relay, err = tenant.UpdateRelay(ctx, id, patch, actor(ctx))
	s.cfg.Submission.Forget()
	return answer(relayForTenant(relay), err)
}

func (s *Server) deleteRelay(ctx context.Context, in *ByID) (*none, error) {
	id, err := in.uuid()
	if err != nil {
		return nil, err
	}
	err = s.tenantOf(ctx).DeleteRelay(ctx, id, actor(ctx))
	s.cfg.Submission.Forget()
	return nil, err
}

type pauseInput struct {
	ByID
	Body *api.PauseRequest
}

// reason is why; a request without a body gives none.
func (in *pauseInput) reason() string {
	if in.Body == nil {
		return ""
	}
	return in.Body.Reason
}

func (s *Server) pauseRelay(ctx context.Context, in *pauseInput) (*bodyOf[api.Relay], error) {
	id, err := in.uuid()
	if err != nil {
		return nil, err
	}
	relay, err := s.tenantOf(ctx).PauseRelay(ctx, id, in.reason(), actor(ctx))
	s.cfg.Submission.Forget()
	return answer(relayForTenant(relay), err)
}

func (s *Server) resumeRelay(ctx context.Context, in *ByID) (*bodyOf[api.Relay], error) {
	id, err := in.uuid()
	if err != nil {
		return nil, err
	}
	relay, err := s.tenantOf(ctx).ResumeRelay(ctx, id, actor(ctx))
	s.cfg.Submission.Forget()
	return answer(relayForTenant(relay), err)
}

// defaultRelay reads a relay for the settings: one that the tenant may use, or uuid.Nil for none.
func (s *Server) defaultRelay(ctx context.Context, text string) (uuid.UUID, error) {
	if text == "" {
		return uuid.Nil, nil
	}
	unknown := invalid(api.FieldError{Pointer: "/default_relay_id", Code: api.FieldUnknownRelay, Detail: "There is no such relay, or it may not be used."})
	id, err := auth.ParseID(text)
	if err != nil {
		return uuid.Nil, unknown
	}
	relay, err := s.tenantOf(ctx).Relay(ctx, id)
	if isNotFound(err) || err == nil && relay.Inline {
		return uuid.Nil, unknown
	}
	return id, err
}
