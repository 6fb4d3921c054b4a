package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/store"
)

// next are migrations of two releases to come: one adds, one takes away.
func next() map[string]string {
	v := store.SchemaVersion()
	return map[string]string{
		fmt.Sprintf("%04d_more.sql", v+1): fmt.Sprintf("-- postrider: expand compatible-from=%d\n-- +goose Up\ncreate table more (id integer primary key);\nalter table spool add column more integer;\n", v),
		fmt.Sprintf("%04d_less.sql", v+2): fmt.Sprintf("-- postrider: contract compatible-from=%d\n-- +goose Up\ndrop table more;\n", v+1),
	}
}

// Programs of the version before work with an expanded database; a contracted one waits for them to go, and then refuses them.
func TestExpandContract(t *testing.T) {
	eachEmpty(t, func(t *testing.T, m store.MigrateConfig, c store.Config, exec func(string)) {
		was := store.SchemaVersion()
		if _, err := store.Migrate(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		nm, nc := store.AsNext(m, c, store.NextFiles(t, next()))
		nm.Program = "v9.9.9"
		old, err := store.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		defer old.Close()
		if err := opens(t, nc); err == nil || !strings.Contains(err.Error(), "run `postrider migrate`") {
			t.Errorf("the next program opens what is not expanded: %v", err)
		}

		plan, err := store.PlanMigration(t.Context(), nm)
		if err != nil || len(plan.Steps) != 1 || plan.Steps[0].Kind != store.Expand || len(plan.Left) != 1 || plan.Left[0].Kind != store.Contract || plan.Blocked != nil || plan.Have != was {
			t.Fatalf("PlanMigration = %+v, %v", plan, err)
		}
		report, err := store.Migrate(t.Context(), nm)
		if err != nil || report.To != was+1 || len(report.Applied) != 1 || len(report.Left) != 1 {
			t.Fatalf("expand = %+v, %v", report, err)
		}
		for name, cfg := range map[string]store.Config{"the old program": c, "the next": nc} {
			if err := opens(t, cfg); err != nil {
				t.Errorf("%s and an expanded database: %v", name, err)
			}
		}
		newTenant(t, old, "acme")
		if report, err := store.Migrate(t.Context(), m); err != nil || len(report.Applied) != 0 || report.To != was+1 {
			t.Errorf("the old program migrates an expanded database: %+v, %v", report, err)
		}

		nm.Contract = true
		exec(nodeRow("old", was, c.URL != ""))
		_, err = store.Migrate(t.Context(), nm)
		if e, ok := errors.AsType[*store.NodesError](err); !ok || e.CompatibleFrom != was+1 || !strings.Contains(err.Error(), "old (postrider v1, schema version") {
			t.Fatalf("contract beside an old node: %v", err)
		}
		if plan, err := store.PlanMigration(t.Context(), nm); err != nil || plan.Blocked == nil || len(plan.Nodes) != 1 {
			t.Errorf("PlanMigration = %+v, %v", plan, err)
		}
		if err := opens(t, c); err != nil {
			t.Errorf("after a refused contract the old program is refused: %v", err)
		}
		exec("update nodes set stopped_at = beat_at")
		if report, err = store.Migrate(t.Context(), nm); err != nil || report.To != was+2 || len(report.Left) != 0 {
			t.Fatalf("contract = %+v, %v", report, err)
		}
		if err := opens(t, nc); err != nil {
			t.Errorf("the next program and a contracted database: %v", err)
		}
		want := fmt.Sprintf("works with programs from version %d on: start postrider v9.9.9 or newer", was+1)
		for name, err := range map[string]error{
			"Open": opens(t, c), "Migrate": second(store.Migrate(t.Context(), m)),
		} {
			if _, ok := errors.AsType[*store.SchemaError](err); !ok || !strings.Contains(err.Error(), want) {
				t.Errorf("%s by the old program: %v", name, err)
			}
		}
	})
}

// --force does not ask for nodes.
func TestContractForced(t *testing.T) {
	eachEmpty(t, func(t *testing.T, m store.MigrateConfig, c store.Config, exec func(string)) {
		if _, err := store.Migrate(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		exec(nodeRow("old", store.SchemaVersion(), c.URL != ""))
		m, _ = store.AsNext(m, c, store.NextFiles(t, next()))
		m.Contract, m.Force = true, true
		if report, err := store.Migrate(t.Context(), m); err != nil || len(report.Applied) != 2 {
			t.Errorf("Migrate = %+v, %v", report, err)
		}
	})
}

func nodeRow(name string, schema int64, postgres bool) string {
	id, now := "x'0123456789abcdef0123456789abcdef'", fmt.Sprint(time.Now().UnixMicro())
	if postgres {
		id, now = "gen_random_uuid()", "clock_timestamp()"
	}
	return fmt.Sprintf("insert into nodes (id, name, role, version, started_at, beat_at, schema_version) values (%s, '%s', 'all', 'v1', %s, %s, %d)", id, name, now, now, schema)
}

// told sends each line of a log with a text on a channel.
type told struct {
	slog.Handler
	text string
	seen chan struct{}
}

func (h told) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, h.text) {
		select {
		case h.seen <- struct{}{}:
		default:
		}
	}
	return nil
}

// A migration that needs a lock which a long transaction holds lets everybody else work meanwhile.
func TestMigrationHoldsNobodyUp(t *testing.T) {
	server := pgtest.Shared(t)
	name := server.Database(t)
	url := server.AdminURL(name)
	m, c := store.MigrateConfig{URL: url}, store.Config{URL: url}
	if _, err := store.Migrate(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	v := store.SchemaVersion()
	more := next()
	more[fmt.Sprintf("%04d_index.sql", v+3)] = fmt.Sprintf("-- postrider: expand compatible-from=%d\n-- +goose NO TRANSACTION\n-- +goose Up\n"+
		"drop index concurrently if exists spool_more;\ncreate index concurrently spool_more on spool (more);\n", v+1)
	m, _ = store.AsNext(m, c, store.NextFiles(t, more))
	waits := told{slog.NewTextHandler(io.Discard, nil), "waits", make(chan struct{}, 1)}
	m.Logger = slog.New(&waits)

	long, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer long.Close(context.Background())
	if _, err := long.Exec(t.Context(), "begin; lock table spool in row exclusive mode"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	for range 2 { // the one that waits for the other must not keep it from making its index
		go func() { done <- second(store.Migrate(t.Context(), m)) }()
	}
	select {
	case <-waits.seen:
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	}
	server.Exec(t, name, "set lock_timeout = '20s'; update spool set attempts = attempts")
	if _, err := long.Exec(t.Context(), "commit"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	server.Exec(t, name, "do $$ begin if not (select indisvalid from pg_index where indexrelid = 'spool_more'::regclass) then raise 'the index is not valid'; end if; end $$")
}

// Every migration after the first release's says what it does to programs at work, and holds nobody up.
func TestMigrationRules(t *testing.T) {
	for _, folder := range []string{"sqlite", "postgres"} {
		steps, err := store.OwnSteps(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range steps {
			if step.Version <= firstRelease {
				continue
			}
			if step.Kind == store.Break {
				t.Errorf("%s %s: say what it does to programs of the version before: a line `-- postrider: expand compatible-from=N`", folder, step.Name)
			}
			text := strings.ToLower(step.Text)
			if folder == "postgres" && strings.Contains(text, "create index ") && !strings.Contains(text, "create index concurrently") {
				t.Errorf("%s: make indexes concurrently, in a file with `-- +goose NO TRANSACTION`", step.Name)
			}
			if step.Outside && strings.Contains(text, "alter table") {
				t.Errorf("%s: what runs outside of a transaction waits for locks for a minute: an ALTER TABLE would hold everybody up", step.Name)
			}
			if step.Outside && strings.Contains(text, "create index") && !strings.Contains(text, "drop index concurrently if exists") {
				t.Errorf("%s: drop the index first, if it exists: an attempt before may have left half of it", step.Name)
			}
		}
	}
}

// firstRelease is the schema version of the first release. What came before had no nodes at work.
const firstRelease = 5

// opens says whether a program may work with the database.
func opens(t *testing.T, c store.Config) error {
	t.Helper()
	s, err := store.Open(t.Context(), c)
	if err != nil {
		return err
	}
	return s.Close()
}
