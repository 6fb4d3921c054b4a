package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"

	"github.com/postrider/postrider/internal/config"
)

// serveCommand runs the service.
type serveCommand struct {
	CheckConfig bool `group:"run" help:"Print every setting with its value and where it comes from, or all that is wrong with them, and end. Nothing is made and no database is asked."`
	Migrate     bool `group:"run" help:"Bring the tables in PostgreSQL to this program's version first, instead of refusing older ones. SQLite needs no such word."`
	settingsFlags
}

// Help is the text between the command's summary and its flags.
func (*serveCommand) Help() string {
	return `Settings come from flags, POSTRIDER_* variables and a file, in this order; docs/service.md explains each. SIGTERM ends it in order: /readyz says no, requests in flight finish, exit status 0. SIGHUP reads the certificate again.

Exit status: 0 ended by a signal, 64 usage, 70 a fault of this machine, 75 another process serves the data directory, 78 wrong settings.`
}

// Run checks the settings and serves until the context ends.
func (c *serveCommand) Run(p *program) (err error) {
	s, faults := c.load()
	if c.CheckConfig || len(faults) > 0 {
		_, more := newPlan(s, false)
		if err := append(faults, more...).Err(); err != nil {
			return err
		}
		return s.Print(p.stdout)
	}
	logger := newLogger(p.stderr, s)
	if s.Embedded() {
		if err := config.MakeDirectory(s.Data); err != nil {
			return fmt.Errorf("the data directory cannot be made: %w", err)
		}
		lock, err := lockData(s.Data)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, lock.Unlock()) }()
	}
	plan, faults := newPlan(s, s.Embedded())
	if err := faults.Err(); err != nil {
		return err
	}
	plan.migrate = c.Migrate || s.Embedded()
	logger.Info("starting", "version", versionText(), "data", s.Data, "database", kindOf(s), "settings", s.File())
	if err := plan.serve(p, logger); err != nil {
		logger.Error("stopped", "error", err)
		return err
	}
	logger.Info("stopped")
	return nil
}

func kindOf(s *config.Settings) string {
	if s.Embedded() {
		return "sqlite"
	}
	return "postgresql"
}

// lockData makes sure that one process serves a data directory. The kernel drops the lock when the process ends, however
// it ends.
func lockData(dir string) (*flock.Flock, error) {
	path := filepath.Join(dir, serveLockFile)
	lock := flock.New(path, flock.SetPermissions(0o600))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("the data directory cannot be locked: %w", err)
	}
	if !ok {
		who := "another process"
		if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
			who = "process " + strings.TrimSpace(string(b))
		}
		return nil, &exitError{exitTemporary, fmt.Errorf("%s serves %s already: stop it first; several processes need PostgreSQL (database_url)", who, dir)}
	}
	// For whoever is refused. That it cannot be told is no reason not to serve.
	_ = os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
	return lock, nil
}
