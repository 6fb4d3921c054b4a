package store_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// strangeClock gives a database a clock that is off by an interval, which a table says.
func strangeClock(t *testing.T, server *pgtest.Server, db string) (set func(interval string)) {
	t.Helper()
	server.Exec(t, db, "create schema strange", "grant usage on schema strange to public", "create table strange.off (by interval)",
		"insert into strange.off values ('0')", "grant select on strange.off to public",
		`create function strange.clock_timestamp() returns timestamptz language sql volatile as
			'select pg_catalog.clock_timestamp() + (select by from strange.off)'`,
		"alter database "+pgx.Identifier{db}.Sanitize()+" set search_path = strange, pg_catalog, public")
	return func(interval string) { server.Exec(t, db, "update strange.off set by = '"+interval+"'") }
}

// The database's clock decides on PostgreSQL, however far from it those of the nodes are: what one node accepts for later is
// due on the other when it should be, and what is kept for a time is kept as long.
func TestDatabaseClock(t *testing.T) {
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	set := strangeClock(t, server, db)
	public := server.AdminURL(db) + "&search_path=public" // this machine's time, for the tables that the test makes
	w := newWorld(t, func(...func(*store.Config)) *store.Store { return openAt(t, public) })
	set("-1 hour")
	here, there := openAt(t, server.AdminURL(db)), openAt(t, server.AdminURL(db))
	if off := time.Since(here.Now()); off < 59*time.Minute || off > 61*time.Minute {
		t.Fatalf("the clock is off by %s", off)
	}
	if apart := here.Now().Sub(there.Now()).Abs(); apart > time.Second {
		t.Errorf("two nodes are %s apart", apart)
	}
	tenant := here.Tenant(w.tenant.ID())
	now, later := w.message(), w.message()
	later.SendAt = here.Now().Add(time.Minute) // by this machine's clock an hour ago
	idem := &store.Idempotency{Scope: "messages", UserID: w.user, Key: "k", Status: 202, Response: []byte("{}")}
	if _, err := tenant.Accept(t.Context(), []store.NewMessage{now, later}, idem); err != nil {
		t.Fatal(err)
	}
	claims, err := there.Claim(t.Context(), store.ClaimRequest{Relay: w.relay.ID, Tenant: tenant.ID(), Limit: 10, Node: w.node})
	if err != nil || len(claims) != 1 || claims[0].MessageID != now.ID {
		t.Errorf("due on the other node: %+v, %v", claims, err)
	}
	if next, err := there.NextDue(t.Context()); err != nil || !next.Equal(later.SendAt.Truncate(time.Microsecond)) {
		t.Errorf("the next is due at %s, %v, want %s", next, err, later.SendAt)
	}
	if _, err := there.PruneExpired(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	again := &store.Idempotency{Scope: "messages", UserID: w.user, Key: "k", Status: 202, Response: []byte("{}")}
	if replay, err := there.Tenant(tenant.ID()).Accept(t.Context(), []store.NewMessage{w.message()}, again); err != nil || replay == nil {
		t.Errorf("the other node does not know the key: %v, %v", replay, err)
	}
}

// A clock of the database that is set while nodes work is followed with the next beat, by all.
func TestDatabaseClockIsSet(t *testing.T) {
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	set := strangeClock(t, server, db)
	a, b := openAt(t, server.AdminURL(db)), openAt(t, server.AdminURL(db))
	join(t, a)
	join(t, b)
	for _, off := range []string{"1 hour", "-1 hour"} {
		want := must[time.Duration](t)(time.ParseDuration(map[string]string{"1 hour": "1h", "-1 hour": "-1h"}[off]))
		set(off)
		eventually(t, "both nodes follow", func() bool {
			return (time.Until(a.Now())-want).Abs() < time.Minute && (time.Until(b.Now())-want).Abs() < time.Minute
		})
	}
}

// A clock that a test gives comes before the database's.
func TestGivenClock(t *testing.T) {
	fixed := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	s := storetest.Postgres(t, func(c *store.Config) { c.Now = func() time.Time { return fixed } })
	if got := s.Now(); !got.Equal(fixed.Truncate(time.Microsecond)) {
		t.Errorf("Now() = %s", got)
	}
}

// What is due in an hour by the machine's clock is given up an hour later by the database's, and no sooner.
func TestGiveUpByDatabaseClock(t *testing.T) {
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	set := strangeClock(t, server, db)
	w := newWorld(t, func(...func(*store.Config)) *store.Store { return openAt(t, server.AdminURL(db)) })
	set("-3 hours")
	s := openAt(t, server.AdminURL(db))
	m := w.message()
	m.GiveUpAt = s.Now().Add(time.Hour) // by this machine's clock two hours ago
	if _, err := s.Tenant(w.tenant.ID()).Accept(t.Context(), []store.NewMessage{m}, nil); err != nil {
		t.Fatal(err)
	}
	server.Exec(t, db, "update relays set not_before = now() + interval '1 day'")
	if done, err := s.GiveUp(t.Context()); err != nil || done.Failed != 0 {
		t.Errorf("given up too early: %+v, %v", done, err)
	}
	set("0")
	if done, err := openAt(t, server.AdminURL(db)).GiveUp(t.Context()); err != nil || done.Failed != 1 {
		t.Errorf("given up in time: %+v, %v", done, err)
	}
}
