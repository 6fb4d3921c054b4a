package auth_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/auth"
)

// drawID draws one of few UUIDs, so that equal ones are frequent, or the nil UUID.
func drawID(t *rapid.T, label string) uuid.UUID {
	return uuid.UUID{15: byte(rapid.IntRange(0, 3).Draw(t, label))}
}

func drawPrincipal(t *rapid.T) auth.Principal {
	return auth.Principal{
		TenantID: drawID(t, "tenant"), UserID: drawID(t, "user"),
		Role:  rapid.SampledFrom([]auth.Role{"", auth.RoleUser, auth.RoleAdmin, "Admin", "root"}).Draw(t, "role"),
		Kind:  rapid.SampledFrom([]auth.Kind{"", auth.KindToken, auth.KindAPIKey, auth.KindOperator}).Draw(t, "kind"),
		Scope: rapid.SampledFrom([]auth.Scope{"", auth.ScopeFull, auth.ScopeSending, "all"}).Draw(t, "scope"),
	}
}

// The rules of access, said in another way than the code says them.
func TestAccessProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := drawPrincipal(t)
		row := auth.Row{TenantID: drawID(t, "row's tenant"), UserID: drawID(t, "row's user")}
		may := p.MayAccess(row)
		if may && (p.Kind == "" || p.TenantID != row.TenantID || row.TenantID == uuid.Nil) {
			t.Errorf("%+v crosses tenants to %+v", p, row)
		}
		if may && p.Role != auth.RoleAdmin && (p.UserID != row.UserID || row.UserID == uuid.Nil || p.Role != auth.RoleUser) {
			t.Errorf("%+v reaches another user's %+v", p, row)
		}
		if !may && p.Kind != "" && p.Role == auth.RoleAdmin && p.TenantID == row.TenantID && row.TenantID != uuid.Nil {
			t.Errorf("admin %+v is kept from %+v", p, row)
		}
		ctx := auth.NewContext(t.Context(), p)
		if (auth.CheckAccess(ctx, row) == nil) != may {
			t.Error("CheckAccess and MayAccess differ")
		}
		if p.Scope == auth.ScopeSending && p.HasRole(auth.RoleUser, auth.RoleAdmin, p.Role) {
			t.Errorf("sending only, and has a role: %+v", p)
		}
		if p.HasRole(auth.RoleAdmin) && p.Role != auth.RoleAdmin || p.HasRole() {
			t.Errorf("roles of %+v", p)
		}
		if p.HasScope(auth.ScopeFull) && !p.HasScope(auth.ScopeSending) {
			t.Errorf("full does not cover sending: %+v", p)
		}
	})
}

// What is issued is verified as it was granted; changed in any one octet, it is not.
func TestTokenProperties(t *testing.T) {
	t.Parallel()
	verifier, err := auth.NewVerifier(t.Context(), auth.VerifierConfig{Keys: allKeys(), AnyAudience: true})
	if err != nil {
		t.Fatal(err)
	}
	guard := must(auth.New(auth.Config{Tokens: verifier}))
	keys := allKeys()
	rapid.Check(t, func(t *rapid.T) {
		key := keys[rapid.IntRange(0, len(keys)-1).Draw(t, "key")]
		issuer := must(auth.NewIssuer(auth.IssuerConfig{Key: key, Issuer: rapid.StringN(0, 30, 60).Draw(t, "iss")}))
		g := auth.Grant{
			TenantID: uuid.UUID(rapid.SliceOfN(rapid.ByteRange(1, 255), 16, 16).Draw(t, "tenant")).String(),
			UserID:   uuid.UUID(rapid.SliceOfN(rapid.ByteRange(1, 255), 16, 16).Draw(t, "user")).String(),
			Role:     rapid.SampledFrom([]auth.Role{auth.RoleUser, auth.RoleAdmin}).Draw(t, "role"),
			Lifetime: time.Duration(rapid.Int64Range(int64(time.Second), int64(366*24*time.Hour)).Draw(t, "lifetime")),
		}
		issued, err := issuer.Issue(g)
		if err != nil {
			t.Fatal(err)
		}
		token := issued.Token.Reveal()
		p, err := verifier.Verify(t.Context(), token)
		if err != nil || p.TenantID.String() != g.TenantID || p.UserID.String() != g.UserID || p.Role != g.Role || !p.IssuedAt.Equal(issued.IssuedAt) {
			t.Fatalf("%+v, %v", p, err)
		}
		at := rapid.IntRange(0, len(token)-1).Draw(t, "at")
		with := rapid.SampledFrom(strings.Split("AZaz09-_.=+/", "")).Draw(t, "with")
		changed := token[:at] + with + token[at+1:]
		if changed == token {
			return
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+changed)
		w := httptest.NewRecorder()
		if guard.Handler(who).ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
			t.Errorf("octet %d as %q: %d", at, with, w.Code)
		}
	})
}

// Any octets in the place of the signature, and any octets at all, are refused.
func TestNoiseProperties(t *testing.T) {
	t.Parallel()
	verifier, err := auth.NewVerifier(t.Context(), auth.VerifierConfig{Keys: allKeys()})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	rapid.Check(t, func(t *rapid.T) {
		alg := rapid.SampledFrom([]string{"HS256", "RS256", "ES256", "EdDSA", "none"}).Draw(t, "alg")
		kid := rapid.SampledFrom([]string{"hs", "rs", "es", "ed", ""}).Draw(t, "kid")
		noise := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "signature")
		token := forge(map[string]any{"alg": alg, "kid": kid}, claims(now, nil), func(string) string { return base64.RawURLEncoding.EncodeToString(noise) })
		if p, err := verifier.Verify(t.Context(), token); err == nil {
			t.Errorf("%+v by a signature of noise", p)
		}
		if p, err := verifier.Verify(t.Context(), rapid.String().Draw(t, "text")); err == nil {
			t.Errorf("%+v by noise", p)
		}
	})
}
