package store

import (
	"context"
	"io/fs"
	"log/slog"
	"testing/fstest"
	"time"
)

// LinkHash computes what whoever rewrites the audit chain computes.
func LinkHash(prev, entry []byte) []byte { return linkHash(prev, entry) }

// EntryHash computes the hash of an entry without personal data.
func EntryHash(e AuditEntry) []byte { return entryHash(e, nil, nil) }

// Work is a kind of upkeep.
type Work struct {
	What  string
	Every time.Duration
	Piece func(ctx context.Context) (more bool, err error)
}

// RunUpkeep does works until ctx ends.
func RunUpkeep(ctx context.Context, logger *slog.Logger, works ...Work) {
	var list []*upkeepWork
	for _, w := range works {
		list = append(list, &upkeepWork{what: w.What, every: w.Every, piece: w.Piece})
	}
	runUpkeep(ctx, logger, list)
}

// NextFiles are this program's migrations and further ones, as the program of the next version has them. names end in .sql and stand
// for files in both folders.
func NextFiles(t interface{ Fatal(...any) }, more map[string]string) fs.FS {
	all := fstest.MapFS{}
	for _, folder := range []string{sqliteMigrations, postgresMigrations} {
		entries, err := fs.ReadDir(migrations, folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			text, err := fs.ReadFile(migrations, folder+"/"+e.Name())
			if err != nil {
				t.Fatal(err)
			}
			all[folder+"/"+e.Name()] = &fstest.MapFile{Data: text}
		}
		for name, text := range more {
			all[folder+"/"+name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return all
}

// AsNext makes configurations those of a program with these migrations.
func AsNext(m MigrateConfig, c Config, files fs.FS) (MigrateConfig, Config) {
	m.files, c.files = files, files
	return m, c
}

// Step is a migration with its text.
type Step struct {
	MigrationStep
	Text string
}

// OwnSteps are this program's migrations for sqlite or postgres.
func OwnSteps(folder string) (list []Step, err error) {
	steps, err := migrationSteps(migrations, "migrations/"+folder)
	for _, m := range steps {
		text, err := fs.ReadFile(migrations, "migrations/"+folder+"/"+m.Name+".sql")
		if err != nil {
			return nil, err
		}
		list = append(list, Step{m, string(text)})
	}
	return list, err
}
