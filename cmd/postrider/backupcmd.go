package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/store"
)

// backupCommand copies the SQLite database.
type backupCommand struct {
	File string `arg:"" help:"The copy to make. A file of this name must not exist."`
	settingsFlags
}

// Help is the text between the command's summary and its flags.
func (*backupCommand) Help() string {
	return `Services and commands may work with the database meanwhile. When it ends with status 0, the copy is complete, checked, on the disk, and readable by its owner only: it holds messages. The keys are not in it; they belong elsewhere. For PostgreSQL use its own tools; docs/backup.md tells how.

Exit status: 0 done, 64 usage, 70 a fault of this machine, such as a full disk, 78 wrong settings.`
}

// Run makes the copy.
func (c *backupCommand) Run(p *program) error {
	s, err := embedded(&c.settingsFlags, "backup")
	if err != nil {
		return err
	}
	start := time.Now()
	r, err := store.Backup(p.ctx, filepath.Join(s.Data, databaseFile), c.File)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s: everything accepted before %s, %d octets, schema version %d; %s\n", c.File, r.Taken.Format(time.RFC3339), r.Size, r.Schema, sinceMS(time.Since(start)))
	_, err = fmt.Fprintf(p.stdout, "not in it, to be kept elsewhere once: %s\n", strings.Join(keyFiles(s), ", "))
	return err
}

// keyFiles are the files that a restored database needs, where the settings name none.
func keyFiles(s *config.Settings) []string {
	names := []string{"the keys that the settings name"}
	for _, name := range []string{sealKeysetFile, auditKeyFile, jwtSecretFile, operatorHashFile} {
		path := filepath.Join(s.Data, name)
		if _, err := os.Stat(path); err == nil {
			names = append(names, path)
		}
	}
	if len(names) > 1 {
		return names[1:]
	}
	return names
}

// restoreCommand puts a copy in place.
type restoreCommand struct {
	File string `arg:"" help:"A copy that postrider backup made."`
	settingsFlags
}

// Help is the text between the command's summary and its flags.
func (*restoreCommand) Help() string {
	return `No service may be running in the data directory. The database that is there is kept beside the new one under another name. The keys must be in place too. When serve starts, it puts on hold what may have been sent since the copy was made: postrider restored shows it and decides. docs/backup.md tells all of it.

Exit status: 0 done, 64 usage, 70 a fault of this machine or a damaged copy, 75 a service is running, 78 wrong settings.`
}

// Run puts the copy in place.
func (c *restoreCommand) Run(p *program) (err error) {
	s, err := embedded(&c.settingsFlags, "restore")
	if err != nil {
		return err
	}
	if err := config.MakeDirectory(s.Data); err != nil {
		return fmt.Errorf("the data directory cannot be made: %w", err)
	}
	lock, err := lockData(s.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	r, err := store.Restore(p.ctx, c.File, filepath.Join(s.Data, databaseFile))
	if err != nil {
		return err
	}
	taken := "at a time that it does not say"
	if !r.Taken.IsZero() {
		taken = "at " + r.Taken.Format(time.RFC3339)
	}
	fmt.Fprintf(p.stdout, "the database is the copy that was taken %s\n", taken)
	if r.Kept != "" {
		fmt.Fprintf(p.stdout, "the one before is %s\n", r.Kept)
	}
	_, err = fmt.Fprintln(p.stdout, "start postrider serve, then see postrider restored show: what may have been sent since is on hold")
	return err
}

// embedded reads the settings for a command that works on a SQLite file.
func embedded(f *settingsFlags, command string) (*config.Settings, error) {
	s, faults := f.load()
	if err := faults.Err(); err != nil {
		return nil, err
	}
	if !s.Embedded() {
		return nil, &exitError{exitConfig, fmt.Errorf("postrider %s is for SQLite, and database_url names PostgreSQL: use its own tools; docs/backup.md tells how", command)}
	}
	return s, nil
}
