package store_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// running is a node whose Run runs until the end of the test, or until stop.
type running struct {
	*store.Node
	stop func()
}

// quick makes the periods of a node short enough for a test, and the limits long enough for a busy machine.
func quick(cfg *store.NodeConfig) {
	cfg.BeatEvery, cfg.FenceAfter, cfg.EndAfter = 50*time.Millisecond, 1500*time.Millisecond, 2*time.Second
}

func join(t *testing.T, s *store.Store, change ...func(*store.NodeConfig)) running {
	t.Helper()
	cfg := store.NodeConfig{ID: store.NewID(), Name: "node", Role: store.NodeAll, Version: "1.0"}
	quick(&cfg)
	for _, c := range change {
		c(&cfg)
	}
	n, err := s.Join(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := n.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	r := running{n, sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		n.Close(end)
	})}
	t.Cleanup(r.stop)
	return r
}

// eventually waits until done says so.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for !done() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		}
	}
}

// lock asks for a right and fails the test if that cannot be asked.
func lock(t *testing.T, n running, relay uuid.UUID) bool {
	t.Helper()
	ok, err := n.TryLock(t.Context(), relay)
	if err != nil {
		t.Fatalf("TryLock: %v", err)
	}
	return ok
}

func unlock(t *testing.T, n running, relay uuid.UUID) {
	t.Helper()
	if err := n.Unlock(t.Context(), relay); err != nil {
		t.Fatalf("Unlock: %v", err)
	}
}

func fires(t *testing.T, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(time.Minute):
		t.Fatalf("not in time: %s", what)
	}
}

// A relay is one node's until it gives it back or stops.
func TestNodeRights(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		s := open()
		a := join(t, s)
		relay, other := uuid.New(), uuid.New()
		if !a.Held() || !lock(t, a, relay) || !lock(t, a, other) {
			t.Fatal("a free relay was not given")
		}
		if lock(t, a, relay) {
			t.Error("a right was given twice")
		}
		if a.Drains() != 2 {
			t.Errorf("Drains() = %d", a.Drains())
		}
		unlock(t, a, relay)
		unlock(t, a, uuid.New())
		if !lock(t, a, relay) {
			t.Error("a right that was given back was not given again")
		}
		select {
		case <-a.Lost():
			t.Error("rights were lost")
		default:
		}
	})
}

func TestNodesShare(t *testing.T) {
	open := storetest.Opens(t)
	a, b := join(t, open()), join(t, open())
	relay := uuid.New()
	if !lock(t, a, relay) || lock(t, b, relay) {
		t.Fatal("the right of a relay was not one node's")
	}
	eventually(t, "both see two nodes", func() bool { return a.Peers() == 2 && b.Peers() == 2 })
	unlock(t, a, relay)
	if !lock(t, b, relay) {
		t.Fatal("a right that was given back is not free")
	}
	unlock(t, b, relay)
	if !lock(t, a, relay) {
		t.Fatal("a right that was given back is not free")
	}
	a.stop()
	if !lock(t, b, relay) {
		t.Error("a node that stopped kept its right")
	}
	if ok, err := a.TryLock(t.Context(), uuid.New()); ok || err == nil {
		t.Errorf("a node that stopped was given a right: %v, %v", ok, err)
	}
	eventually(t, "the other is alone", func() bool { return b.Peers() == 1 })
}

// endSessions ends the session of a node as an administrator does.
func endSession(t *testing.T, server *pgtest.Server, db string, node uuid.UUID) {
	t.Helper()
	var ended bool
	err := connect(t, server.AdminURL(db)).QueryRow(t.Context(), "select pg_terminate_backend(backend_pid) from nodes where id = $1", node).Scan(&ended)
	if err != nil || !ended {
		t.Fatalf("the session of %s was not ended: %v", node, err)
	}
}

// When the session ends, all rights are lost, and known to be; another node has them at once; and a new session gets new ones.
func TestNodeSessionEnds(t *testing.T) {
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	a, b := join(t, openAt(t, server.AdminURL(db))), join(t, openAt(t, server.AdminURL(db)))
	relay := uuid.New()
	for range 3 {
		lost := a.Lost()
		if !lock(t, a, relay) {
			t.Fatal("a free relay was not given")
		}
		before := a.Sessions()
		endSession(t, server, db, a.ID())
		fires(t, "the loss is known", lost)
		if a.Lost() == lost {
			t.Error("Lost returns the old channel")
		}
		eventually(t, "the other node has the right", func() bool { return lock(t, b, relay) })
		eventually(t, "there is a new session", func() bool { return a.Held() && a.Sessions() == before+1 })
		if lock(t, a, relay) {
			t.Error("both have the right")
		}
		unlock(t, b, relay)
	}
}

func openAt(t *testing.T, url string, change ...func(*store.Config)) *store.Store {
	t.Helper()
	cfg := store.Config{URL: url, MaxConns: 4}
	for _, c := range change {
		c(&cfg)
	}
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// logged keeps what is logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func newLog() *logged { return &logged{} }

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}
