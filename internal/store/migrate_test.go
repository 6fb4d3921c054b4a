package store_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// eachEmpty runs fn with the configurations for a new, empty database of each kind and with a way to run statements in it.
func eachEmpty(t *testing.T, fn func(t *testing.T, m store.MigrateConfig, c store.Config, exec func(string))) {
	t.Run("sqlite", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "postrider.db")
		fn(t, store.MigrateConfig{Path: file}, store.Config{Path: file}, func(text string) {
			db, err := sql.Open("sqlite", file)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.ExecContext(t.Context(), text); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("postgresql", func(t *testing.T) {
		server := pgtest.Shared(t)
		name := server.Database(t)
		url := server.AdminURL(name)
		fn(t, store.MigrateConfig{URL: url}, store.Config{URL: url}, func(text string) { server.Exec(t, name, text) })
	})
}

func TestMigrate(t *testing.T) {
	eachEmpty(t, func(t *testing.T, m store.MigrateConfig, c store.Config, exec func(string)) {
		_, err := store.Open(t.Context(), c)
		if e, ok := errors.AsType[*store.SchemaError](err); !ok || e.Have != 0 || e.Want != store.SchemaVersion() || !strings.Contains(err.Error(), "postrider migrate") {
			t.Fatalf("Open before Migrate: %v", err)
		}
		report, err := store.Migrate(t.Context(), m)
		if err != nil || report.From != 0 || report.To != store.SchemaVersion() || int64(len(report.Applied)) != report.To || report.Applied[0] != "0001_base" {
			t.Fatalf("Migrate = %+v, %v", report, err)
		}
		report, err = store.Migrate(t.Context(), m)
		if err != nil || report.From != report.To || len(report.Applied) != 0 {
			t.Errorf("Migrate again = %+v, %v", report, err)
		}
		s, err := store.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		newTenant(t, s, "acme")
		if err := errors.Join(s.Ping(t.Context()), s.Close()); err != nil {
			t.Error(err)
		}

		exec("insert into goose_db_version (version_id, is_applied) values (9999, true)")
		for what, err := range map[string]error{"Open": second(store.Open(t.Context(), c)), "Migrate": second(store.Migrate(t.Context(), m))} {
			if e, ok := errors.AsType[*store.SchemaError](err); !ok || e.Have != 9999 || !strings.Contains(err.Error(), "newer") {
				t.Errorf("%s of a newer database: %v", what, err)
			}
		}
	})
}

// The same migrations exist for both databases.
func TestMigrationsPair(t *testing.T) {
	var names [2][]string
	for i, folder := range []string{"sqlite", "postgres"} {
		entries, err := os.ReadDir(filepath.Join("migrations", folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names[i] = append(names[i], e.Name())
		}
	}
	if !slices.Equal(names[0], names[1]) || int64(len(names[0])) != store.SchemaVersion() {
		t.Errorf("sqlite has %v, postgres has %v, the version is %d", names[0], names[1], store.SchemaVersion())
	}
}

// Of several that start at once each migration is applied by one.
func TestMigrateAtOnce(t *testing.T) {
	eachEmpty(t, func(t *testing.T, m store.MigrateConfig, c store.Config, _ func(string)) {
		var mu sync.Mutex
		var applied []string
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				report, err := store.Migrate(t.Context(), m)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				applied = append(applied, report.Applied...)
			})
		}
		wg.Wait()
		if int64(len(applied)) != store.SchemaVersion() || len(slices.Compact(slices.Sorted(slices.Values(applied)))) != len(applied) {
			t.Errorf("applied: %v", applied)
		}
		s, err := store.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// What goes wrong is taken back, and the next run begins where the good ones ended.
func TestMigrateFails(t *testing.T) {
	eachEmpty(t, func(t *testing.T, m store.MigrateConfig, c store.Config, exec func(string)) {
		exec("create table users (id integer)") // in the way
		if report, err := store.Migrate(t.Context(), m); err == nil || !strings.Contains(err.Error(), "users") {
			t.Fatalf("Migrate = %+v, %v", report, err)
		}
		if e, ok := errors.AsType[*store.SchemaError](second(store.Open(t.Context(), c))); !ok || e.Have != 0 {
			t.Errorf("after a failure the version is %v", e)
		}
		exec("drop table users")
		if report, err := store.Migrate(t.Context(), m); err != nil || int64(len(report.Applied)) != store.SchemaVersion() {
			t.Errorf("Migrate after the repair = %+v, %v", report, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := store.Migrate(ctx, m); !errors.Is(err, context.Canceled) {
			t.Errorf("with an ended context: %v", err)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]store.Config{
		"nothing": {}, "a negative number": {Path: "x", MaxConns: -1}, "a directory that is missing": {Path: filepath.Join(t.TempDir(), "a", "b")},
		"no URL": {URL: "://"}, "a URL of nobody": {URL: "postgres://user:secret@127.0.0.1:1/x?connect_timeout=1"},
	} {
		s, err := store.Open(t.Context(), c)
		if err == nil {
			t.Errorf("%s: opened", name)
			_ = s.Close()
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows the password: %v", name, err)
		}
		if unavailable := errors.Is(err, store.ErrUnavailable); unavailable != (name == "a URL of nobody") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := store.Migrate(t.Context(), store.MigrateConfig{}); err == nil {
		t.Error("Migrate of nothing")
	}
}

// Files of the embedded database are for their owner only, whatever the umask, also one that was made by others.
func TestFileMode(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "postrider.db")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Migrate(t.Context(), store.MigrateConfig{Path: file}); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{Path: file})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	newTenant(t, s, "acme")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if len(entries) < 3 {
		t.Errorf("only %d files: where is the write-ahead log?", len(entries))
	}
	for setting, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		err := s.Run(t.Context(), store.NewID(), store.ReadWrite, func(q store.TestTx) error {
			var got string
			if err := q.Row(t.Context(), "select cast("+setting+" as text) from pragma_"+setting, nil, &got); err != nil {
				return err
			}
			if got != want {
				t.Errorf("%s is %s, want %s", setting, got, want)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// Logins of every kind: with one that may do less than needed or more than allowed Open says so.
func TestLogins(t *testing.T) {
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	api, delivery := logins(t, server, db)
	use := func(c store.Config) error {
		s, err := store.Open(t.Context(), c)
		if err != nil {
			return err
		}
		defer s.Close()
		tenant, admin := newTenant(t, s, "t"+store.NewID().String())
		other, _ := newTenant(t, s, "t"+store.NewID().String())
		// The policies count whoever logs in: a query that forgets its tenant sees one.
		var n int
		err = s.Run(t.Context(), tenant.ID(), store.ReadOnly, func(q store.TestTx) error {
			return q.Row(t.Context(), "select count(*) from users", nil, &n)
		})
		if err != nil || n != 1 {
			t.Errorf("a query without a tenant sees %d users, %v", n, err)
		}
		_, err = s.PruneExpired(t.Context(), 0)
		_, missing := other.User(t.Context(), admin.ID)
		if !errors.Is(missing, store.ErrNotFound) {
			t.Errorf("another tenant's user: %v", missing)
		}
		return err
	}
	for name, c := range map[string]store.Config{
		"one plain login each":          {URL: api, DeliveryURL: delivery},
		"one superuser for all":         {URL: server.AdminURL(db)},
		"a superuser for delivery only": {URL: api, DeliveryURL: server.AdminURL(db)},
	} {
		if err := use(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]store.Config{
		"a login of delivery for the API": {URL: delivery},
		"a login of the API for delivery": {URL: api},
	} {
		if err := second(store.Open(t.Context(), c)); err == nil || !strings.Contains(err.Error(), "is no member of the role") {
			t.Errorf("%s: %v", name, err)
		}
	}

	// One plain login for both is a member of both: it takes on one role at a time.
	both := db + "_both"
	url := server.URL(db, both, server.Login(t, both, ""))
	t.Cleanup(func() { server.Exec(t, "postgres", "drop role "+both) })
	if _, err := store.Migrate(t.Context(), store.MigrateConfig{URL: server.AdminURL(db), APIURL: url}); err != nil {
		t.Fatal(err)
	}
	if err := use(store.Config{URL: url}); err != nil {
		t.Errorf("one plain login for both: %v", err)
	}
	if _, err := store.Migrate(t.Context(), store.MigrateConfig{URL: url}); err == nil || !strings.Contains(err.Error(), "BYPASSRLS") {
		t.Errorf("Migrate by a plain login: %v", err)
	}
	if _, err := store.Migrate(t.Context(), store.MigrateConfig{URL: server.AdminURL(db), APIURL: server.URL(db, "nobody_"+db, "x")}); err == nil || !strings.Contains(err.Error(), "no login") {
		t.Errorf("Migrate for a login that is missing: %v", err)
	}
}

// A login that owns the tables without being a superuser, as hosted databases give, migrates and serves.
func TestOwnerLogin(t *testing.T) {
	server := pgtest.Shared(t)
	db := server.Database(t)
	name := db + "_owner"
	url := server.URL(db, name, server.Login(t, name, "bypassrls createrole"))
	server.Exec(t, "postgres", "alter database "+db+" owner to "+name)
	t.Cleanup(func() {
		server.Exec(t, db, "reassign owned by "+name+" to postgres", "drop owned by "+name, "drop role "+name)
	})
	if _, err := store.Migrate(t.Context(), store.MigrateConfig{URL: url}); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tenant, _ := newTenant(t, s, "acme")
	newTenant(t, s, "beta")
	var n int
	if err := s.Run(t.Context(), tenant.ID(), store.ReadOnly, func(q store.TestTx) error {
		return q.Row(t.Context(), "select count(*) from users", nil, &n)
	}); err != nil || n != 1 {
		t.Errorf("as the tables' owner a query without a tenant sees %d users, %v", n, err)
	}
}
