package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// TestTurnsGoByIndex looks at the plan of the question that every node asks every second: under its policy PostgreSQL would
// read and sort all that waits, and compile the plan for half a second where it is told not to sort.
func TestTurnsGoByIndex(t *testing.T) {
	var url string
	s := storetest.Postgres(t, func(cfg *store.Config) { url = cfg.URL })
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	for _, statement := range []string{
		"set session_replication_role = replica",
		`insert into spool (tenant_id, message_id, relay_id, class, due, recipients, hold)
			select '00000000-0000-7000-8000-000000000001', gen_random_uuid(), '00000000-0000-7000-8000-000000000002', 0, now() - i * interval '1 ms', 1, false
			from generate_series(1, 2000) i`,
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	plan, err := store.ExplainTurns(t.Context(), s, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plan, "using spool_due") || strings.Contains(plan, "Sort ") || strings.Contains(plan, "JIT") {
		t.Errorf("want a walk along spool_due, nothing sorted or compiled:\n%s", plan)
	}
}
