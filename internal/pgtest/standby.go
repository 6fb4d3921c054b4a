package pgtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Standby starts a standby of s: a server of its own at an address of its own, which follows s by streaming replication
// and answers questions that change nothing. It is removed at the end of the test.
func (s *Server) Standby(t testing.TB) *Server {
	t.Helper()
	b := &Server{bin: s.bin, owner: s.owner, password: s.password, made: map[string]error{}}
	var err error
	if b.dir, err = b.owner.tempDir(strings.HasPrefix(s.dir, memory)); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := b.remove(); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	if b.port, err = freePort(); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	b.Addr, b.SocketDir = "127.0.0.1:"+b.port, b.dir
	b.Follow(t, s)
	return b
}

// Follow makes a server that does not run a standby of primary, with a fresh copy of its data: so one that was killed comes
// back after its standby has taken over. It returns when the standby streams.
func (s *Server) Follow(t testing.TB, primary *Server) {
	t.Helper()
	if s.Running() {
		t.Fatal("pgtest: the server runs")
	}
	if err := os.RemoveAll(s.data()); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	c := s.owner.command(filepath.Join(s.bin, "pg_basebackup"), "--pgdata", s.data(), "--host", "127.0.0.1", "--port", primary.port,
		"--username", Superuser, "--write-recovery-conf", "--wal-method", "stream", "--checkpoint", "fast", "--no-sync")
	c.Env = append(c.Env, "PGPASSWORD="+primary.password)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("pgtest: pg_basebackup: %v\n%s", err, out)
	}
	// Of two lines for one setting the later one counts.
	conf := filepath.Join(s.data(), "postgresql.auto.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	text = append(text, fmt.Sprintf("\nport = %s\nunix_socket_directories = '%s'\nsynchronous_standby_names = ''\nwal_retrieve_retry_interval = '200ms'\n", s.port, s.dir)...)
	if err := s.owner.write(conf, string(text)); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	if err := s.run(); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	primary.await(t, "the standby streams", "select exists (select from pg_stat_replication where state = 'streaming')")
}

// Synchronous says whether each commit of s waits until a standby has written it. It returns when it is so.
func (s *Server) Synchronous(t testing.TB, on bool) {
	t.Helper()
	names := ""
	if on {
		names = "*"
	}
	s.Exec(t, "postgres", "alter system set synchronous_standby_names = '"+names+"'", "select pg_reload_conf()")
	if on {
		s.await(t, "the standby is synchronous", "select exists (select from pg_stat_replication where sync_state = 'sync')")
	}
}

// Promote makes a standby a primary. It returns when the server takes changes.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	s.Exec(t, "postgres", "select pg_promote(false)")
	s.await(t, "the server is promoted", "select not pg_is_in_recovery()")
}

// await asks until the answer is yes.
func (s *Server) await(t testing.TB, what, question string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.AdminURL("postgres"))
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for {
		var yes bool
		if err := conn.QueryRow(ctx, question).Scan(&yes); err != nil {
			t.Fatalf("pgtest: %s: %v", what, err)
		}
		if yes {
			return
		}
		if !pause(ctx) {
			t.Fatalf("pgtest: not within %v: %s\n%s", startWait, what, s.Log())
		}
	}
}
