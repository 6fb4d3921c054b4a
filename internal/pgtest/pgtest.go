// Package pgtest runs a real PostgreSQL server for tests: a private one with a data directory, port and password of
// its own, one for a test binary ([Shared]) or one for a test that stops and kills it ([Start]). Each test gets a
// database of its own, quickly, as a copy of one that was prepared once ([Server.Clone]).
//
// The server ends with the test binary whatever happens to that: a shell holds it and waits for the end of a pipe from
// us, which the kernel closes when we die. As root, which PostgreSQL refuses, the server runs as user postgres.
//
// It is test support: only tests import it, and it knows nothing of our tables. Where PostgreSQL is missing the test
// is skipped with a text that contains "real server", or fails if the environment variable
// POSTRIDER_TEST_REQUIRE_SERVERS is 1.
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// requireEnv, set to 1, turns a skip for want of a server into a failure.
const requireEnv = "POSTRIDER_TEST_REQUIRE_SERVERS"

// Superuser is the login that may do everything.
const Superuser = "postgres"

// Config configures a server.
type Config struct {
	// NoSync turns fsync off and keeps the data in memory if there is enough: quicker, and of no use where durability
	// is tested or measured.
	NoSync bool
	// Settings are lines for postgresql.conf, such as "max_connections = 20".
	Settings []string
}

// Server is a running PostgreSQL. Its methods fail the test if they cannot do what they say.
type Server struct {
	// Addr is where it listens, as host:port on the loopback. SocketDir is the directory of its Unix socket.
	Addr, SocketDir string

	dir      string // holds the data directory, the socket and the log
	bin      string // holds initdb and postgres
	port     string
	password string
	owner    *owner

	mu      sync.Mutex
	process *process // nil when not running
	pooler  *Pooler  // nil until SharedPooler
	// made are the templates by name, each made once.
	made map[string]error
}

// shared is the server of this test binary: one for all packages' tests in it would be started by whichever comes
// first, and nobody is the last, so it lives as long as the binary. It is run with NoSync.
var shared = sync.OnceValues(func() (*Server, error) { return start(Config{NoSync: true}) })

// Shared returns the server of this test binary. Tests must not stop it.
func Shared(t testing.TB) *Server {
	t.Helper()
	s, err := shared()
	if err != nil {
		giveUp(t, err)
	}
	return s
}

// Start starts a server for one test, which may stop and kill it. It is removed at the end of the test.
func Start(t testing.TB, cfg Config) *Server {
	t.Helper()
	s, err := start(cfg)
	if err != nil {
		giveUp(t, err)
	}
	t.Cleanup(func() {
		if err := s.remove(); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return s
}

// missingError says that the server cannot run here.
type missingError struct{ reason string }

func (e *missingError) Error() string { return e.reason }

func giveUp(t testing.TB, err error) {
	t.Helper()
	if _, ok := errors.AsType[*missingError](err); ok && os.Getenv(requireEnv) != "1" {
		t.Skipf("pgtest: real server: %v", err)
	}
	t.Fatalf("pgtest: real server: %v", err)
}

func start(cfg Config) (*Server, error) {
	bin, err := findPrograms()
	if err != nil {
		return nil, err
	}
	as, err := findOwner()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, owner: as, password: rand.Text(), made: map[string]error{}}
	if s.dir, err = as.tempDir(cfg.NoSync); err != nil {
		return nil, err
	}
	if err := s.prepare(cfg); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	if err := s.run(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	return s, nil
}

// prepare makes the data directory.
func (s *Server) prepare(cfg Config) error {
	secret := filepath.Join(s.dir, "password")
	if err := s.owner.write(secret, s.password); err != nil {
		return err
	}
	// initdb's own sync is for a machine that loses power before the first start.
	out, err := s.owner.command(filepath.Join(s.bin, "initdb"), "--pgdata", s.data(), "--username", Superuser, "--pwfile", secret,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if s.port, err = freePort(); err != nil {
		return err
	}
	s.Addr, s.SocketDir = "127.0.0.1:"+s.port, s.dir
	lines := []string{
		"listen_addresses = '127.0.0.1'", "port = " + s.port, "unix_socket_directories = '" + s.dir + "'",
		"max_connections = 200", "shared_buffers = 64MB", "log_min_messages = warning", "timezone = 'UTC'",
	}
	if cfg.NoSync {
		lines = append(lines, "fsync = off", "full_page_writes = off", "synchronous_commit = off")
	}
	return s.owner.write(filepath.Join(s.data(), "postgresql.auto.conf"), strings.Join(append(lines, cfg.Settings...), "\n")+"\n")
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// URL is the address of a database for a login.
func (s *Server) URL(database, user, password string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: s.Addr, Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// AdminURL is the address of a database for the superuser.
func (s *Server) AdminURL(database string) string { return s.URL(database, Superuser, s.password) }

// Exec runs statements as the superuser.
func (s *Server) Exec(t testing.TB, database string, statements ...string) {
	t.Helper()
	// Not the test's context: cleanups run statements after its end.
	if err := s.exec(context.Background(), database, statements...); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
}

func (s *Server) exec(ctx context.Context, database string, statements ...string) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.AdminURL(database))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// Sessions tells what the server's sessions are doing, for the report of a failed test.
func (s *Server) Sessions() string {
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.AdminURL("postgres"))
	if err != nil {
		return err.Error()
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, `select format('%s %s %s, %s %s, transaction since %s, state since %s, waits for %s: %s', pid, usename, application_name, state,
		wait_event, clock_timestamp() - xact_start, clock_timestamp() - state_change, pg_blocking_pids(pid), left(query, 200))
		from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() order by xact_start`)
	if err != nil {
		return err.Error()
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return strings.Join(list, "\n") + fmt.Sprintln("\nerror:", err)
}

// Login makes a login with a password of its own and returns that. attributes are further words of CREATE ROLE, such
// as "BYPASSRLS". A login belongs to the whole server: its name should be the test's.
func (s *Server) Login(t testing.TB, name, attributes string) (password string) {
	t.Helper()
	password = rand.Text()
	s.Exec(t, "postgres", fmt.Sprintf("create role %s login password '%s' %s", pgx.Identifier{name}.Sanitize(), password, attributes))
	return password
}

// Database makes an empty database and returns its name. It is dropped at the end of the test.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	return s.create(t, "template0")
}

// Clone makes a copy of the database that prepare has filled, and returns its name. prepare runs once for each name in
// the life of the server, with the URL of the superuser. The copy is dropped at the end of the test.
func (s *Server) Clone(t testing.TB, name string, prepare func(url string) error) string {
	t.Helper()
	template := "template_" + name
	s.mu.Lock()
	err, known := s.made[name]
	if !known {
		err = s.exec(context.Background(), "postgres", "create database "+pgx.Identifier{template}.Sanitize()+" template template0")
		if err == nil {
			err = prepare(s.AdminURL(template))
		}
		s.made[name] = err
	}
	s.mu.Unlock()
	if err != nil {
		t.Fatalf("pgtest: template %s: %v", name, err)
	}
	return s.create(t, template)
}

func (s *Server) create(t testing.TB, template string) string {
	t.Helper()
	name := "t" + strings.ToLower(rand.Text())
	s.Exec(t, "postgres", "create database "+name+" template "+pgx.Identifier{template}.Sanitize())
	t.Cleanup(func() {
		if s.Running() {
			s.Exec(t, "postgres", "drop database "+name+" with (force)")
		}
	})
	return name
}
