package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/postrider/postrider/api"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	in := install(t)
	for _, tenant := range []string{"acme", in.a.id.String()} {
		tokens := read[api.Tokens](t, in.call(http.MethodPost, "/v1/login", "", api.LoginRequest{Tenant: tenant, Email: "User@Acme.example", Password: passwordOfTests}), 200)
		me := read[api.Me](t, in.call(http.MethodGet, "/v1/me", tokens.AccessToken, nil), 200)
		if me.UserID != in.a.user.ID.String() || me.Tenant != "acme" || me.Role != "user" || me.Kind != "token" {
			t.Errorf("me: %+v", me)
		}
	}
}
