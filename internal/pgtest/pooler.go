package pgtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Pooler is a running PgBouncer before a Server, in transaction mode: a server connection is a client's for one transaction, then
// another's.
type Pooler struct {
	// Addr is where it listens, as host:port on the loopback.
	Addr string

	dir     string
	process *process
}

// Pooler starts a PgBouncer with size server connections for each login and database. logins are passwords by name, beside the
// superuser's. It ends with the test, which is skipped where PgBouncer is missing.
func (s *Server) Pooler(t testing.TB, size int, logins map[string]string) *Pooler {
	t.Helper()
	p, err := s.startPooler(size, logins)
	if err != nil {
		giveUp(t, err)
	}
	t.Cleanup(func() {
		if err := p.end(); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return p
}

// SharedPooler returns a PgBouncer before the server with 2 server connections for each login and database, which lives as
// long as the server. It knows the superuser only.
func (s *Server) SharedPooler(t testing.TB) *Pooler {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pooler == nil {
		p, err := s.startPooler(2, nil)
		if err != nil {
			giveUp(t, err)
		}
		s.pooler = p
	}
	return s.pooler
}

// URL is the address of a database through the pooler.
func (p *Pooler) URL(database, user, password string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: p.Addr, Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// PoolerURL is the address of a database through a pooler, for the superuser.
func (s *Server) PoolerURL(p *Pooler, database string) string {
	return p.URL(database, Superuser, s.password)
}

func findPooler() (string, error) {
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} { // root's path may be another's not
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", &missingError{"PgBouncer is not installed; `make test` installs it"}
}

func (s *Server) startPooler(size int, logins map[string]string) (*Pooler, error) {
	bin, err := findPooler()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p := &Pooler{Addr: "127.0.0.1:" + port}
	if p.dir, err = s.owner.tempDir(false); err != nil {
		return nil, err
	}
	err = s.configurePooler(p, port, size, logins)
	if err == nil {
		err = s.runPooler(p, bin)
	}
	if err != nil {
		return nil, errors.Join(err, p.end())
	}
	return p, nil
}

func (s *Server) configurePooler(p *Pooler, port string, size int, logins map[string]string) error {
	host, serverPort, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	users := fmt.Sprintf("%q %q\n", Superuser, s.password)
	for _, name := range slices.Sorted(maps.Keys(logins)) {
		users += fmt.Sprintf("%q %q\n", name, logins[name])
	}
	if err := s.owner.write(filepath.Join(p.dir, "users"), users); err != nil {
		return err
	}
	lines := []string{
		"[databases]", "* = host=" + host + " port=" + serverPort,
		"[pgbouncer]", "listen_addr = 127.0.0.1", "listen_port = " + port, "unix_socket_dir =", "logfile = " + p.log(),
		"auth_type = scram-sha-256", "auth_file = " + filepath.Join(p.dir, "users"),
		"pool_mode = transaction", fmt.Sprintf("default_pool_size = %d", size), "max_client_conn = 500",
	}
	return s.owner.write(filepath.Join(p.dir, "pgbouncer.ini"), strings.Join(lines, "\n")+"\n")
}

func (s *Server) runPooler(p *Pooler, bin string) error {
	cmd := s.owner.command("/bin/sh", "-c", hold, "sh", p.dir, "KILL", bin, "-q", filepath.Join(p.dir, "pgbouncer.ini"))
	cmd.SysProcAttr.Setsid = true
	end, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start pgbouncer: %w", err)
	}
	p.process = &process{cmd, end}
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.PoolerURL(p, "postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		if !pause(ctx) {
			log, _ := os.ReadFile(p.log())
			return fmt.Errorf("pgbouncer does not answer: %w\n%s", err, log)
		}
	}
}

func (p *Pooler) log() string { return filepath.Join(p.dir, "log") }

// end ends it; the shell removes its directory.
func (p *Pooler) end() error {
	if p.process == nil {
		return os.RemoveAll(p.dir)
	}
	err := p.process.end.Close()
	_ = p.process.cmd.Wait() // the exit code is that of the shell's last command
	return err
}
