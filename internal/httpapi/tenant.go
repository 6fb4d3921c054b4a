package httpapi

import (
	"context"
	"net/http"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

func (s *Server) tenantRoutes() {
	register(s, operation{ID: "get-tenant", Method: http.MethodGet, Path: "/v1/tenant", Tag: tagTenant, Access: anyMember(), Summary: "Get the caller's tenant"}, s.getTenant)
	register(s, operation{ID: "get-settings", Method: http.MethodGet, Path: "/v1/tenant/settings", Tag: tagTenant, Access: anyMember(), Summary: "Get the tenant's settings"}, s.getSettings)
	register(s, operation{
		ID: "update-settings", Method: http.MethodPatch, Path: "/v1/tenant/settings", Tag: tagTenant, Access: members(auth.RoleAdmin), Summary: "Change the tenant's settings",
	}, s.updateSettings)
}

func tenantRecordOf(t store.TenantRecord) api.Tenant {
	return api.Tenant{ID: t.ID.String(), Name: t.Name, State: string(t.State), CreatedAt: t.CreatedAt.UTC()}
}

func settingsOf(c store.Settings) api.Settings {
	return api.Settings{OnUnknown: c.OnUnknown, RetentionDays: c.RetentionDays, DefaultRelayID: idOrNone(c.DefaultRelayID), UpdatedAt: timeOrNone(c.UpdatedAt)}
}

func (s *Server) getTenant(ctx context.Context, _ *none) (*bodyOf[api.Tenant], error) {
	record, err := s.tenantOf(ctx).Record(ctx)
	return answer(tenantRecordOf(record), err)
}

func (s *Server) getSettings(ctx context.Context, _ *none) (*bodyOf[api.Settings], error) {
	settings, err := s.tenantOf(ctx).Settings(ctx)
	return answer(settingsOf(settings), err)
}

func (s *Server) updateSettings(ctx context.Context, in *bodyOf[api.SettingsPatch]) (*bodyOf[api.Settings], error) {
	patch := store.SettingsPatch{OnUnknown: in.Body.OnUnknown, RetentionDays: in.Body.RetentionDays}
	if in.Body.DefaultRelayID != nil {
		id, err := s.defaultRelay(ctx, *in.Body.DefaultRelayID)
		if err != nil {
			return nil, err
		}
		patch.DefaultRelayID = &id
	}
	settings, err := s.tenantOf(ctx).UpdateSettings(ctx, patch, actor(ctx))
	s.cfg.Submission.Forget()
	return answer(settingsOf(settings), err)
}
