package api

import (
	"context"
	"net/http"
	"net/url"
)

// CreateUser makes a user, for admins.
func (c *Client) CreateUser(ctx context.Context, req NewUser) (CreatedUser, error) {
	return call[CreatedUser](ctx, c, http.MethodPost, "/v1/users", req)
}

// Users lists the tenant's users, newest first, for admins.
func (c *Client) Users(ctx context.Context, page Page) (Users, error) {
	return call[Users](ctx, c, http.MethodGet, page.path("/v1/users"), nil)
}

// User gets a user, for admins.
func (c *Client) User(ctx context.Context, id string) (User, error) {
	return call[User](ctx, c, http.MethodGet, "/v1/users/"+url.PathEscape(id), nil)
}

// UpdateUser changes a user, for admins.
func (c *Client) UpdateUser(ctx context.Context, id string, patch UserPatch) (User, error) {
	return call[User](ctx, c, http.MethodPatch, "/v1/users/"+url.PathEscape(id), patch)
}

// ResetPassword sets a user's password, for admins. The answer has it if the service made it.
func (c *Client) ResetPassword(ctx context.Context, id string, req ResetPasswordRequest) (ResetPassword, error) {
	return call[ResetPassword](ctx, c, http.MethodPost, "/v1/users/"+url.PathEscape(id)+"/password", req)
}

// CreateAPIKey makes an API key. Its text is in the answer and nowhere else.
func (c *Client) CreateAPIKey(ctx context.Context, req NewAPIKey) (CreatedAPIKey, error) {
	return call[CreatedAPIKey](ctx, c, http.MethodPost, "/v1/api-keys", req)
}

// APIKeys lists API keys, newest first: users their own, admins the tenant's.
func (c *Client) APIKeys(ctx context.Context, page Page) (APIKeys, error) {
	return call[APIKeys](ctx, c, http.MethodGet, page.path("/v1/api-keys"), nil)
}

// RenameAPIKey gives an API key another name.
func (c *Client) RenameAPIKey(ctx context.Context, id, name string) (APIKey, error) {
	return call[APIKey](ctx, c, http.MethodPatch, "/v1/api-keys/"+url.PathEscape(id), APIKeyPatch{Name: name})
}

// RevokeAPIKey ends an API key.
func (c *Client) RevokeAPIKey(ctx context.Context, id string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/api-keys/"+url.PathEscape(id), nil, nil)
}

// Tenant gets the caller's tenant.
func (c *Client) Tenant(ctx context.Context) (Tenant, error) {
	return call[Tenant](ctx, c, http.MethodGet, "/v1/tenant", nil)
}

// Settings gets the tenant's settings.
func (c *Client) Settings(ctx context.Context) (Settings, error) {
	return call[Settings](ctx, c, http.MethodGet, "/v1/tenant/settings", nil)
}

// UpdateSettings changes the tenant's settings, for admins.
func (c *Client) UpdateSettings(ctx context.Context, patch SettingsPatch) (Settings, error) {
	return call[Settings](ctx, c, http.MethodPatch, "/v1/tenant/settings", patch)
}

// Audit reads the tenant's audit log, newest first, for admins.
func (c *Client) Audit(ctx context.Context, page Page) (AuditEntries, error) {
	return call[AuditEntries](ctx, c, http.MethodGet, page.path("/v1/audit"), nil)
}

// CreateTenant makes a tenant with its first admin, for the operator.
func (c *Client) CreateTenant(ctx context.Context, req NewTenant) (CreatedTenant, error) {
	return call[CreatedTenant](ctx, c, http.MethodPost, "/v1/tenants", req)
}

// Tenants lists the tenants, newest first, for the operator.
func (c *Client) Tenants(ctx context.Context, page Page) (Tenants, error) {
	return call[Tenants](ctx, c, http.MethodGet, page.path("/v1/tenants"), nil)
}

// Nodes lists the processes of the service and who drains which relay, for the operator.
func (c *Client) Nodes(ctx context.Context) (Nodes, error) {
	return call[Nodes](ctx, c, http.MethodGet, "/v1/operator/nodes", nil)
}

// SuspendTenant stops a tenant, for the operator.
func (c *Client) SuspendTenant(ctx context.Context, id string) (Tenant, error) {
	return call[Tenant](ctx, c, http.MethodPost, "/v1/tenants/"+url.PathEscape(id)+"/suspend", nil)
}

// ResumeTenant lets a suspended tenant go on, for the operator.
func (c *Client) ResumeTenant(ctx context.Context, id string) (Tenant, error) {
	return call[Tenant](ctx, c, http.MethodPost, "/v1/tenants/"+url.PathEscape(id)+"/resume", nil)
}

// SetQuotas bounds what a tenant may send, for the operator.
func (c *Client) SetQuotas(ctx context.Context, id string, quotas Quotas) error {
	return c.Do(ctx, http.MethodPut, "/v1/tenants/"+url.PathEscape(id)+"/quotas", quotas, nil)
}
