package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/relaytest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// through is a URL that leads to the same place by a proxy.
func through(t *testing.T, url, addr string) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return "postgres://" + cfg.User + ":" + cfg.Password + "@" + addr + "/" + cfg.Database + "?sslmode=disable"
}

// A node that is cut off from the database without a word stops by itself, by the age of its last beat alone; then
// another one ends its session and has its relays; when the line is back it gets a new session and new rights.
func TestNodeStalls(t *testing.T) {
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	url := server.AdminURL(db)
	proxy := relaytest.StartProxy(t, server.Addr, 0)
	a := join(t, openAt(t, url), func(c *store.NodeConfig) {
		c.LockURL, c.Name = through(t, url, proxy.Addr), "cut off"
		c.Timeout = time.Hour // so that no statement tells it
	})
	b := join(t, openAt(t, url))
	relay := uuid.New()
	if !lock(t, a, relay) {
		t.Fatal("a free relay was not given")
	}
	lost := a.Lost()
	proxy.Freeze()
	eventually(t, "the node that is cut off stops by itself", func() bool { return !a.Held() })
	select {
	case <-lost:
		t.Error("it knows of the loss, and so did not go by the age of its beat")
	default:
	}
	if lock(t, b, relay) {
		t.Error("the right was free before the node had stopped by itself")
	}
	eventually(t, "another node has the relay", func() bool { return lock(t, b, relay) })
	eventually(t, "it is alone", func() bool { return b.Peers() == 1 })
	if got, _ := nodeRecord(t, openAt(t, url), a.ID()); got.State != store.NodeGone {
		t.Errorf("the node that was ended is shown as %+v", got)
	}
	proxy.Resume()
	fires(t, "the node that was cut off learns of its loss", lost)
	eventually(t, "it has a session again", a.Held)
	if lock(t, a, relay) {
		t.Error("both have the right")
	}
	unlock(t, b, relay)
	if !lock(t, a, relay) {
		t.Error("the right was not given with the new session")
	}
}

// A statement that is not answered means that the session is lost.
func TestNodeTimeout(t *testing.T) {
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	url := server.AdminURL(db)
	proxy := relaytest.StartProxy(t, server.Addr, 0)
	a := join(t, openAt(t, url), func(c *store.NodeConfig) {
		c.LockURL, c.Timeout, c.FenceAfter, c.EndAfter = through(t, url, proxy.Addr), 100*time.Millisecond, time.Hour, 2*time.Hour
	})
	lost := a.Lost()
	proxy.Freeze()
	fires(t, "the loss is known", lost)
	if a.Held() {
		t.Error("rights are held without a session")
	}
	if ok, err := a.TryLock(t.Context(), uuid.New()); ok || err == nil {
		t.Errorf("a right was given without a session: %v, %v", ok, err)
	}
	if err := a.Unlock(t.Context(), uuid.New()); err != nil {
		t.Errorf("giving back what is lost: %v", err)
	}
	proxy.Resume()
	eventually(t, "there is a session again", a.Held)
}

// fakeNode notes a node of which nothing was heard for an hour.
func fakeNode(t *testing.T, server *pgtest.Server, db string, pid uint32, start string) uuid.UUID {
	t.Helper()
	id := uuid.New()
	if _, err := connect(t, server.AdminURL(db)).Exec(t.Context(), `insert into nodes (id, name, role, version, started_at, beat_at, backend_pid, backend_start)
		select $1, 'silent', 'delivery', '', now(), now() - interval '1 hour', $2, backend_start + $3::interval from pg_stat_activity where pid = $2`,
		id, int(pid), start); err != nil { //nolint:gosec // a process number
		t.Fatal(err)
	}
	return id
}

// The session of a silent peer is ended; one that only has its number is not; and not before everybody had time to come back
// after an outage.
func TestNodeEndsTheRightSession(t *testing.T) {
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	silent, innocent := connect(t, server.AdminURL(db)), connect(t, server.AdminURL(db))
	silentID := fakeNode(t, server, db, silent.PgConn().PID(), "0")
	innocentID := fakeNode(t, server, db, innocent.PgConn().PID(), "-1 second")
	s := openAt(t, server.AdminURL(db))
	began := s.Now()
	join(t, s)
	var gone [2]store.NodeRecord
	eventually(t, "both are shown as gone", func() bool {
		gone[0], _ = nodeRecord(t, s, silentID)
		gone[1], _ = nodeRecord(t, s, innocentID)
		return gone[0].State == store.NodeGone && gone[1].State == store.NodeGone
	})
	if err := silent.Ping(t.Context()); err == nil {
		t.Error("the session of the silent node goes on")
	}
	if err := innocent.Ping(t.Context()); err != nil {
		t.Errorf("a session was ended that only has the number of a node's: %v", err)
	}
	if waited := gone[0].EndedAt.Sub(began); waited < 2*time.Second {
		t.Errorf("the silent node had %s to come back", waited)
	}
}

// A node of another login cannot be ended. That is said, and harms nothing else.
func TestNodeOfAnotherLogin(t *testing.T) {
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	api, delivery := logins(t, server, db)
	silent := connect(t, api)
	id := fakeNode(t, server, db, silent.PgConn().PID(), "0")
	s := openAt(t, api, func(c *store.Config) { c.DeliveryURL = delivery })
	log := newLog()
	b := join(t, s, func(c *store.NodeConfig) { c.Logger = log.logger() })
	eventually(t, "it is said", func() bool { return log.has("must use the same login") })
	if !b.Held() || silent.Ping(t.Context()) != nil {
		t.Error("a session has ended")
	}
	if got, _ := nodeRecord(t, s, id); got.State != store.NodeStalled {
		t.Errorf("the silent node is shown as %+v", got)
	}
}

// When the server restarts, all nodes come back with new sessions.
func TestNodesOutliveTheServer(t *testing.T) {
	server := pgtest.Start(t, pgtest.Config{NoSync: true})
	db := storetest.Database(t, server)
	a, b := join(t, openAt(t, server.AdminURL(db))), join(t, openAt(t, server.AdminURL(db)))
	relay := uuid.New()
	for _, end := range []func(testing.TB){server.Stop, server.Kill} {
		lost := []<-chan struct{}{a.Lost(), b.Lost()}
		if !lock(t, a, relay) {
			t.Fatal("a free relay was not given")
		}
		end(t)
		for _, ch := range lost {
			fires(t, "the loss is known", ch)
		}
		if a.Held() || b.Held() {
			t.Error("rights are held without a server")
		}
		server.Restart(t)
		eventually(t, "the sessions are back", func() bool { return a.Held() && b.Held() })
		if !lock(t, b, relay) {
			t.Error("a right outlived the server")
		}
		unlock(t, b, relay)
		eventually(t, "they see each other", func() bool { return a.Peers() == 2 && b.Peers() == 2 })
	}
}

// While a node of the version before delivers, alone, those that share the work have no rights, and the other way round.
func TestNodeOfTheVersionBefore(t *testing.T) {
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	const numbered = 0x706f737472696465 + 1
	old := connect(t, server.AdminURL(db))
	try := func() (ok bool) {
		t.Helper()
		if err := old.QueryRow(t.Context(), "select pg_try_advisory_lock($1)", int64(numbered)).Scan(&ok); err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !try() {
		t.Fatal("the lock is not free")
	}
	a := join(t, openAt(t, server.AdminURL(db)))
	if lock(t, a, uuid.New()) {
		t.Error("a right was given while a node of the version before delivers")
	}
	if _, err := old.Exec(t.Context(), "select pg_advisory_unlock($1)", int64(numbered)); err != nil {
		t.Fatal(err)
	}
	if !lock(t, a, uuid.New()) {
		t.Error("no right was given after the node of the version before had stopped")
	}
	if try() {
		t.Error("a node of the version before may deliver beside us")
	}
}
