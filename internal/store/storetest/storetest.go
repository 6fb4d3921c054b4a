// Package storetest opens real databases for tests: a SQLite file of its own, or a database of its own in the private
// PostgreSQL server of package pgtest. Tests of the store run on both by Each; tests of what stands above it use
// SQLite, for there is no fake store.
//
// It is test support: only tests import it.
package storetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/store"
)

// Open opens the database once more, as a further process does, with the changed configuration. The Store is closed
// at the end of the test.
type Open func(change ...func(*store.Config)) *store.Store

// Each runs fn as a subtest on each database, which is empty but migrated.
func Each(t *testing.T, fn func(t *testing.T, open Open)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { fn(t, sqlite(t)) })
	t.Run("postgresql", func(t *testing.T) { fn(t, postgres(t)) })
}

// All is Each, and once more on PostgreSQL through a pooler in transaction mode, with fewer server connections than the
// store has.
func All(t *testing.T, fn func(t *testing.T, open Open)) {
	t.Helper()
	Each(t, fn)
	t.Run("pooler", func(t *testing.T) {
		server := pgtest.Shared(t)
		fn(t, opener(t, store.Config{URL: server.PoolerURL(server.SharedPooler(t), Database(t, server))}))
	})
}

// SQLite opens a new SQLite database with the changed configuration.
func SQLite(t testing.TB, change ...func(*store.Config)) *store.Store {
	t.Helper()
	return sqlite(t)(change...)
}

func sqlite(t testing.TB) Open {
	t.Helper()
	return opener(t, store.Config{Path: File(t)})
}

// migrated is a SQLite database as Migrate leaves it, made once in a test binary: with the race detector a migration
// takes a second, and most tests only want its result.
var migrated = sync.OnceValues(func() (_ []byte, err error) {
	dir, err := os.MkdirTemp("", "storetest")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "postrider.db")
	if _, err := store.Migrate(context.Background(), store.MigrateConfig{Path: file}); err != nil {
		return nil, err
	}
	// What Migrate has closed is all in the one file, or the copies would lack it.
	if _, err := os.Stat(file + "-wal"); !errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("the migrated database left a -wal file")
	}
	return os.ReadFile(file)
})

// File makes a migrated SQLite database, without what a running service would add, and returns its name. It is removed
// at the end of the test.
func File(t testing.TB) string {
	t.Helper()
	octets, err := migrated()
	if err != nil {
		t.Fatalf("storetest: %v", err)
	}
	file := filepath.Join(t.TempDir(), "postrider.db")
	if err := os.WriteFile(file, octets, 0o600); err != nil {
		t.Fatalf("storetest: %v", err)
	}
	return file
}

// Postgres opens a new PostgreSQL database with the changed configuration.
func Postgres(t testing.TB, change ...func(*store.Config)) *store.Store {
	t.Helper()
	return postgres(t)(change...)
}

// Opens makes a PostgreSQL database and returns what opens it, for tests of what several processes do with one.
func Opens(t testing.TB) Open {
	t.Helper()
	return postgres(t)
}

func postgres(t testing.TB) Open {
	t.Helper()
	server := pgtest.Shared(t)
	return opener(t, store.Config{URL: server.AdminURL(Database(t, server))})
}

// Database makes a migrated PostgreSQL database and returns its name. It is removed at the end of the test.
func Database(t testing.TB, server *pgtest.Server) string {
	t.Helper()
	return server.Clone(t, "store", func(url string) error {
		_, err := store.Migrate(t.Context(), store.MigrateConfig{URL: url})
		return err
	})
}

func opener(t testing.TB, cfg store.Config) Open {
	return func(change ...func(*store.Config)) *store.Store {
		t.Helper()
		for _, c := range change {
			c(&cfg)
		}
		s, err := store.Open(t.Context(), cfg)
		if err != nil {
			t.Fatalf("storetest: %v", err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Errorf("storetest: %v", err)
			}
		})
		return s
	}
}
