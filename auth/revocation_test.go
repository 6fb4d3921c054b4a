package auth_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
)

func TestRevokeToken(t *testing.T) {
	t.Parallel()
	list := must(auth.NewRevocationList(auth.RevocationConfig{}))
	v := verifierOf(t, auth.VerifierConfig{Keys: allKeys(), Revocations: list})
	issuer := issuerOf(t, auth.IssuerConfig{Key: testKeys()[auth.HS256]})
	one, two := must(issuer.Issue(grantA())), must(issuer.Issue(grantA()))
	verify := func(i auth.Issued) error {
		_, err := v.Verify(t.Context(), i.Token.Reveal())
		return err
	}
	if verify(one) != nil || verify(two) != nil {
		t.Fatal("good tokens are refused")
	}
	// Another tenant's revocation of the same id does nothing here.
	if err := list.Revoke(auth.Revocation{TenantID: id(tenantB), TokenID: one.ID}); err != nil {
		t.Fatal(err)
	}
	if err := verify(one); err != nil {
		t.Errorf("revoked by another tenant: %v", err)
	}
	if err := list.Revoke(auth.Revocation{TenantID: id(tenantA), TokenID: one.ID, Until: one.ExpiresAt}); err != nil {
		t.Fatal(err)
	}
	if err := verify(one); refusedFor(t, err) != auth.ReasonRevoked {
		t.Errorf("remembered and revoked: %v", err)
	}
	if err := verify(two); err != nil {
		t.Errorf("the other token: %v", err)
	}
	for name, r := range map[string]auth.Revocation{
		"nothing": {}, "no tenant": {TokenID: "x"}, "both": {TenantID: id(tenantA), TokenID: "x", UserID: id(userA), Before: time.Now()},
		"no moment": {TenantID: id(tenantA), UserID: id(userA)},
	} {
		if list.Revoke(r) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// All of a user's tokens: those made up to the moment, to the millisecond, and those that do not say when.
func TestRevokeUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list := must(auth.NewRevocationList(auth.RevocationConfig{}))
		v := verifierOf(t, auth.VerifierConfig{Keys: allKeys(), Revocations: list})
		issuer := issuerOf(t, auth.IssuerConfig{Key: testKeys()[auth.HS256]})
		<-time.After(100 * time.Millisecond)
		before := issue(t, issuer, grantA())
		other := issue(t, issuer, auth.Grant{TenantID: tenantA, UserID: userA2, Role: auth.RoleUser})
		silent := forge(header(nil), claims(time.Now(), map[string]any{"iat": nil, "nbf": nil}), hs256([]byte(secretA)))
		foreign := forge(header(nil), claims(time.Now(), map[string]any{"jti": "whole seconds only"}), hs256([]byte(secretA)))
		// A jti that claims to be of later does not help against iat.
		later := forge(header(nil), claims(time.Now(), map[string]any{"jti": must(uuid.NewV7()).String(), "iat": time.Now().Unix() - 1}), hs256([]byte(secretA)))
		if err := list.Revoke(auth.Revocation{TenantID: id(tenantA), UserID: id(userA), Before: time.Now()}); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Millisecond)
		after := issue(t, issuer, grantA()) // in the same second
		for name, c := range map[string]struct {
			token string
			good  bool
		}{"before": {before, false}, "after": {after, true}, "another user": {other, true}, "without iat": {silent, false}, "whole seconds": {foreign, false}, "jti of later": {later, false}} {
			_, err := v.Verify(t.Context(), c.token)
			if c.good && err != nil || !c.good && refusedFor(t, err) != auth.ReasonRevoked {
				t.Errorf("%s: %v", name, err)
			}
		}
		// It is forgotten when nothing can need it any more.
		<-time.After(367 * 24 * time.Hour)
		if err := list.Revoke(auth.Revocation{TenantID: id(tenantB), TokenID: "x"}); err != nil || list.Len() != 1 {
			t.Errorf("%d held, error %v", list.Len(), err)
		}
	})
}

// table is a RevocationSource like a database's: rows with numbers.
type table struct {
	mu   sync.Mutex
	rows []auth.Revocation
	away bool
}

func (s *table) add(r auth.Revocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = append(s.rows, r)
}

func (s *table) setAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *table) RevocationsSince(_ context.Context, cursor string) ([]auth.Revocation, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return nil, "", errors.New("database is away")
	}
	seen := len(cursor)
	return s.rows[seen:], cursor + string(make([]byte, len(s.rows)-seen)), nil
}

// Two nodes with one source: what is written is in force on both within the interval; while the source is away what is
// known counts, and with MaxStale nothing does.
func TestRevocationsReachEveryNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &table{}
		var failures decisions
		node := func(maxStale time.Duration) *auth.RevocationList {
			list := must(auth.NewRevocationList(auth.RevocationConfig{
				Source: source, MaxStale: maxStale,
				OnError: func(context.Context, error) { failures.add(auth.Decision{}) },
			}))
			if err := list.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			return list
		}
		nodes := []*auth.RevocationList{node(0), node(10 * time.Second)}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, list := range nodes {
			wg.Go(func() {
				if err := list.Run(ctx); err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		}
		p := auth.Principal{TenantID: id(tenantA), UserID: id(userA), Kind: auth.KindToken, TokenID: "jti", IssuedAt: time.Now()}
		source.add(auth.Revocation{TenantID: id(tenantA), TokenID: "jti"})
		source.add(auth.Revocation{}) // a bad row hinders nobody
		<-time.After(time.Second + time.Millisecond)
		for i, list := range nodes {
			if revoked, err := list.Revoked(ctx, p); !revoked || err != nil {
				t.Errorf("node %d after 1 s: %t, %v", i, revoked, err)
			}
		}
		if len(failures.reasons()) != 2 {
			t.Errorf("%d failures reported, want one of each node", len(failures.reasons()))
		}
		source.setAway(true)
		<-time.After(time.Minute)
		if revoked, err := nodes[0].Revoked(ctx, p); !revoked || err != nil {
			t.Errorf("source away: %t, %v", revoked, err)
		}
		if _, err := nodes[1].Revoked(ctx, p); err == nil {
			t.Error("stale and no error")
		}
		source.setAway(false)
		<-time.After(2 * time.Second)
		if revoked, err := nodes[1].Revoked(ctx, p); !revoked || err != nil {
			t.Errorf("source back: %t, %v", revoked, err)
		}
		stop()
		wg.Wait()
	})
}

// A list that fails refuses with 503, not with 401: the token may be good.
func TestRevocationsFail(t *testing.T) {
	t.Parallel()
	list := must(auth.NewRevocationList(auth.RevocationConfig{Source: &table{}, MaxStale: time.Minute}))
	guard := guardOf(t, auth.Config{Tokens: verifierOf(t, auth.VerifierConfig{Keys: allKeys(), Revocations: list})})
	token := "Bearer " + issue(t, issuerOf(t, auth.IssuerConfig{Key: testKeys()[auth.HS256]}), grantA())
	refusedAs(t, ask(guard.Handler(who), token), 503, auth.CodeUnavailable)
	if err := list.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w := ask(guard.Handler(who), token); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
