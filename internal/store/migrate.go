package store

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

const (
	sqliteMigrations   = "migrations/sqlite"
	postgresMigrations = "migrations/postgres"
	// versionTable is where goose keeps the version.
	versionTable = "goose_db_version"
	// lockPoll is how often a node that waits for another's migration looks.
	lockPoll = 50 * time.Millisecond
)

// MigrateConfig configures Migrate.
type MigrateConfig struct {
	// Path is the SQLite database file, used if URL is empty. It is made if it does not exist.
	Path string
	// URL is the PostgreSQL database with a login that may do all this: a superuser, or one with BYPASSRLS and
	// CREATEROLE that may create tables.
	URL string
	// APIURL and DeliveryURL are those that Open will be given. Their logins become members of the roles
	// postrider_api and postrider_delivery. Empty APIURL: URL. Empty DeliveryURL: APIURL.
	APIURL, DeliveryURL string
	// Contract applies the last migrations too that take away what programs of the version before use. Without it they are
	// left for later; a new database gets all at once.
	Contract bool
	// Force applies what breaks nodes that are at work.
	Force bool
	// Program is this program's version, for whoever is refused later.
	Program string
	// LockPatience is how long a migration is tried again whose locks others hold. 0: 5 minutes.
	LockPatience time.Duration
	// Logger hears of every migration. Nil: nobody does.
	Logger *slog.Logger

	files fs.FS // tests have other migrations; nil: those of this program
}

// MigrateReport says what Migrate did.
type MigrateReport struct {
	From, To int64    // schema versions
	Applied  []string // names of the migrations, in order; empty if there was nothing to do
	// Left are the migrations that wait for MigrateConfig.Contract.
	Left []string
}

// SchemaVersion is the version of the tables that this program knows. It works with those of RequiredVersion on.
func SchemaVersion() int64 {
	_, known := ownVersions(migrations)
	return known
}

// RequiredVersion is the oldest version of the tables that this program works with. Between it and SchemaVersion are
// migrations that are applied when all programs of the version before have ended.
func RequiredVersion() int64 {
	needed, _ := ownVersions(migrations)
	return needed
}

func ownVersions(files fs.FS) (needed, known int64) {
	steps, err := migrationSteps(files, sqliteMigrations)
	if err != nil {
		return 0, 0 // cannot be: the folder is part of the program, and a test reads it
	}
	return versions(steps)
}

// schemaVersion reads the version of the database's tables: 0 if there are none.
func schemaVersion(ctx context.Context, t tx) (int64, error) {
	exists := "select count(*) from sqlite_schema where type = 'table' and name = $1"
	if t.postgres() {
		// The right to read it comes with the first migration.
		exists = "select count(*) from (select to_regclass($1)) t(c) where c is not null and has_table_privilege(c, 'select')"
	}
	var n, version int64
	if err := t.row(ctx, exists, versionTable).Scan(&n); err != nil || n == 0 {
		return 0, err
	}
	err := t.row(ctx, "select max(version_id) from "+versionTable).Scan(&version)
	return version, err
}

// Migrate brings the database's tables to the version that this program needs, and on PostgreSQL its roles. When several nodes
// start it at once, one works and the others wait and find nothing to do. Nodes may be at work meanwhile: no lock is waited for
// longer than half a second at a time, and what would break one is refused with a *NodesError. A database that this program
// cannot work with is refused with a *SchemaError; one that is newer and compatible is left alone.
func Migrate(ctx context.Context, cfg MigrateConfig) (MigrateReport, error) {
	cfg.defaults()
	switch {
	case cfg.URL != "":
		return migratePostgres(ctx, cfg)
	case cfg.Path != "":
		return migrateSQLite(ctx, cfg)
	}
	return MigrateReport{}, errNoDatabase
}

var errNoDatabase = errors.New("store: neither a path of a SQLite file nor a URL of a PostgreSQL database is given")

func (cfg *MigrateConfig) defaults() {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.files == nil {
		cfg.files = migrations
	}
	cfg.LockPatience = cmp.Or(cfg.LockPatience, defaultLockPatience)
}

func migrateSQLite(ctx context.Context, cfg MigrateConfig) (_ MigrateReport, err error) {
	// A file of its own: locks on the database file itself are SQLite's. The kernel drops the lock when a process dies.
	lock := flock.New(cfg.Path+".migrate", flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return MigrateReport{}, fmt.Errorf("store: cannot lock the database for migration: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	db, err := sqliteSource(cfg.Path)
	if err != nil {
		return MigrateReport{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	m, err := newMigrator(cfg, goose.DialectSQLite3, sqliteMigrations, func(bool) (*sql.DB, func(), error) { return db, func() {}, nil })
	if err != nil {
		return MigrateReport{}, err
	}
	report, err := m.run(ctx)
	return report, classifySQLite(ctx, err)
}
