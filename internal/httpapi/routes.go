package httpapi

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

// routes registers every operation of the API, one file a resource.
func (s *Server) routes() {
	s.sessionRoutes()
	s.meRoutes()
	s.userRoutes()
	s.apiKeyRoutes()
	s.tokenRoutes()
	s.tenantRoutes()
	s.auditRoutes()
	s.messageRoutes()
	s.relayRoutes()
	s.eventRoutes()
	s.operatorRoutes()
}

// The chapters of the document.
const (
	tagSession  = "Sessions"
	tagUsers    = "Users"
	tagKeys     = "API keys"
	tagTenant   = "Tenant"
	tagAudit    = "Audit"
	tagOperator = "Operator"
)

// ByID is a request about one row.
type ByID struct {
	ID string `path:"id" format:"uuid" doc:"The id of what the request is about."`
}

// uuid reads the id. huma has checked the form; only the nil UUID and odd spellings are left.
func (in ByID) uuid() (uuid.UUID, error) { return parseID("id", in.ID) }

func parseID(parameter, text string) (uuid.UUID, error) {
	id, err := auth.ParseID(text)
	if err != nil {
		return uuid.Nil, invalid(api.FieldError{Parameter: parameter, Code: api.FieldFormat, Detail: "It is not a UUID of 36 characters."})
	}
	return id, nil
}

// PageOf is a request for a part of a list.
type PageOf struct {
	Limit int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"The greatest number of entries."`
	After string `query:"after" maxLength:"500" doc:"The next of the page before."`
}

func (in PageOf) page() store.Page { return store.Page{Limit: in.Limit, After: in.After} }

// tenantOf is the handle of the caller's tenant.
func (s *Server) tenantOf(ctx context.Context) store.Tenant {
	return s.store.Tenant(caller(ctx).TenantID)
}

// actor is the caller, for the audit entry of what it changes.
func actor(ctx context.Context) store.Actor { return actorOf(ctx, caller(ctx)) }

func actorOf(ctx context.Context, p auth.Principal) store.Actor {
	rec := recordOf(ctx)
	a := store.ActorOf(p)
	a.Addr, a.RequestID, a.UserAgent = rec.addr, rec.id, rec.agent
	return a
}

// reach is nil if the caller may see and change row, and otherwise the answer for a row that does not exist: within a
// tenant too, who may not see a row is not told that there is one.
func reach(ctx context.Context, user uuid.UUID) error {
	if err := auth.CheckAccess(ctx, auth.Row{TenantID: caller(ctx).TenantID, UserID: user}); err != nil {
		return notFound().because(err)
	}
	return nil
}

// timeOrNone is nil for the zero time, which JSON has no word for.
func timeOrNone(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// idOrNone is the empty string for the nil UUID.
func idOrNone(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}
