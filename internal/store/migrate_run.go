package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
)

const (
	// lockTry is how long a migration waits for a lock before it lets those pass who wait behind it.
	lockTry = 500 * time.Millisecond
	// lockTryOutside is the same for what holds nobody up while it waits.
	lockTryOutside = time.Minute
	// lockPause is how long it lets them.
	lockPause = time.Second
	// defaultLockPatience is MigrateConfig.LockPatience when it is 0: longer than a backup's or a report's transaction should be.
	defaultLockPatience = 5 * time.Minute
	// nodeGone is how old the last sign of life of a node is that no longer counts as at work.
	nodeGone = time.Minute
	// lockNotAvailable is PostgreSQL's code for lock_timeout.
	lockNotAvailable = "55P03"
)

// schemaState is the row that says which programs work with the tables.
type schemaState struct {
	version        int64 // of the tables for which that is known
	compatibleFrom int64
	program        string
}

const readSchemaState = "select version, compatible_from, program from schema_state"

// allow says whether a program that knows tables up to known works with those of version have, which is newer.
func (st schemaState) allow(have, known int64) error {
	if st.version < have { // nobody has said anything about these
		return &SchemaError{Have: have, Want: known}
	}
	if st.compatibleFrom > known {
		return &SchemaError{Have: have, Want: known, CompatibleFrom: st.compatibleFrom, Program: st.program}
	}
	return nil
}

// migrator applies migrations to one database, whose lock the caller holds.
type migrator struct {
	cfg     MigrateConfig
	dialect goose.Dialect
	source  fs.FS
	steps   []MigrationStep
	// open gives a connection for migrations inside or outside of transactions, and what closes it.
	open func(outside bool) (*sql.DB, func(), error)
}

func newMigrator(cfg MigrateConfig, dialect goose.Dialect, folder string, open func(bool) (*sql.DB, func(), error)) (*migrator, error) {
	source, err := fs.Sub(cfg.files, folder)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	steps, err := migrationSteps(cfg.files, folder)
	return &migrator{cfg: cfg, dialect: dialect, source: source, steps: steps, open: open}, err
}

// look is what a database says of itself before a migration.
type look struct {
	have  int64
	state schemaState
	nodes []workingNode
}

// workingNode is a node that has given a sign of life.
type workingNode struct {
	name, program string
	schema        int64
}

func (m *migrator) look(ctx context.Context) (l look, err error) {
	db, done, err := m.open(false)
	if err != nil {
		return l, err
	}
	defer done()
	if l.have, err = m.version(ctx, db); err != nil || l.have == 0 {
		return l, err
	}
	there, err := m.has(ctx, db, "schema_state")
	if err != nil || !there {
		return l, err
	}
	err = db.QueryRowContext(ctx, readSchemaState).Scan(&l.state.version, &l.state.compatibleFrom, &l.state.program)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return l, err
	}
	l.nodes, err = m.working(ctx, db)
	return l, err
}

func (m *migrator) has(ctx context.Context, db *sql.DB, table string) (bool, error) {
	text := "select count(*) from sqlite_schema where type = 'table' and name = $1"
	if m.dialect == goose.DialectPostgres {
		text = "select count(*) from (select to_regclass($1)) t(c) where c is not null"
	}
	var n int
	err := db.QueryRowContext(ctx, text, table).Scan(&n)
	return n > 0, err
}

// version is 0 for a database without tables.
func (m *migrator) version(ctx context.Context, db *sql.DB) (int64, error) {
	there, err := m.has(ctx, db, versionTable)
	if err != nil || !there {
		return 0, err
	}
	var v int64
	if err := db.QueryRowContext(ctx, "select max(version_id) from "+versionTable).Scan(&v); err != nil {
		return 0, fmt.Errorf("store: cannot read the schema version: %w", err)
	}
	return v, nil
}

// working lists the nodes at work.
func (m *migrator) working(ctx context.Context, db *sql.DB) (nodes []workingNode, err error) {
	there, err := m.has(ctx, db, "nodes")
	if err != nil || !there {
		return nil, err
	}
	text, args := "select name, version, schema_version from nodes where stopped_at is null and beat_at > $1 order by name, id", []any{time.Now().Add(-nodeGone).UnixMicro()}
	if m.dialect == goose.DialectPostgres {
		text, args = "select name, version, schema_version from nodes where stopped_at is null and beat_at > clock_timestamp() - $1::interval order by name, id", []any{nodeGone.String()}
	}
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n workingNode
		if err := rows.Scan(&n.name, &n.program, &n.schema); err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	return nodes, rows.Err()
}

// pending are the migrations to apply now, and those that are left for MigrateConfig.Contract.
func (m *migrator) pending(have int64) (now, left []MigrationStep) {
	target, known := versions(m.steps)
	if m.cfg.Contract || have == 0 {
		target = known
	}
	for _, step := range m.steps {
		switch {
		case step.Version <= have:
		case step.Version <= target:
			now = append(now, step)
		default:
			left = append(left, step)
		}
	}
	return now, left
}

// blocking are the nodes that a migration would break.
func (m *migrator) blocking(step MigrationStep, nodes []workingNode) error {
	var old []string
	for _, n := range nodes {
		if n.schema < step.CompatibleFrom {
			old = append(old, fmt.Sprintf("%s (postrider %s, schema version %d)", n.name, n.program, n.schema))
		}
	}
	if len(old) == 0 {
		return nil
	}
	return &NodesError{Migration: step.Name, CompatibleFrom: step.CompatibleFrom, Nodes: slices.Compact(old)}
}

// run applies what is missing.
func (m *migrator) run(ctx context.Context) (MigrateReport, error) {
	l, err := m.look(ctx)
	if err != nil {
		return MigrateReport{}, err
	}
	report := MigrateReport{From: l.have, To: l.have}
	if _, known := versions(m.steps); l.have > known {
		return report, l.state.allow(l.have, known)
	}
	steps, left := m.pending(l.have)
	for _, step := range left {
		report.Left = append(report.Left, step.Name)
	}
	for _, step := range steps {
		if err := m.step(ctx, step); err != nil {
			return report, err
		}
		report.To, report.Applied = step.Version, append(report.Applied, step.Name)
	}
	return report, nil
}

// step says which programs work with the tables after a migration, looks for nodes that do not, and applies it. In this order: a node that
// joins is seen first and then asks, so that one of the two notices. Asked before each, since one may take an hour.
func (m *migrator) step(ctx context.Context, step MigrationStep) error {
	before, err := m.look(ctx)
	if err != nil {
		return err
	}
	if err := m.note(ctx, step.Version, max(before.state.compatibleFrom, step.CompatibleFrom), m.cfg.Program); err != nil {
		return err
	}
	if !m.cfg.Force {
		l, err := m.look(ctx)
		if err == nil {
			err = m.blocking(step, l.nodes)
		}
		if err != nil {
			return errors.Join(err, m.note(ctx, before.state.version, before.state.compatibleFrom, before.state.program))
		}
	}
	return m.apply(ctx, step)
}

// apply applies one migration, however often that must be tried.
func (m *migrator) apply(ctx context.Context, step MigrationStep) error {
	begun := time.Now()
	told := false
	for {
		err := m.up(ctx, step)
		if err == nil {
			break
		}
		if !lockTimedOut(err) || time.Since(begun) > m.cfg.LockPatience {
			return fmt.Errorf("store: a migration failed and was taken back: %w", err)
		}
		if !told {
			m.cfg.Logger.InfoContext(ctx, "a migration waits for the end of others' transactions", "migration", step.Name, "error", err)
			told = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPause):
		}
	}
	m.cfg.Logger.InfoContext(ctx, "migration applied", "migration", step.Name, "kind", step.Kind, "duration", time.Since(begun))
	return nil
}

// note writes from which version on programs work with the tables of a version. Before the table for that exists there is nobody to
// tell.
func (m *migrator) note(ctx context.Context, version, compatibleFrom int64, program string) error {
	db, done, err := m.open(false)
	if err != nil {
		return err
	}
	defer done()
	there, err := m.has(ctx, db, "schema_state")
	if err != nil || !there {
		return err
	}
	_, err = db.ExecContext(ctx, "update schema_state set version = $1, compatible_from = $2, program = $3",
		version, compatibleFrom, program)
	return err
}

func (m *migrator) up(ctx context.Context, step MigrationStep) error {
	db, done, err := m.open(step.Outside)
	if err != nil {
		return err
	}
	defer done()
	provider, err := goose.NewProvider(m.dialect, db, m.source, goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	_, err = provider.UpTo(ctx, step.Version)
	return err
}

// lockTimedOut says whether a lock did not come in time.
func lockTimedOut(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == lockNotAvailable
}
