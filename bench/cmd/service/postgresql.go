package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is a private PostgreSQL server.
type server struct {
	dir, bin string
	pid      int // of the process above all others
	as       *syscall.SysProcAttr
	made     int // databases
}

// servers gives each lab a server of its own, or a database of its own in one server for all, which is quicker.
type servers struct {
	share bool
	all   *server
}

// database gives the URL of an empty database and its server, and what ends what is the lab's own of it.
func (s *servers) database(ctx context.Context) (string, *server, func() error, error) {
	if !s.share {
		own, err := startPostgreSQL(ctx)
		if err != nil {
			return "", nil, nil, err
		}
		return own.url("postgres"), own, own.stop, nil
	}
	if s.all == nil {
		all, err := startPostgreSQL(ctx)
		if err != nil {
			return "", nil, nil, err
		}
		s.all = all
	}
	s.all.made++
	name := "lab" + strconv.Itoa(s.all.made)
	if err := s.all.run(ctx, "createdb", "-h", s.all.dir, "-U", "postgres", "-T", "template0", name); err != nil {
		return "", nil, nil, err
	}
	return s.all.url(name), s.all, func() error { return nil }, nil
}

// stop ends the server for all.
func (s *servers) stop() error {
	if s.all == nil {
		return nil
	}
	return s.all.stop()
}

// startPostgreSQL starts a private server with PostgreSQL's own settings, which are
// durable, on a Unix socket alone.
func startPostgreSQL(ctx context.Context) (_ *server, err error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl")
	if err != nil || len(found) == 0 {
		return nil, errors.Join(err, errors.New("no PostgreSQL in /usr/lib/postgresql: install the package postgresql, or measure with -databases sqlite"))
	}
	slices.Sort(found)
	s := &server{bin: filepath.Dir(found[len(found)-1])}
	// Not below the checkout, which user postgres may not be able to enter, nor in /tmp, which may be in memory.
	if s.dir, err = os.MkdirTemp("/var/tmp", "postrider-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(s.dir))
		}
	}()
	if s.as, err = unprivileged(s.dir); err != nil {
		return nil, err
	}
	if err := s.run(ctx, "initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"); err != nil {
		return nil, err
	}
	if err := s.run(ctx, "pg_ctl", "-D", s.data(), "-w", "-o", "-c listen_addresses='' -c max_connections=400 -k "+s.dir, "start"); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	first, _, _ := strings.Cut(string(text), "\n")
	if s.pid, err = strconv.Atoi(first); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

// url is that of a database, as the superuser.
func (s *server) url(name string) string {
	query := url.Values{"host": {s.dir}, "user": {"postgres"}, "sslmode": {"disable"}}
	return "postgres:///" + name + "?" + query.Encode()
}

// stop ends the server and removes what it wrote.
func (s *server) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(s.run(ctx, "pg_ctl", "-D", s.data(), "-w", "-m", "fast", "stop"), os.RemoveAll(s.dir))
}

// run runs one of PostgreSQL's programs.
func (s *server) run(ctx context.Context, name string, args ...string) error {
	c := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	c.SysProcAttr, c.Dir = s.as, s.dir
	// To a file: what the server inherits would otherwise keep a pipe open.
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	c.Stdout, c.Stderr = log, log
	if err := c.Run(); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%s: %w: %.2000s", name, err, text)
	}
	return nil
}

// unprivileged is who the server runs as: PostgreSQL refuses root. dir becomes theirs.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, os.Chown(dir, int(uid), int(gid))
}
