package operation_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestBackupSQLite follows docs/backup.md: a backup under load, a disaster, a restore; nothing is lost that was accepted before the backup, and nothing
// that was sent goes out again.
func TestBackupSQLite(t *testing.T) {
	t.Parallel()
	m := newMail(t)
	data := filepath.Join(t.TempDir(), "data")
	n := newNode(t, "only", thisProgram(t), data)
	m.setUp(t, n)
	n.start(t)
	n.ready(t)
	m.register(t, n)
	before := m.before(t, n)

	stop := m.load(t, "busy", n)
	copied := filepath.Join(t.TempDir(), "copy.db")
	out := n.run(t, "backup", copied)
	if !strings.Contains(out, "everything accepted before") || !strings.Contains(out, "seal-keyset.json") {
		t.Errorf("backup said %s", out)
	}
	busy := stop()
	m.after(t, n, before, busy)
	m.putOff(true) // so that one can be seen that was never sent
	left := m.acceptAll(t, n, 1, "gone", lateDomain, nil)
	n.kill()

	// The disk is gone, the keys are not.
	files, err := filepath.Glob(filepath.Join(data, "postrider.db*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range append(files, filepath.Join(data, "restore-mark")) {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	m.putOff(false)
	n.run(t, "restore", copied)
	n.start(t)
	n.ready(t)
	if said := n.said(); !strings.Contains(said, "the database was restored from a backup") {
		t.Errorf("the service has not noticed: %s", said)
	}
	m.restored(t, n, before, busy)

	// One by one, and the rest is not sent.
	n.run(t, "message", "retry", "--tenant", "first", m.id(before.late[0]))
	within(t, "the retried one arrives again", func() bool { return m.count(before.late[0]) == 2 })
	n.run(t, "restored", "end")
	if shown := n.run(t, "message", "show", "--tenant", "first", m.id(before.late[1])); !strings.Contains(shown, "unknown") {
		t.Errorf("ended as %s", shown)
	}
	if shown := n.run(t, "restored", "show"); !strings.Contains(shown, "nothing is on hold") {
		t.Errorf("left on hold: %s", shown)
	}
	m.exactly(t, 1, before.late[1:]...)
	m.exactly(t, 1, busy...)
	m.exactly(t, 0, left...) // accepted after the backup
	n.stop(t)
}

// accepted before a backup.
type acceptedBefore struct {
	sent, late, scheduled []string
}

// before accepts messages: some are sent at once, some are put off, some are for later.
func (m *mail) before(t *testing.T, n *node) (b acceptedBefore) {
	t.Helper()
	b.sent = m.acceptAll(t, n, 10, "sent", "example.net", nil)
	b.late = m.acceptAll(t, n, 20, "late", lateDomain, nil)
	b.scheduled = m.acceptAll(t, n, 3, "scheduled", "example.net", map[string]any{"send_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
	m.arrive(t, b.sent...)
	return b
}

// after lets everything be sent that was put off, as it is between a backup and a disaster.
func (m *mail) after(t *testing.T, n *node, b acceptedBefore, busy []string) {
	t.Helper()
	m.putOff(false)
	m.arrive(t, m.acceptAll(t, n, 10, "afterwards", "example.net", nil)...)
	m.arrive(t, slices.Concat(b.late, busy)...)
}

// restored sees what a restored service does by itself: it sends what is new, and what is not due is there still; it sends nothing again, though all of
// it is there.
func (m *mail) restored(t *testing.T, n *node, b acceptedBefore, busy []string) {
	t.Helper()
	fresh := m.acceptAll(t, n, 5, "fresh", "example.net", nil)
	m.arrive(t, fresh...)
	m.exactly(t, 1, slices.Concat(fresh, b.sent, b.late, busy)...)
	type message struct{ State, Hold string }
	for _, to := range b.late {
		var got message
		n.must(t, m.key, "GET", "/v1/messages/"+m.id(to), nil, &got)
		if got.Hold != "restored" {
			t.Errorf("%s is %+v, want it on hold", to, got)
		}
	}
	for _, to := range b.scheduled {
		var got message
		n.must(t, m.key, "GET", "/v1/messages/"+m.id(to), nil, &got)
		if got.Hold != "" || got.State != "queued" {
			t.Errorf("%s is %+v, want it to go on by itself", to, got)
		}
	}
	var why struct{ Reasons []string }
	n.must(t, m.key, "GET", "/v1/messages/"+m.id(b.late[0])+"/explain", nil, &why)
	if !strings.Contains(strings.Join(why.Reasons, " "), "restored") {
		t.Errorf("explained as %q", why.Reasons)
	}
	if shown := n.run(t, "restored", "show"); !strings.Contains(shown, "first") {
		t.Errorf("restored show: %s", shown)
	}
	if list := n.run(t, "message", "list", "--tenant", "first", "--restored"); !strings.Contains(list, "(on hold: restored)") {
		t.Errorf("message list: %s", list)
	}
}
