package store_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// TestAttemptsInTheirOrder has the second attempt made by a node whose clock is behind: the ids of attempts come from the clocks of
// nodes, their numbers do not.
func TestAttemptsInTheirOrder(t *testing.T) {
	t.Parallel()
	var url string
	w := newWorld(t, func(change ...func(*store.Config)) *store.Store {
		return storetest.Postgres(t, append(change, func(cfg *store.Config) { url = cfg.URL })...)
	})
	m := w.message("a@example.net")
	w.accept(t, m)
	for range 2 {
		o := w.outcome(w.one(t), store.Deferred)
		o.NextDue = w.clock.now().Add(time.Minute)
		w.record(t, o)
		w.clock.pass(time.Minute)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), "update attempts set id = '00000000-0000-7000-8000-000000000000' where message_id = $1 and n = 2", m.ID); err != nil {
		t.Fatal(err)
	}
	d := w.detail(t, m.ID)
	if len(d.Attempts) != 2 || d.Attempts[0].N != 1 || d.Attempts[1].N != 2 {
		t.Errorf("attempts are not in the order in which they were made: %+v", d.Attempts)
	}
}
