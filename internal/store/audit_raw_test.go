package store_test

import (
	"database/sql"
	"fmt"
	"net/url"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/postrider/postrider/internal/store"
)

// auditTables are the tables that triggers guard.
func auditTables() []string {
	return []string{"audit_entries", "audit_people", "audit_chain", "audit_checkpoints"}
}

// withoutTriggers opens the database as one who may do everything, and takes away what keeps the audit log as it is.
func withoutTriggers(t *testing.T, cfg store.Config) *sql.DB {
	t.Helper()
	if cfg.URL != "" {
		db, err := sql.Open("pgx", cfg.URL)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		db.SetMaxOpenConns(1)
		if _, err := db.ExecContext(t.Context(), "set session_replication_role = replica"); err != nil {
			t.Fatal(err)
		}
		return db
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: cfg.Path, RawQuery: "_pragma=busy_timeout(10000)"}).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	for _, table := range auditTables() {
		for _, verb := range []string{"update", "delete"} {
			if _, err := db.ExecContext(t.Context(), fmt.Sprintf("drop trigger if exists %s_no_%s", table, verb)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return db
}
