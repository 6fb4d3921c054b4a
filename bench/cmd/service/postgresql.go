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
	"syscall"
)

// startPostgreSQL starts a private server with PostgreSQL's own settings, which are
// durable, on a Unix socket alone. It gives the URL of its database and what ends it.
func startPostgreSQL(ctx context.Context) (_ string, stop func() error, err error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl")
	if err != nil || len(found) == 0 {
		return "", nil, errors.Join(err, errors.New("no PostgreSQL in /usr/lib/postgresql: install the package postgresql, or measure with -databases sqlite"))
	}
	slices.Sort(found)
	bin := filepath.Dir(found[len(found)-1])
	// Not below the checkout, which user postgres may not be able to enter, nor in /tmp, which may be in memory.
	dir, err := os.MkdirTemp("/var/tmp", "postrider-bench-")
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	as, err := unprivileged(dir)
	if err != nil {
		return "", nil, err
	}
	run := func(ctx context.Context, name string, args ...string) error {
		c := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
		c.SysProcAttr, c.Dir = as, dir
		// To a file: what the server inherits would otherwise keep a pipe open.
		log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
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
	data := filepath.Join(dir, "data")
	if err := run(ctx, "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"); err != nil {
		return "", nil, err
	}
	if err := run(ctx, "pg_ctl", "-D", data, "-w", "-o", "-c listen_addresses='' -c max_connections=200 -k "+dir, "start"); err != nil {
		return "", nil, err
	}
	query := url.Values{"host": {dir}, "user": {"postgres"}, "sslmode": {"disable"}}
	return "postgres:///postgres?" + query.Encode(), func() error {
		return errors.Join(run(context.WithoutCancel(ctx), "pg_ctl", "-D", data, "-w", "-m", "fast", "stop"), os.RemoveAll(dir))
	}, nil
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
