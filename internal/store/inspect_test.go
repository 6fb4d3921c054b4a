package store_test

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// healths are the findings by what they are about.
func healths(t *testing.T, found []store.Finding) map[string]store.Health {
	t.Helper()
	m := map[string]store.Health{}
	for _, f := range found {
		if _, twice := m[f.Check]; twice {
			t.Errorf("two findings about %s", f.Check)
		}
		m[f.Check] = f.Health
		if (f.Mend == "") != (f.Health == store.HealthOK) {
			t.Errorf("%s is %s (%s), and what to do is %q", f.Check, f.Health, f.Detail, f.Mend)
		}
	}
	return m
}

// only checks that all findings are in order but one.
func only(t *testing.T, found []store.Finding, check string, want store.Health) {
	t.Helper()
	got := healths(t, found)
	if got[check] != want {
		t.Errorf("%s is %q, want %q: %+v", check, got[check], want, found)
	}
	for name, h := range got {
		if name != check && h != store.HealthOK {
			t.Errorf("%s is %s: %+v", name, h, found)
		}
	}
}

func TestInspectSQLite(t *testing.T) {
	file, _ := fileOf(t)
	cfg := store.InspectConfig{Config: store.Config{Path: file, MinFreeBytes: 1}, Deep: true}
	only(t, store.Inspect(t.Context(), cfg), "file", store.HealthOK)

	full := cfg
	full.MinFreeBytes = 1 << 60
	only(t, store.Inspect(t.Context(), full), "disk", store.HealthFail)

	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte("somebody")) &^ 4095
	copy(b[at:at+4096], bytes.Repeat([]byte{0xa5}, 4096))
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	only(t, store.Inspect(t.Context(), cfg), "file", store.HealthFail)
}

func TestInspectWithoutDatabase(t *testing.T) {
	server := pgtest.Shared(t)
	database := server.Database(t)
	found := store.Inspect(t.Context(), store.InspectConfig{Config: store.Config{URL: server.AdminURL(database)}})
	if len(found) != 1 || found[0].Check != "schema" || found[0].Mend != "run postrider migrate with this program" {
		t.Errorf("an empty database: %+v", found)
	}
	found = store.Inspect(t.Context(), store.InspectConfig{Config: store.Config{URL: "postgres://ann:hush@127.0.0.1:1/none"}})
	if len(found) != 1 || found[0].Check != "database" || !errors.Is(found[0].Err, store.ErrUnavailable) {
		t.Errorf("no database: %+v", found)
	}
}

func TestInspectPostgres(t *testing.T) {
	server := pgtest.Start(t, pgtest.Config{})
	database := storetest.Database(t, server)
	cfg := store.InspectConfig{Config: store.Config{URL: server.AdminURL(database)}}
	inspect := func() []store.Finding { return store.Inspect(t.Context(), cfg) }
	only(t, inspect(), "isolation", store.HealthOK)

	server.Exec(t, database, "alter table messages no force row level security")
	only(t, inspect(), "isolation", store.HealthFail)
	server.Exec(t, database, "alter table messages force row level security")

	server.Exec(t, database, "alter role postgres set synchronous_commit = off")
	only(t, inspect(), "durability", store.HealthWarn)
	server.Exec(t, database, "alter role postgres reset synchronous_commit")

	cfg.Now = func() time.Time { return time.Now().Add(time.Hour) }
	only(t, inspect(), "clock", store.HealthOK) // it is the machine's clock that counts, not a clock of tests
}
