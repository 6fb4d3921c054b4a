package store_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

func TestUpkeepDoesEachWorkInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seconds, minutes int
		count := func(n *int) func(context.Context) (bool, error) {
			return func(context.Context) (bool, error) { *n++; return false, nil }
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		store.RunUpkeep(ctx, slog.New(slog.DiscardHandler),
			store.Work{What: "a", Every: time.Second, Piece: count(&seconds)},
			store.Work{What: "b", Every: time.Minute, Piece: count(&minutes)})
		if seconds < 3500 || seconds > 3700 || minutes < 55 || minutes > 65 {
			t.Errorf("in an hour %d and %d times", seconds, minutes)
		}
	})
}

func TestMuchUpkeepLeavesOthersTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		many, between := 0, []int{}
		store.RunUpkeep(ctx, slog.New(slog.DiscardHandler),
			store.Work{What: "much", Every: time.Hour, Piece: func(ctx context.Context) (bool, error) {
				if _, ok := ctx.Deadline(); !ok {
					t.Error("a piece may hang for ever")
				}
				<-time.After(time.Second)
				many++
				return true, nil
			}},
			store.Work{What: "little", Every: 10 * time.Second, Piece: func(context.Context) (bool, error) {
				if between = append(between, many); len(between) == 5 {
					cancel()
				}
				return false, nil
			}})
		for i := 1; i < len(between); i++ {
			if n := between[i] - between[i-1]; n == 0 || n > 40 {
				t.Errorf("pieces of the other work between: %v", between)
			}
		}
	})
}

func TestUpkeepTellsOfFaultsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		store.RunUpkeep(ctx, slog.New(slog.NewTextHandler(&log, nil)), store.Work{What: "sweep", Every: time.Second, Piece: func(context.Context) (bool, error) {
			switch n++; {
			case n == 20:
				cancel()
				return false, ctx.Err()
			case n > 5 && n < 10 || n > 15:
				return true, errors.New("disk full")
			}
			return false, nil
		}})
		if got := strings.Count(log.String(), "fails and will be tried again"); got != 2 {
			t.Errorf("told %d times of two faults", got)
		}
		if got := strings.Count(log.String(), "works again"); got != 1 {
			t.Errorf("told %d times that it works again", got)
		}
		if !strings.Contains(log.String(), "work=sweep") || !strings.Contains(log.String(), `error="disk full"`) {
			t.Errorf("the log says %s", log.String())
		}
	})
}

// seen is a log that tells when words have been written to it.
type seen struct {
	mu    sync.Mutex
	text  bytes.Buffer
	words string
	ok    chan struct{}
	once  sync.Once
}

func newSeen(words string) *seen { return &seen{words: words, ok: make(chan struct{})} }

func (s *seen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	if bytes.Contains(p, []byte(s.words)) {
		s.once.Do(func() { close(s.ok) })
	}
	return len(p), nil
}

func TestUpkeepChainsAndSignsOnSeveralNodes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		log := newSeen("audit checkpoint")
		key := newSigner(t)
		node := func() *store.Store {
			return open(func(c *store.Config) {
				c.Checkpoint, c.Logger = key, slog.New(slog.NewTextHandler(log, nil))
			})
		}
		nodes := []*store.Store{node(), node()}
		tenant, _ := newTenant(t, nodes[0], "acme")
		before := goleak.IgnoreCurrent()
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for _, s := range nodes {
			running.Go(func() {
				if err := s.RunUpkeep(ctx, store.UpkeepConfig{ChainEvery: time.Millisecond, PruneEvery: time.Millisecond}); err != nil {
					t.Error(err)
				}
			})
		}
		<-log.ok
		for range 20 {
			newUserNamed(t, tenant)
		}
		cancel()
		running.Wait()
		goleak.VerifyNone(t, before)
		// The last checkpoint is signed in the end, and covers everything.
		r := must[store.AuditReport](t)(nodes[0].VerifyAudit(t.Context(), store.VerifyConfig{Log: &log.text}))
		if !r.OK() || r.Unchained != 0 || r.Entries != 22 || r.Last.Seq != 22 || r.LogCheckpoints < 2 {
			t.Errorf("verified: %+v", r)
		}
	})
}

func newUserNamed(t *testing.T, tenant store.Tenant) {
	t.Helper()
	if _, err := tenant.CreateUser(t.Context(), store.NewUser{Email: store.NewID().String() + "@example.com", Role: "user"}, by()); err != nil {
		t.Fatal(err)
	}
}
