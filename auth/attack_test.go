package auth_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/tokenattack"
)

// target judges tokens with a key of every algorithm, two secrets, and keys without an id.
func target(t testing.TB, seen *decisions) (http.Handler, *auth.Verifier) {
	t.Helper()
	keys := append(allKeys(), must(auth.NewHMACKey("", []byte(tokenattack.SecondSecret))))
	verifier := verifierOf(t, auth.VerifierConfig{Keys: keys})
	guard := guardOf(t, auth.Config{Tokens: verifier, OnDecision: seen.add})
	return guard.Handler(who), verifier
}

// TestAttacks sends every token of the suite through the middleware: 401 to all, 500 to none, no panic, and no part
// of the token in the answer.
func TestAttacks(t *testing.T) {
	t.Parallel()
	var seen decisions
	handler, _ := target(t, &seen)
	now := time.Now()

	// The target is not one that refuses everything.
	good := suite().Good(now)
	if w := ask(handler, "Bearer "+good); w.Code != http.StatusOK {
		t.Fatalf("the good token: %d %s", w.Code, w.Body)
	}
	attacks := suite().All(now)
	names := map[string]bool{}
	for _, a := range attacks {
		if names[a.Name] {
			t.Errorf("two attacks are called %q", a.Name)
		}
		names[a.Name] = true
		t.Run(a.Name, func(t *testing.T) {
			w := ask(handler, "Bearer "+a.Token)
			if w.Code != http.StatusUnauthorized || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer realm=") {
				t.Errorf("status %d, reason %s: %s", w.Code, seen.last().Reason, w.Body)
			}
			if len(a.Token) > 20 && strings.Contains(w.Body.String(), a.Token[len(a.Token)/2:]) {
				t.Error("the answer shows a part of the token")
			}
			if d := seen.last(); d.Allowed || d.Principal != (auth.Principal{}) || d.Err == nil {
				t.Errorf("decision %+v", d)
			}
		})
	}
	if len(attacks) < 250 {
		t.Errorf("the suite has shrunk to %d attacks", len(attacks))
	}
	// Once more, now that good tokens are remembered.
	for _, a := range attacks {
		if w := ask(handler, "Bearer "+a.Token); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: second time %d", a.Name, w.Code)
		}
	}
}

// suite is the attacks on what target trusts.
func suite() tokenattack.Suite {
	return tokenattack.Suite{
		Keys: allKeys(), Secret: secretA, RSA: &rsaKey().PublicKey,
		Tenant: tenantA, OtherTenant: tenantB, User: userA, OtherUser: userA2,
	}
}

// TestHeaderFieldAttacks: what is wrong before the token.
func TestHeaderFieldAttacks(t *testing.T) {
	t.Parallel()
	var seen decisions
	handler, _ := target(t, &seen)
	good := forge(header(nil), claims(time.Now(), nil), hs256([]byte(secretA)))
	for name, fields := range map[string][]string{
		"none":                 {},
		"empty":                {""},
		"two good ones":        {"Bearer " + good, "Bearer " + good},
		"a good and a bad":     {"Bearer " + good, "Bearer x"},
		"a good and an empty":  {"Bearer " + good, ""},
		"joined by a comma":    {"Bearer " + good + ", Bearer " + good},
		"joined by comma only": {"Bearer " + good + "," + good},
		"Basic":                {"Basic " + good},
		"scheme only":          {"Bearer"},
		"scheme and space":     {"Bearer "},
		"no space":             {"Bearer" + good},
		"tab":                  {"Bearer\t" + good},
		"leading space":        {" Bearer " + good},
		"no scheme":            {good},
		"quoted":               {`Bearer "` + good + `"`},
		"token68 parameter":    {"Bearer token=" + good + ", x"},
		"trailing word":        {"Bearer " + good + " x"},
		"inner space":          {"Bearer " + good[:40] + " " + good[40:]},
		"newline":              {"Bearer " + good + "\r\nX-Role: admin"},
		"null octet":           {"Bearer " + good + "\x00"},
		"percent encoded":      {"Bearer " + strings.ReplaceAll(good, ".", "%2E")},
		"fullwidth scheme":     {"Ｂearer " + good},
		"long scheme":          {strings.Repeat("B", 10_000) + " " + good},
		"huge":                 {"Bearer " + strings.Repeat("a", 9<<10)},
		"equals only":          {"Bearer ===="},
		"Kelvin":               {"Bea\u212aer " + good},
	} {
		t.Run(name, func(t *testing.T) {
			if w := ask(handler, fields...); w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
		})
	}
	t.Run("query, cookie, body and other fields", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodPost, "/?access_token="+good+"&token="+good, strings.NewReader("access_token="+good))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.AddCookie(&http.Cookie{Name: "access_token", Value: good})
		for _, name := range []string{"X-Authorization", "Proxy-Authorization", "X-Access-Token", "X-Forwarded-Authorization"} {
			r.Header.Set(name, "Bearer "+good)
		}
		r.Header.Set("X-Tenant-ID", tenantA)
		r.Header.Set("X-User-ID", userA)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized || seen.last().Reason != auth.ReasonNoHeader {
			t.Errorf("status %d, reason %s", w.Code, seen.last().Reason)
		}
	})
	for _, scheme := range []string{"Bearer ", "bearer ", "BEARER ", "bEaReR   "} {
		if w := ask(handler, scheme+good); w.Code != http.StatusOK {
			t.Errorf("%q is refused: %s", scheme, w.Body)
		}
	}
}
