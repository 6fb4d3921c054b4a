package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
)

// MigratePlan is what Migrate would do.
type MigratePlan struct {
	// Have is the schema version of the database, 0 if it has no tables; Needed is what this program works with at least, Known
	// the newest that it knows.
	Have, Needed, Known int64
	// Steps are the migrations that would be applied, Left those that wait for MigrateConfig.Contract.
	Steps, Left []MigrationStep
	// Nodes are those at work, with their programs' versions.
	Nodes []string
	// Blocked is why it would be refused: a *SchemaError, or a *NodesError for the first migration that would break a node. Nil: it
	// would not.
	Blocked error
}

// PlanMigration says what Migrate would do with the same configuration, and changes nothing.
func PlanMigration(ctx context.Context, cfg MigrateConfig) (MigratePlan, error) {
	cfg.defaults()
	m, done, err := planner(cfg)
	if err != nil {
		return MigratePlan{}, err
	}
	defer done()
	l, err := m.look(ctx)
	if err != nil {
		return MigratePlan{}, classifyPostgres(ctx, nil, classifySQLite(ctx, err))
	}
	p := MigratePlan{Have: l.have}
	p.Needed, p.Known = versions(m.steps)
	p.Steps, p.Left = m.pending(l.have)
	for _, n := range l.nodes {
		p.Nodes = append(p.Nodes, fmt.Sprintf("%s (postrider %s, schema version %d)", n.name, n.program, n.schema))
	}
	if l.have > p.Known {
		p.Blocked = l.state.allow(l.have, p.Known)
	}
	for _, step := range p.Steps {
		if p.Blocked == nil && !cfg.Force {
			p.Blocked = m.blocking(step, l.nodes)
		}
	}
	return p, nil
}

// planner is a migrator that only looks.
func planner(cfg MigrateConfig) (*migrator, func(), error) {
	if cfg.URL == "" && cfg.Path == "" {
		return nil, nil, errNoDatabase
	}
	if cfg.URL != "" {
		config, err := pgx.ParseConfig(cfg.URL)
		if err != nil {
			return nil, nil, urlError(err)
		}
		if config.ConnectTimeout == 0 {
			config.ConnectTimeout = dialTimeout
		}
		m, err := newMigrator(cfg, goose.DialectPostgres, postgresMigrations, func(outside bool) (*sql.DB, func(), error) { return migrationPool(config, outside) })
		return m, func() {}, err
	}
	if _, err := os.Stat(cfg.Path); errors.Is(err, fs.ErrNotExist) { // SQLite would make it
		m, err := newMigrator(cfg, goose.DialectSQLite3, sqliteMigrations, func(bool) (*sql.DB, func(), error) {
			db, err := sql.Open("sqlite", ":memory:")
			return db, func() { _ = db.Close() }, err
		})
		return m, func() {}, err
	}
	db, err := sqliteSource(cfg.Path)
	if err != nil {
		return nil, nil, err
	}
	m, err := newMigrator(cfg, goose.DialectSQLite3, sqliteMigrations, func(bool) (*sql.DB, func(), error) { return db, func() {}, nil })
	return m, func() { _ = db.Close() }, err
}
