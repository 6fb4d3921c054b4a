package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/store"
)

// migrateCommand brings the database's tables to the version of this program.
type migrateCommand struct {
	Status bool `group:"run" help:"Only say which version the tables have. Exit status 0: this program's; 75: older, and migrate would change that; 78: newer."`
	settingsFlags
}

// Help is the text between the command's summary and its flags.
func (*migrateCommand) Help() string {
	return `On PostgreSQL it also makes the roles postrider_api and postrider_delivery and grants them to the logins of database_url and delivery_database_url; it needs a login that owns the tables and may make roles (migration_database_url). Several may run at the same time: one works, the others wait. On SQLite serve does all this by itself.`
}

// Run migrates the database.
func (c *migrateCommand) Run(p *program) error {
	s, faults := c.load()
	if err := faults.Err(); err != nil {
		return err
	}
	if c.Status {
		return c.status(p, s)
	}
	if s.Embedded() {
		if err := config.MakeDirectory(s.Data); err != nil {
			return fmt.Errorf("the data directory cannot be made: %w", err)
		}
	}
	start := time.Now()
	report, err := store.Migrate(p.ctx, migrateConfig(s, newLogger(p.stderr, s)))
	if err != nil {
		return err
	}
	for _, name := range report.Applied {
		if _, err := fmt.Fprintln(p.stdout, "applied", name); err != nil {
			return err
		}
	}
	if len(report.Applied) == 0 {
		_, err = fmt.Fprintf(p.stdout, "nothing to do: the schema has version %d\n", report.To)
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "the schema has version %d now, it had %d; %s\n", report.To, report.From, sinceMS(time.Since(start)))
	return err
}

// status compares versions without changing anything.
func (c *migrateCommand) status(p *program, s *config.Settings) error {
	if s.Embedded() {
		if _, err := os.Stat(filepath.Join(s.Data, databaseFile)); errors.Is(err, fs.ErrNotExist) {
			return &exitError{exitTemporary, fmt.Errorf("there is no database in %s yet: run postrider migrate", s.Data)}
		}
	}
	cfg := storeConfig(s, &keyring{}, slog.New(slog.DiscardHandler))
	if !s.Embedded() { // the logins of the others may have no rights yet
		cfg.URL, cfg.DeliveryURL = migrateConfig(s, nil).URL, ""
	}
	st, err := store.Open(p.ctx, cfg)
	if schema, ok := errors.AsType[*store.SchemaError](err); ok && schema.Have < schema.Want {
		return &exitError{exitTemporary, err}
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "the schema has version %d, which is this program's\n", store.SchemaVersion())
	return errors.Join(err, st.Close())
}
