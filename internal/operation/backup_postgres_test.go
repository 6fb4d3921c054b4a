package operation_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/pgtest"
)

// onPostgres makes a service on a new database, and lets it run.
func onPostgres(t *testing.T, m *mail, url string) *node {
	t.Helper()
	n := newNode(t, "only", thisProgram(t), filepath.Join(t.TempDir(), "data"), "POSTRIDER_DATABASE_URL="+url)
	n.run(t, "migrate")
	m.setUp(t, n)
	n.start(t)
	n.ready(t)
	m.register(t, n)
	return n
}

// TestBackupDump follows docs/backup.md with pg_dump and pg_restore: the nodes find out by themselves, and in the end everything is sent on purpose.
func TestBackupDump(t *testing.T) {
	t.Parallel()
	program := thisProgram(t)
	server := pgtest.Shared(t)
	m := newMail(t)
	database := server.Database(t)
	n := onPostgres(t, m, server.AdminURL(database))
	before := m.before(t, n)
	stop := m.load(t, "busy", n)
	dump := server.Dump(t, database)
	busy := stop()
	m.after(t, n, before, busy)
	n.kill()
	server.Exec(t, "postgres", "drop database "+database+" with (force)", "create database "+database+" template template0") // which the end of the test drops

	restored := newNode(t, "restored", program, n.data, "POSTRIDER_DATABASE_URL="+server.AdminURL(server.Undump(t, dump)), "POSTRIDER_EGRESS_PORTS="+m.port(t))
	restored.run(t, "migrate")
	restored.start(t)
	restored.ready(t)
	if said := restored.said(); !strings.Contains(said, "the database was restored from a backup") {
		t.Errorf("the service has not noticed: %s", said)
	}
	known := m.known(t, restored, busy) // those that the backup has
	m.restored(t, restored, before, known)

	restored.run(t, "restored", "send", "--tenant", "first")
	for _, to := range before.late {
		within(t, to+" arrives again, as was told", func() bool { return m.count(to) == 2 })
	}
	if shown := restored.run(t, "restored", "show"); !strings.Contains(shown, "nothing is on hold") {
		t.Errorf("left on hold: %s", shown)
	}
	restored.stop(t)
	for _, to := range slices.Concat(busy, before.sent) { // nothing lost; at most once more
		if c := m.count(to); c < 1 || c > 2 {
			t.Errorf("%s arrived %d times", to, c)
		}
	}
}

// known are those of the addresses whose messages a restored service knows.
func (m *mail) known(t *testing.T, n *node, to []string) (list []string) {
	t.Helper()
	for _, address := range to {
		if n.ask(t, m.key, "GET", "/v1/messages/"+m.id(address), nil, nil) == nil {
			list = append(list, address)
		}
	}
	return list
}

// TestRecovery follows docs/backup.md with pg_basebackup, archived write-ahead log, and recovery to a moment.
func TestRecovery(t *testing.T) {
	t.Parallel()
	thisProgram(t)
	server := pgtest.Start(t, pgtest.Config{NoSync: true, Settings: pgtest.Archive()})
	m := newMail(t)
	database := server.Database(t)
	n := onPostgres(t, m, server.AdminURL(database))
	base := server.BaseBackup(t)
	before := m.before(t, n)
	stop := m.load(t, "busy", n)
	within(t, "there is load", func() bool { return m.count("busy50@example.net") > 0 })
	busy := stop()
	moment := databaseTime(t, server, database) // everything so far was accepted before it
	m.after(t, n, before, busy)
	server.Exec(t, database, "select pg_switch_wal()")
	archived(t, server, database)
	n.kill()
	server.Kill(t)

	server.Recover(t, base, moment)
	n.run(t, "restored", "hold")
	n.start(t)
	n.ready(t)
	m.restored(t, n, before, busy)
	n.run(t, "message", "retry", "--tenant", "first", m.id(before.late[0]))
	within(t, "the retried one arrives again", func() bool { return m.count(before.late[0]) == 2 })
	n.run(t, "restored", "end")
	n.stop(t)
	m.exactly(t, 1, before.late[1:]...)
	m.exactly(t, 1, busy...)
}

func databaseTime(t *testing.T, server *pgtest.Server, database string) (at time.Time) {
	t.Helper()
	ask(t, server, database, "select clock_timestamp()", &at)
	return at
}

// archived waits until the write-ahead log so far is in the archive.
func archived(t *testing.T, server *pgtest.Server, database string) {
	t.Helper()
	within(t, "the log is archived", func() bool {
		var done bool
		ask(t, server, database, "select coalesce(last_archived_wal >= pg_walfile_name(pg_switch_wal()), false) from pg_stat_archiver", &done)
		return done
	})
}

func ask(t *testing.T, server *pgtest.Server, database, text string, into any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.AdminURL(database))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if err := conn.QueryRow(t.Context(), text).Scan(into); err != nil {
		t.Fatal(err)
	}
}
