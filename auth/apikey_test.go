package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
)

// keyTable is a KeyStore in memory.
type keyTable struct {
	mu    sync.Mutex
	rows  map[uuid.UUID]auth.APIKeyRecord
	away  error
	asked int
}

func (s *keyTable) LookupAPIKey(_ context.Context, tenant, key uuid.UUID) (auth.APIKeyRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	r, ok := s.rows[key]
	if s.away != nil {
		return auth.APIKeyRecord{}, s.away
	}
	if !ok || r.TenantID != tenant {
		return auth.APIKeyRecord{}, fmt.Errorf("key %s: %w", key, auth.ErrKeyNotFound)
	}
	return r, nil
}

// create makes a key and its row; change alters the row.
func (s *keyTable) create(t testing.TB, test bool, change func(*auth.APIKeyRecord)) auth.APIKey {
	t.Helper()
	key := must(auth.GenerateAPIKey(id(tenantA), test))
	r := auth.APIKeyRecord{ID: key.ID(), TenantID: key.TenantID(), UserID: id(userA), Role: auth.RoleUser, Scope: auth.ScopeFull, Hash: key.Hash()}
	if change != nil {
		change(&r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rows == nil {
		s.rows = map[uuid.UUID]auth.APIKeyRecord{}
	}
	s.rows[key.ID()] = r
	return key
}

func TestAPIKeyText(t *testing.T) {
	t.Parallel()
	for _, test := range []bool{false, true} {
		key := must(auth.GenerateAPIKey(id(tenantA), test))
		text := key.Reveal()
		if !strings.HasPrefix(text, "pr_") || strings.HasPrefix(text, "pr_test_") != test {
			t.Errorf("text begins %.10s", text)
		}
		again, err := auth.ParseAPIKey(text)
		if err != nil || again.ID() != key.ID() || again.TenantID() != id(tenantA) || again.Test() != test || again.Hash() != key.Hash() || again.Reveal() != text {
			t.Errorf("parsed %v, error %v", again, err)
		}
		h, err := auth.ParseKeyHash(key.Hash().String())
		if err != nil || !h.Matches(key.Hash()) {
			t.Errorf("hash %v, error %v", h, err)
		}
		// Each single change is refused, without a look into the store, or is another key.
		for i := range text {
			for _, c := range []string{"a", "7", "A", "_", " ", "", "ä", "="} {
				changed := text[:i] + c + text[i+1:]
				if changed == text {
					continue
				}
				if k, err := auth.ParseAPIKey(changed); err == nil {
					t.Errorf("octet %d as %q is taken: %v", i, c, k)
				} else if strings.Contains(err.Error(), text[10:20]) {
					t.Errorf("the error shows the key: %v", err)
				}
			}
		}
		for _, changed := range []string{"", "pr_", "pr_test_", text + "a", text + "\n", "\n" + text, strings.ToUpper(text), "Bearer " + text, strings.Replace(text, "pr_", "re_", 1)} {
			if _, err := auth.ParseAPIKey(changed); err == nil {
				t.Errorf("%.12q… is taken", changed)
			}
		}
	}
	if _, err := auth.GenerateAPIKey(uuid.Nil, false); err == nil {
		t.Error("a key without a tenant")
	}
	var zero auth.KeyHash
	if zero.Matches(auth.KeyHash{}) || !zero.IsZero() {
		t.Error("the zero hash matches")
	}
}

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &keyTable{}
		var used []netip.Addr
		keys := must(auth.NewAPIKeys(auth.APIKeysConfig{
			Store: store, CacheFor: -1,
			OnUse: func(_ context.Context, _ auth.APIKeyRecord, from netip.Addr, _ time.Time) { used = append(used, from) },
		}))
		home := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("::ffff:198.51.100.0/120")}
		full := store.create(t, false, nil)
		sending := store.create(t, true, func(r *auth.APIKeyRecord) { r.Scope = auth.ScopeSending })
		bound := store.create(t, false, func(r *auth.APIKeyRecord) { r.AllowedNetworks = home })
		expired := store.create(t, false, func(r *auth.APIKeyRecord) { r.ExpiresAt = time.Now() })
		revoked := store.create(t, false, func(r *auth.APIKeyRecord) { r.RevokedAt = time.Now() })
		other := store.create(t, false, func(r *auth.APIKeyRecord) { r.Hash = full.Hash() })
		noRole := store.create(t, false, func(r *auth.APIKeyRecord) { r.Role = "root" })
		noHash := store.create(t, false, func(r *auth.APIKeyRecord) { r.Hash = auth.KeyHash{} })
		noScope := store.create(t, false, func(r *auth.APIKeyRecord) { r.Scope = "" })
		noUser := store.create(t, false, func(r *auth.APIKeyRecord) { r.UserID = uuid.Nil })
		unknown := must(auth.GenerateAPIKey(id(tenantA), false))
		for _, c := range []struct {
			name   string
			key    auth.APIKey
			from   string
			code   auth.Code
			reason auth.Reason
		}{
			{"full", full, "203.0.113.9", "", ""},
			{"sending", sending, "203.0.113.9", "", ""},
			{"inside", bound, "192.0.2.7", "", ""},
			{"inside, mapped", bound, "::ffff:192.0.2.7", "", ""},
			{"inside, IPv6", bound, "2001:db8::1", "", ""},
			{"inside a mapped network", bound, "198.51.100.3", "", ""},
			{"outside", bound, "192.0.3.7", auth.CodeNetwork, auth.ReasonKeyNetwork},
			{"outside, IPv6", bound, "2001:db9::1", auth.CodeNetwork, auth.ReasonKeyNetwork},
			{"no address", bound, "", auth.CodeNetwork, auth.ReasonKeyNetwork},
			{"expired", expired, "192.0.2.7", auth.CodeExpiredKey, auth.ReasonKeyExpired},
			{"revoked", revoked, "192.0.2.7", auth.CodeInvalidKey, auth.ReasonKeyRevoked},
			{"wrong secret", other, "192.0.2.7", auth.CodeInvalidKey, auth.ReasonKeySecret},
			{"unknown", unknown, "192.0.2.7", auth.CodeInvalidKey, auth.ReasonKeyUnknown},
			{"unknown role", noRole, "192.0.2.7", auth.CodeUnavailable, auth.ReasonKeyStore},
			{"no hash", noHash, "192.0.2.7", auth.CodeUnavailable, auth.ReasonKeyStore},
			{"no scope", noScope, "192.0.2.7", auth.CodeUnavailable, auth.ReasonKeyStore},
			{"no user", noUser, "192.0.2.7", auth.CodeUnavailable, auth.ReasonKeyStore},
		} {
			used = nil
			from, _ := netip.ParseAddr(c.from)
			p, err := keys.Verify(t.Context(), auth.NewSecret(c.key.Reveal()), from)
			if c.code == "" {
				want := auth.Principal{TenantID: id(tenantA), UserID: id(userA), Role: auth.RoleUser, Kind: auth.KindAPIKey, Scope: p.Scope, TokenID: c.key.ID().String(), Test: c.key.Test()}
				if err != nil || p != want || len(used) != 1 || used[0] != from {
					t.Errorf("%s: %+v, %v, used %v", c.name, p, err, used)
				}
				continue
			}
			e, ok := errors.AsType[*auth.Error](err)
			if !ok || e.Code != c.code || e.Reason != c.reason || p != (auth.Principal{}) || used != nil || strings.Contains(err.Error(), c.key.Reveal()) {
				t.Errorf("%s: %+v, %v, used %v", c.name, p, err, used)
			}
		}
		// Made-up keys cost no look-up.
		before := store.asked
		for _, text := range []string{"pr_", "pr_x", full.Reveal()[:50], full.Reveal() + "x", "pr_" + strings.Repeat("a", 109)} {
			if _, err := keys.Verify(t.Context(), auth.NewSecret(text), netip.Addr{}); refusedFor(t, err) != auth.ReasonKeyFormat {
				t.Errorf("%.12s…: %v", text, err)
			}
		}
		if store.asked != before {
			t.Error("the store was asked for a key that cannot be")
		}
		store.away = errors.New("database is away")
		_, err := keys.Verify(t.Context(), auth.NewSecret(full.Reveal()), netip.Addr{})
		if e, _ := errors.AsType[*auth.Error](err); e.Status() != http.StatusServiceUnavailable || !errors.Is(err, store.away) {
			t.Errorf("store away: %v", err)
		}
	})
}

// A row is asked for once in CacheFor; a revocation counts after that, or at once after Forget.
func TestAPIKeyCache(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &keyTable{}
		key := store.create(t, false, nil)
		keys := must(auth.NewAPIKeys(auth.APIKeysConfig{Store: store}))
		verify := func() error {
			_, err := keys.Verify(t.Context(), auth.NewSecret(key.Reveal()), netip.Addr{})
			return err
		}
		for range 10 {
			if err := verify(); err != nil {
				t.Fatal(err)
			}
		}
		if store.asked != 1 {
			t.Errorf("asked %d times", store.asked)
		}
		r := store.rows[key.ID()]
		r.RevokedAt = time.Now()
		store.rows[key.ID()] = r
		<-time.After(2 * time.Second)
		if err := verify(); refusedFor(t, err) != auth.ReasonKeyRevoked {
			t.Errorf("after 2 s: %v", err)
		}
		r.RevokedAt = time.Time{}
		store.rows[key.ID()] = r
		keys.Forget(key.TenantID(), key.ID())
		if err := verify(); err != nil {
			t.Errorf("after Forget: %v", err)
		}
	})
	if _, err := auth.NewAPIKeys(auth.APIKeysConfig{}); err == nil {
		t.Error("no store")
	}
	if _, err := auth.NewAPIKeys(auth.APIKeysConfig{Store: &keyTable{}, CacheFor: time.Hour}); err == nil {
		t.Error("an hour")
	}
}

func TestAPIKeyThroughMiddleware(t *testing.T) {
	t.Parallel()
	store := &keyTable{}
	operator, hash := auth.GenerateOperatorKey()
	guard := guardOf(t, auth.Config{
		APIKeys: must(auth.NewAPIKeys(auth.APIKeysConfig{Store: store})), Operator: hash,
		ClientAddr: func(r *http.Request) netip.Addr { return netip.MustParseAddr(r.Header.Get("X-Real-IP")) },
		Directory:  func(context.Context, auth.Principal) error { return nil },
	})
	sending := store.create(t, false, func(r *auth.APIKeyRecord) {
		r.Scope, r.AllowedNetworks = auth.ScopeSending, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	ask := func(h http.Handler, credential, from string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Authorization", "Bearer "+credential)
		r.Header.Set("X-Real-IP", from)
		w := httptest.NewRecorder()
		guard.Handler(h).ServeHTTP(w, r)
		return w
	}
	if w := ask(auth.RequireScope(auth.ScopeSending)(who), sending.Reveal(), "192.0.2.1"); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	refusedAs(t, ask(auth.RequireRole(auth.RoleUser)(who), sending.Reveal(), "192.0.2.1"), 403, auth.CodeScope)
	refusedAs(t, ask(who, sending.Reveal(), "192.0.3.1"), 403, auth.CodeNetwork)
	refusedAs(t, ask(who, "eyJhbGciOiJub25lIn0.e30.", "192.0.2.1"), 401, auth.CodeInvalidToken)
	// The operator.
	if w := ask(auth.RequireKind(auth.KindOperator)(who), operator.Reveal(), "192.0.2.1"); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	refusedAs(t, ask(auth.RequireRole(auth.RoleAdmin)(who), operator.Reveal(), "192.0.2.1"), 403, auth.CodeRole)
	another, _ := auth.GenerateOperatorKey()
	refusedAs(t, ask(who, another.Reveal(), "192.0.2.1"), 401, auth.CodeInvalidKey)
	if again, err := auth.HashOperatorKey(operator); err != nil || again != hash {
		t.Errorf("hash %v, error %v", again, err)
	}
	for _, text := range []string{"", "pr_operator_", "pr_operator_secret", "operator", operator.Reveal() + "a", operator.Reveal()[:40]} {
		if _, err := auth.HashOperatorKey(auth.NewSecret(text)); err == nil {
			t.Errorf("%.14q… is taken", text)
		}
	}
}
