package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// sqliteBusy is how long a transaction waits for another process, such as an administration command.
	sqliteBusy = 10 * time.Second
	// sqliteStatements bounds the prepared statements of a connection.
	sqliteStatements = 500
)

// readerCache is smaller than the writer's cache: a reader's pages are thrown away whenever something was committed meanwhile, and there
// are many readers.
const readerCache = "pragma cache_size = -1024" // KiB

// sqliteDB is the database file: one connection that writes, and some that read.
type sqliteDB struct {
	db      *sql.DB
	writer  *sqlitePool
	readers *sqlitePool
	path    string
	file    fs.FileInfo // what was opened
	// damaged stays set: what could not be read once makes everything else doubtful, until somebody has looked.
	damaged atomic.Bool
}

// sqliteSource opens the file with the settings of every connection. The journal mode is a property of the file.
func sqliteSource(path string) (*sql.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := createPrivate(path); err != nil {
		return nil, err
	}
	query := url.Values{"_pragma": {
		"busy_timeout(" + strconv.FormatInt(sqliteBusy.Milliseconds(), 10) + ")",
		"journal_mode(WAL)",
		"synchronous(FULL)", // a commit is on the disk when it returns
		"foreign_keys(ON)",
		"cache_size(-8192)", // KiB: spool and indexes of a busy installation. The driver takes twice that for it
		"trusted_schema(OFF)",
	}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", path, err)
	}
	return db, nil
}

// createPrivate makes the file before SQLite does, readable by its owner only; SQLite gives its side files the same
// mode. A file that exists is not opened: closing it would drop the locks that SQLite holds in this process.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		if info.Mode().Perm()&0o077 == 0 {
			return nil
		}
		if err := os.Chmod(path, 0o600); err != nil {
			return fmt.Errorf("store: the database must be readable by its owner only: %w", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("store: cannot make the database: %w", err)
	}
	return f.Close()
}

func openSQLite(path string, maxConns int) (*sqliteDB, error) {
	db, err := sqliteSource(path)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(maxConns + 1)
	db.SetMaxIdleConns(maxConns + 1)
	file, err := os.Stat(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: %w", err), db.Close())
	}
	return &sqliteDB{db: db, writer: newSQLitePool(db, 1, ""), readers: newSQLitePool(db, maxConns, readerCache), path: path, file: file}, nil
}

// ping reads the head of the file, remembers damage that any call has met, and notices that the file was taken away from
// under us: SQLite would go on writing to one that has no name any more.
func (d *sqliteDB) ping(ctx context.Context) error {
	if d.damaged.Load() {
		return ErrDamaged
	}
	if now, err := os.Stat(d.path); err != nil || !os.SameFile(now, d.file) {
		return fmt.Errorf("%w: %s was removed or replaced under the running service", ErrDamaged, d.path)
	}
	return d.run(ctx, scope{}, readOnly, func(t tx) error {
		var n int
		return t.row(ctx, "select count(*) from sqlite_schema").Scan(&n)
	})
}

func (d *sqliteDB) close() error {
	d.writer.close()
	d.readers.close()
	return d.db.Close()
}

func (d *sqliteDB) run(ctx context.Context, _ scope, m mode, fn func(tx) error) error {
	pool, begin := d.readers, "begin"
	if m == readWrite {
		pool, begin = d.writer, "begin immediate"
	}
	c, err := pool.take(ctx)
	if err != nil {
		return err
	}
	defer pool.give(c)
	return c.use(func() error { return d.transact(ctx, c, begin, fn) })
}

// transact runs fn between begin and commit.
func (d *sqliteDB) transact(ctx context.Context, c *sqliteConn, begin string, fn func(tx) error) (err error) {
	t := &sqliteTx{c: c, d: d}
	panicking, done := true, false
	defer func() { // also when fn panics
		if !done {
			_, rollback := t.exec(context.WithoutCancel(ctx), "rollback")
			// An error such as a full disk may have rolled back already; then there is none to end, which is no fault.
			c.broken = c.broken || panicking || rollback != nil && !strings.Contains(rollback.Error(), "no transaction is active")
		}
	}()
	if _, err := t.exec(ctx, begin); err != nil {
		panicking = false
		return err
	}
	err = fn(t)
	panicking = false
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// What is committed must be reported as committed: the end of ctx does not interrupt it. It takes one sync of the disk.
	if _, err := t.exec(context.WithoutCancel(ctx), "commit"); err != nil {
		return err
	}
	done = true
	return nil
}

// classify is classifySQLite that remembers damage.
func (d *sqliteDB) classify(ctx context.Context, err error) error {
	err = classifySQLite(ctx, err)
	if errors.Is(err, ErrDamaged) {
		d.damaged.Store(true)
	}
	return err
}

// classifySQLite turns what SQLite says into the errors of this package.
func classifySQLite(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil { // SQLite says "interrupted"
		return ctx.Err()
	}
	if errors.Is(err, sql.ErrConnDone) {
		return unavailable(err)
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return &ConflictError{Field: sqliteConflict(e.Error())}
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return fmt.Errorf("%w: %w", errReference, err)
	}
	switch e.Code() & 0xff { // the primary code
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL:
		return unavailable(err)
	}
	return fmt.Errorf("store: %w", err)
}

// sqliteConflict reads the field from "UNIQUE constraint failed: users.tenant_id, users.email_key (2067)": the last
// column, without the ending of the columns that hold a value in the form in which it is compared.
func sqliteConflict(text string) string {
	_, columns, _ := strings.Cut(text, "failed: ")
	columns, _, _ = strings.Cut(columns, " (")
	column := columns[strings.LastIndexByte(columns, '.')+1:]
	return strings.TrimSuffix(column, "_key")
}
