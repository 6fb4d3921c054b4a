package pgtest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Archive are settings for Start that keep the write-ahead log for Recover.
func Archive() []string {
	return []string{"archive_mode = on", "archive_command = 'mkdir -p ../archive && test ! -f ../archive/%f && cp %p ../archive/%f'"}
}

// Dump writes a database into a file with pg_dump, as an administrator does, and returns its name. It is removed with the server.
func (s *Server) Dump(t testing.TB, database string) string {
	t.Helper()
	file := filepath.Join(s.dir, database+".dump")
	s.tool(t, "pg_dump", "--format=custom", "--file="+file, s.AdminURL(database))
	return file
}

// Undump makes a new database of such a file with pg_restore, and returns its name. It is dropped at the end of the test.
func (s *Server) Undump(t testing.TB, file string) string {
	t.Helper()
	database := s.Database(t)
	s.tool(t, "pg_restore", "--exit-on-error", "--single-transaction", "--dbname="+s.AdminURL(database), file)
	return database
}

// BaseBackup copies the whole server with pg_basebackup, and returns where. Recover begins with it.
func (s *Server) BaseBackup(t testing.TB) string {
	t.Helper()
	to := filepath.Join(s.dir, "base")
	s.tool(t, "pg_basebackup", "--pgdata="+to, "--checkpoint=fast", "--wal-method=stream", "--no-sync", "--dbname="+s.AdminURL("postgres"))
	return to
}

// Recover replaces the data of a server that does not run by a base backup, and recovers it to a moment from the archived write-ahead log. It returns when
// the server takes writes.
func (s *Server) Recover(t testing.TB, base string, until time.Time) {
	t.Helper()
	if s.Running() {
		t.Fatal("pgtest: the server runs")
	}
	if err := os.RemoveAll(s.data()); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	if err := os.Rename(base, s.data()); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	conf := filepath.Join(s.data(), "postgresql.auto.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	text = append(text, fmt.Sprintf("\nrestore_command = 'cp ../archive/%%f %%p'\nrecovery_target_time = '%s'\nrecovery_target_action = 'promote'\n",
		until.UTC().Format("2006-01-02 15:04:05.000000-07"))...)
	if err := s.owner.write(conf, string(text)); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	if err := s.owner.write(filepath.Join(s.data(), "recovery.signal"), ""); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	if err := s.run(); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	s.await(t, "the server ends its recovery", "select not pg_is_in_recovery()")
}

// tool runs one of PostgreSQL's programs as the server's owner.
func (s *Server) tool(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := s.owner.command(filepath.Join(s.bin, name), args...).CombinedOutput(); err != nil {
		t.Fatalf("pgtest: %s: %v\n%s", name, err, out)
	}
}
