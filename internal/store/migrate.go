package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strconv"
	"strings"
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
	// Logger hears of every migration. Nil: nobody does.
	Logger *slog.Logger
}

// MigrateReport says what Migrate did.
type MigrateReport struct {
	From, To int64    // schema versions
	Applied  []string // names of the migrations, in order; empty if there was nothing to do
}

// SchemaVersion is the version of the tables that this program needs.
func SchemaVersion() int64 {
	var last int64
	entries, err := fs.ReadDir(migrations, sqliteMigrations)
	if err != nil {
		return 0 // cannot be: the folder is part of the program
	}
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "_")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			last = max(last, n)
		}
	}
	return last
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

// Migrate brings the database's tables to this program's version, and on PostgreSQL its roles. When several nodes
// start it at once, one works and the others wait and find nothing to do. A database that is newer than the program is
// refused with a *SchemaError.
func Migrate(ctx context.Context, cfg MigrateConfig) (MigrateReport, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case cfg.URL != "":
		return migratePostgres(ctx, cfg)
	case cfg.Path != "":
		return migrateSQLite(ctx, cfg)
	}
	return MigrateReport{}, errors.New("store: neither a path of a SQLite file nor a URL of a PostgreSQL database is given")
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
	report, err := migrateUp(ctx, cfg, goose.DialectSQLite3, db, sqliteMigrations)
	return report, classifySQLite(ctx, err)
}

// migrateUp applies what is missing. The caller holds a lock on the database.
func migrateUp(ctx context.Context, cfg MigrateConfig, dialect goose.Dialect, db *sql.DB, folder string) (MigrateReport, error) {
	source, err := fs.Sub(migrations, folder)
	if err != nil {
		return MigrateReport{}, fmt.Errorf("store: %w", err)
	}
	provider, err := goose.NewProvider(dialect, db, source, goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return MigrateReport{}, fmt.Errorf("store: %w", err)
	}
	have, err := provider.GetDBVersion(ctx)
	if err != nil {
		return MigrateReport{}, fmt.Errorf("store: cannot read the schema version: %w", err)
	}
	report := MigrateReport{From: have, To: SchemaVersion()}
	if have > report.To {
		return MigrateReport{}, &SchemaError{Have: have, Want: report.To}
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return MigrateReport{}, fmt.Errorf("store: a migration failed and was taken back: %w", err)
	}
	for _, r := range results {
		name := strings.TrimSuffix(path.Base(r.Source.Path), ".sql")
		cfg.Logger.InfoContext(ctx, "migration applied", "migration", name, "duration", r.Duration)
		report.Applied = append(report.Applied, name)
	}
	return report, nil
}
