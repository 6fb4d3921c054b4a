package store_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// A URL that names several servers leads to the one that takes writes, for the pools and for a node's session: past one that
// does not answer and one that is read-only, as a standby is.
func TestSeveralHosts(t *testing.T) {
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	cfg, err := pgx.ParseConfig(server.AdminURL(db))
	if err != nil {
		t.Fatal(err)
	}
	standby := pgtest.Start(t, pgtest.Config{NoSync: true, Settings: []string{"default_transaction_read_only = on"}})
	standby.Exec(t, "postgres", "set default_transaction_read_only = off", "alter role "+pgtest.Superuser+" password '"+cfg.Password+"'")
	// It has a database of that name, so that only what it says of itself makes the difference.
	withPassword := strings.Replace(server.AdminURL("postgres"), server.Addr, standby.Addr, 1)
	conn := connect(t, withPassword)
	for _, statement := range []string{"set default_transaction_read_only = off", "create database " + pgx.Identifier{db}.Sanitize()} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	all := strings.Replace(server.AdminURL(db), server.Addr, "127.0.0.1:1,"+standby.Addr+","+server.Addr, 1)
	for name, url := range map[string]string{"as given": all, "with the word": all + "&target_session_attrs=read-write"} {
		t.Run(name, func(t *testing.T) {
			if report, err := store.Migrate(t.Context(), store.MigrateConfig{URL: url}); err != nil || len(report.Applied) != 0 {
				t.Fatalf("migrate: %+v, %v", report, err)
			}
			s := openAt(t, url)
			n := join(t, s)
			relay := uuid.New()
			if !lock(t, n, relay) {
				t.Fatal("a free relay was not given")
			}
			lost := n.Lost()
			endSession(t, server, db, n.ID())
			fires(t, "the loss is known", lost)
			eventually(t, "the session is back", n.Held)
			newTenant(t, s, strings.Fields(name)[0])
		})
	}
}
