package operation_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/pgtest"
)

// TestRollingUpgrade follows docs/upgrade.md under load: old nodes work while the tables are expanded and new nodes join, an old one starts again in the middle, the old ones
// leave, the tables are contracted, and an old program is refused. Every message that was accepted arrives once.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	was, is := thisProgram(t), nextProgram(t)
	server := pgtest.Shared(t)
	m := newMail(t)
	m.putOff(false)
	setting := "POSTRIDER_DATABASE_URL=" + server.AdminURL(server.Database(t))
	dir := t.TempDir()
	old0, old1 := newNode(t, "old0", was, filepath.Join(dir, "0"), setting), newNode(t, "old1", was, filepath.Join(dir, "1"), setting)
	old0.run(t, "migrate")
	m.setUp(t, old0)
	copyKeys(t, old0.data, old1.data)
	new0, new1 := newNode(t, "new0", is, old0.data, setting), newNode(t, "new1", is, old1.data, setting)
	for _, n := range []*node{old1, new0, new1} {
		n.env = append(n.env, "POSTRIDER_EGRESS_PORTS="+m.port(t))
	}
	old0.start(t)
	old1.start(t)
	old0.ready(t)
	old1.ready(t)
	m.register(t, old0)
	stop := m.load(t, "m", old0, old1, new0, new1)

	// A new program is not served by old tables, and says what to do.
	if status, _, errs := new0.tool(t, "serve"); status != 78 || !strings.Contains(errs, "run `postrider migrate`") {
		t.Errorf("a new program on old tables: %d, %s", status, errs)
	}
	if out := new0.run(t, "migrate", "--plan"); strings.Count(out, "would apply") != 2 || !strings.Contains(out, "nothing is in the way") || strings.Count(out, "at work: ") != 2 {
		t.Errorf("the plan: %s", out)
	}
	if out := new0.run(t, "migrate"); strings.Count(out, "applied") != 2 || !strings.Contains(out, "left for postrider migrate --contract") {
		t.Errorf("expand: %s", out)
	}
	new0.data = filepath.Join(dir, "2") // a third host
	copyKeys(t, old0.data, new0.data)
	new0.env = append(new0.env, "POSTRIDER_DATA="+new0.data)
	new0.start(t)
	new0.ready(t)

	// Both versions understand each other: what the one holds, the other holds and lets go.
	old0.run(t, "relay", "pause-all", "--reason", "by the old one")
	new0.run(t, "relay", "resume-all")
	new0.run(t, "relay", "pause-all", "--reason", "by the new one")
	old0.run(t, "relay", "resume-all")

	old0.stop(t) // starts again in the middle
	old0.start(t)
	old0.ready(t)
	old1.stop(t)
	new1.start(t)
	new1.ready(t)
	if status, _, errs := new0.tool(t, "migrate", "--contract"); status != 75 || !strings.Contains(errs, "older are at work") {
		t.Errorf("contract beside an old node: %d, %s", status, errs)
	}
	if status, _, errs := new0.tool(t, "migrate", "--contract", "--plan"); status != 75 || !strings.Contains(errs, "older are at work") {
		t.Errorf("its plan: %d, %s", status, errs)
	}
	old0.stop(t)
	if out := new0.run(t, "migrate", "--contract"); strings.Count(out, "applied") != 1 {
		t.Errorf("contract: %s", out)
	}
	for _, args := range [][]string{{"serve"}, {"migrate"}, {"serve", "--migrate"}, {"tenant", "list"}, {"migrate", "--status"}} {
		status, _, errs := old0.tool(t, args...)
		if lines := strings.Split(strings.TrimSpace(errs), "\n"); status != 78 || !strings.Contains(lines[len(lines)-1], "works with programs from version") {
			t.Errorf("an old program on contracted tables: %v: %d, %s", args, status, errs)
		}
	}
	if out := new1.run(t, "migrate", "--status"); !strings.Contains(out, "which is this program's") {
		t.Errorf("--status: %s", out)
	}
	new1.stop(t)
	new1.start(t)
	new1.ready(t)
	accepted := stop()
	m.arrive(t, accepted...)
	new0.stop(t)
	new1.stop(t)
	m.exactly(t, 1, accepted...)
	if len(accepted) < 50 || len(slices.Compact(slices.Sorted(slices.Values(accepted)))) != len(accepted) {
		t.Errorf("only %d messages were accepted meanwhile", len(accepted))
	}
	t.Logf("%d messages were accepted, and each arrived once", len(accepted))
}
