package httpapi

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

// These are inside tests: what they need is a store that can be held up in the middle of an answer.

func newStanding(look func(ctx context.Context, tenant, user uuid.UUID) (store.Standing, error)) *standing {
	return &standing{look: look, now: time.Now, hits: new(tally), misses: new(tally)}
}

type tally struct{ atomic.Int64 }

func (n *tally) Inc() { n.Add(1) }

func good() store.Standing {
	return store.Standing{TenantState: store.StateActive, UserState: store.StateActive, Role: auth.RoleUser}
}

// TestStandingAsksOnce: all who ask at the same time share one look-up, whose asker may go away.
func TestStandingAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		hold := make(chan struct{})
		s := newStanding(func(ctx context.Context, _, _ uuid.UUID) (store.Standing, error) {
			asked.Add(1)
			<-hold
			return good(), ctx.Err() // not ended by the first caller's going away
		})
		tenant, user := store.NewID(), store.NewID()
		first, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var failed atomic.Int32
		ask := func(ctx context.Context) {
			wg.Go(func() {
				if st, err := s.of(ctx, tenant, user); err != nil || st.UserState != store.StateActive {
					failed.Add(1)
				}
			})
		}
		ask(first)
		synctest.Wait()
		for range 50 {
			ask(t.Context())
		}
		synctest.Wait()
		leave()
		close(hold)
		wg.Wait()
		if asked.Load() != 1 || failed.Load() != 0 {
			t.Errorf("asked %d times, %d failed", asked.Load(), failed.Load())
		}
		// Within the second nobody asks again, after it somebody does.
		time.Sleep(standingFor - 1) //nolint:forbidigo // the bubble's clock
		_, _ = s.of(t.Context(), tenant, user)
		if asked.Load() != 1 {
			t.Errorf("asked %d times within the second", asked.Load())
		}
		time.Sleep(time.Nanosecond) //nolint:forbidigo // the bubble's clock
		_, _ = s.of(t.Context(), tenant, user)
		if asked.Load() != 2 {
			t.Errorf("asked %d times after it", asked.Load())
		}
	})
}

// TestStandingForgetsWhatIsUnderWay: an answer that was on its way when something changed is not kept.
func TestStandingForgetsWhatIsUnderWay(t *testing.T) {
	for name, forget := range map[string]func(s *standing, tenant, user uuid.UUID){
		"user":   func(s *standing, tenant, user uuid.UUID) { s.forget(tenant, user) },
		"tenant": func(s *standing, tenant, _ uuid.UUID) { s.forgetTenant(tenant) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var state atomic.Value
				state.Store(store.StateActive)
				hold := make(chan struct{})
				s := newStanding(func(context.Context, uuid.UUID, uuid.UUID) (store.Standing, error) {
					st := good()
					st.UserState = state.Load().(store.State)
					<-hold
					return st, nil
				})
				tenant, user := store.NewID(), store.NewID()
				var wg sync.WaitGroup
				wg.Go(func() { _, _ = s.of(t.Context(), tenant, user) })
				synctest.Wait()
				state.Store(store.StateSuspended) // the change commits …
				forget(s, tenant, user)           // … and is told
				close(hold)
				wg.Wait()
				if err := s.Directory(t.Context(), auth.Principal{TenantID: tenant, UserID: user, Kind: auth.KindAPIKey}); !errors.Is(err, auth.ErrSuspended) {
					t.Errorf("after the change: %v", err)
				}
			})
		})
	}
}

// TestStandingDoesNotKeepErrors: who asks while the store is away hears so, and the next one asks anew.
func TestStandingDoesNotKeepErrors(t *testing.T) {
	var away atomic.Bool
	away.Store(true)
	s := newStanding(func(context.Context, uuid.UUID, uuid.UUID) (store.Standing, error) {
		if away.Load() {
			return store.Standing{}, store.ErrUnavailable
		}
		return good(), nil
	})
	p := auth.Principal{TenantID: store.NewID(), UserID: store.NewID(), Kind: auth.KindToken, IssuedAt: time.Now()}
	if err := s.Directory(t.Context(), p); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("away: %v", err)
	}
	away.Store(false)
	if err := s.Directory(t.Context(), p); err != nil {
		t.Errorf("back: %v", err)
	}
}

// TestStandingIsBounded: a flood of users takes no more memory than is planned for.
func TestStandingIsBounded(t *testing.T) {
	s := newStanding(func(context.Context, uuid.UUID, uuid.UUID) (store.Standing, error) { return good(), nil })
	s.now = func() time.Time { return time.Unix(1_700_000_000, 0) } // nothing ever expires
	tenant := store.NewID()
	for range 3 * standingMost {
		if _, err := s.of(t.Context(), tenant, store.NewID()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.young) + len(s.old); n > standingMost {
		t.Errorf("%d are kept", n)
	}
}

func TestIsRevoked(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, test := range map[string]struct {
		st   store.Standing
		p    auth.Principal
		want bool
	}{
		"nothing":                        {store.Standing{}, auth.Principal{TokenID: "a", IssuedAt: now}, false},
		"all before now":                 {store.Standing{RevokedBefore: now}, auth.Principal{IssuedAt: now.Add(-time.Second)}, true},
		"at the same moment":             {store.Standing{RevokedBefore: now}, auth.Principal{IssuedAt: now}, true},
		"later":                          {store.Standing{RevokedBefore: now}, auth.Principal{IssuedAt: now.Add(time.Millisecond)}, false},
		"a token that does not say when": {store.Standing{RevokedBefore: now}, auth.Principal{}, true},
		"by its id":                      {store.Standing{RevokedTokens: []string{"x", "a"}}, auth.Principal{TokenID: "a", IssuedAt: now}, true},
		"another id":                     {store.Standing{RevokedTokens: []string{"x"}}, auth.Principal{TokenID: "a", IssuedAt: now}, false},
		"no id, and the empty one":       {store.Standing{RevokedTokens: []string{""}}, auth.Principal{IssuedAt: now}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := isRevoked(test.st, test.p); got != test.want {
				t.Errorf("%v", got)
			}
		})
	}
}
