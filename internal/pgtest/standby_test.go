package pgtest_test

import (
	"testing"

	"github.com/postrider/postrider/internal/pgtest"
)

// A primary dies, its synchronous standby takes over with all that was committed, and the dead one comes back as a standby.
func TestFailOver(t *testing.T) {
	a := pgtest.Start(t, pgtest.Config{})
	b := a.Standby(t)
	a.Synchronous(t, true)
	a.Exec(t, "postgres", "create table thing (v text)", "insert into thing values ('kept')")
	for range 2 { // there and back
		a.Kill(t)
		b.Promote(t)
		if got, err := query(t, b.AdminURL("postgres"), "select v from thing"); err != nil || got != "kept" {
			t.Fatalf("after the fail-over: %q, %v", got, err)
		}
		b.Exec(t, "postgres", "update thing set v = v")
		a.Follow(t, b)
		b.Synchronous(t, true)
		a, b = b, a
	}
}
