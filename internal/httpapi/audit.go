package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

func (s *Server) auditRoutes() {
	register(s, operation{
		ID: "list-audit", Method: http.MethodGet, Path: "/v1/audit", Tag: tagAudit, Access: members(auth.RoleAdmin),
		Summary: "Read the tenant's audit log, newest first",
		Detail:  "Denied attempts are in it, equal ones summed up. Entries cannot be changed or removed, by nobody.",
	}, s.listAudit)
}

// auditInput filters the audit log.
type auditInput struct {
	PageOf
	Actor   string    `query:"actor" maxLength:"200" doc:"Only what was done by the user, token or API key with this id, or by this kind of actor, such as operator."`
	Action  string    `query:"action" maxLength:"100" doc:"Only this action, such as user.create, or, with a dot at the end, all that begin so."`
	Target  string    `query:"target" maxLength:"200" doc:"Only what was done on the thing with this id."`
	Outcome string    `query:"outcome" enum:"done,denied,failed" doc:"Only what ended so."`
	From    time.Time `query:"from" doc:"Only what was done at this time or later."`
	To      time.Time `query:"to" doc:"Only what was done before this time."`
}

func (in auditInput) filter() store.AuditFilter {
	return store.AuditFilter{Actor: in.Actor, Action: in.Action, Target: in.Target, Outcome: in.Outcome, From: in.From, To: in.To}
}

func auditEntryOf(e store.AuditEntry) api.AuditEntry {
	return api.AuditEntry{
		ID: e.ID.String(), At: e.At.UTC(), Action: e.Action, Outcome: e.Outcome, Count: max(e.Count, 1), Detail: e.Detail, Personal: e.Personal,
		Target: api.AuditTarget{Kind: e.TargetKind, ID: e.TargetID},
		Actor: api.AuditActor{
			Kind: string(e.Actor.Kind), UserID: idOrNone(e.Actor.UserID), TokenID: e.Actor.TokenID, Role: e.Actor.Role,
			Address: addrText(e.Actor.Addr), UserAgent: e.Actor.UserAgent, RequestID: e.Actor.RequestID,
		},
	}
}

func (s *Server) listAudit(ctx context.Context, in *auditInput) (*bodyOf[api.AuditEntries], error) {
	return auditPage(s.tenantOf(ctx).Audit(ctx, in.filter(), in.page()))
}

func auditPage(entries []store.AuditEntry, next string, err error) (*bodyOf[api.AuditEntries], error) {
	if err != nil {
		return nil, err
	}
	return &bodyOf[api.AuditEntries]{Body: api.AuditEntries{Data: each(entries, auditEntryOf), Next: next}}, nil
}

func (s *Server) listOperatorAudit(ctx context.Context, in *auditInput) (*bodyOf[api.AuditEntries], error) {
	return auditPage(s.store.Operator().Audit(ctx, in.filter(), in.page()))
}
