package httpapi_test

import (
	"errors"
	"testing"

	"github.com/postrider/postrider/api"
)

// TestClient calls the service with its Go client: everything that the client has a method for.
func TestClient(t *testing.T) {
	t.Parallel()
	in := install(t)
	ts := in.listen()
	ctx := t.Context()
	anybody := must(api.NewClient(api.ClientConfig{URL: ts.URL}))
	operator := anybody.WithToken(in.operator.Reveal())
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	made, err := operator.CreateTenant(ctx, api.NewTenant{Name: "new", Email: "ann@new.example", APIKey: true})
	check(err)
	if list, err := operator.Tenants(ctx, api.Page{Limit: 1}); err != nil || len(list.Data) != 1 || list.Data[0].Name != "new" || list.Next == "" {
		t.Errorf("tenants %+v %v", list, err)
	}
	if me, err := anybody.WithToken(made.APIKey).Me(ctx); err != nil || me.UserID != made.UserID || me.Role != "admin" {
		t.Errorf("by key: %+v %v", me, err)
	}
	tokens, err := anybody.Login(ctx, api.LoginRequest{Tenant: "new", Email: "ann@new.example", Password: made.Password})
	check(err)
	tokens, err = anybody.Refresh(ctx, tokens.RefreshToken)
	check(err)
	admin := anybody.WithToken(tokens.AccessToken)

	user, err := admin.CreateUser(ctx, api.NewUser{Email: "ben@new.example", Name: "Ben"})
	check(err)
	role := "admin"
	if changed, err := admin.UpdateUser(ctx, user.ID, api.UserPatch{Role: &role}); err != nil || changed.Role != "admin" {
		t.Errorf("changed %+v %v", changed, err)
	}
	if got, err := admin.User(ctx, user.ID); err != nil || got.Name != "Ben" {
		t.Errorf("user %+v %v", got, err)
	}
	if list, err := admin.Users(ctx, api.Page{}); err != nil || len(list.Data) != 2 {
		t.Errorf("users %+v %v", list, err)
	}
	if reset, err := admin.ResetPassword(ctx, user.ID, api.ResetPasswordRequest{}); err != nil || reset.Password == "" {
		t.Errorf("reset %+v %v", reset, err)
	}
	key, err := admin.CreateAPIKey(ctx, api.NewAPIKey{Name: "k"})
	check(err)
	if renamed, err := admin.RenameAPIKey(ctx, key.ID, "l"); err != nil || renamed.Name != "l" {
		t.Errorf("renamed %+v %v", renamed, err)
	}
	if keys, err := admin.APIKeys(ctx, api.Page{}); err != nil || len(keys.Data) != 2 {
		t.Errorf("keys %+v %v", keys, err)
	}
	check(admin.RevokeAPIKey(ctx, key.ID))
	days := 7
	if settings, err := admin.UpdateSettings(ctx, api.SettingsPatch{RetentionDays: &days}); err != nil || settings.RetentionDays != 7 {
		t.Errorf("settings %+v %v", settings, err)
	}
	if settings, err := admin.Settings(ctx); err != nil || settings.RetentionDays != 7 || settings.OnUnknown != "retry" {
		t.Errorf("settings %+v %v", settings, err)
	}
	if tenant, err := admin.Tenant(ctx); err != nil || tenant.Name != "new" {
		t.Errorf("tenant %+v %v", tenant, err)
	}
	if log, err := admin.Audit(ctx, api.Page{Limit: 5}); err != nil || len(log.Data) != 5 {
		t.Errorf("audit %+v %v", log, err)
	}
	check(admin.RevokeTokens(ctx, api.RevokeTokensRequest{UserID: user.ID}))
	check(operator.SetQuotas(ctx, made.ID, api.Quotas{MessagesPerDay: 100}))
	if tenant, err := operator.SuspendTenant(ctx, made.ID); err != nil || tenant.State != "suspended" {
		t.Errorf("suspended %+v %v", tenant, err)
	}
	_, err = admin.Me(ctx)
	if p, ok := errors.AsType[*api.Problem](err); !ok || p.Code != "suspended" || p.Status != 403 {
		t.Errorf("while suspended: %v", err)
	}
	if _, err := operator.ResumeTenant(ctx, made.ID); err != nil {
		t.Error(err)
	}
	check(admin.ChangePassword(ctx, api.ChangePasswordRequest{CurrentPassword: made.Password, NewPassword: "another good password"}))
	tokens, err = anybody.Login(ctx, api.LoginRequest{Tenant: "new", Email: "ann@new.example", Password: "another good password"})
	check(err)
	check(anybody.WithToken(tokens.AccessToken).Logout(ctx, tokens.RefreshToken))
}
