package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// BackupReport says what Backup made, or what Restore put in place.
type BackupReport struct {
	Taken  time.Time // when the copy was begun: what was accepted before is in it
	Schema int64     // version of its tables
	Size   int64     // octets
	// Kept is where Restore put the database that was there; empty: there was none.
	Kept string
}

// Backup copies a SQLite database into a new file, while services and commands work with it: one state of it, as of the
// beginning. The copy is checked, on the disk, and readable by its owner only when Backup returns. It carries a mark by which
// a service knows that it was restored. Nobody waits meanwhile, but the write-ahead log grows with what is written.
func Backup(ctx context.Context, path, to string) (BackupReport, error) {
	if _, err := os.Stat(path); err != nil {
		return BackupReport{}, fmt.Errorf("store: there is no database to copy: %w", err)
	}
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return BackupReport{}, fmt.Errorf("store: %s exists already: give another name", to)
	}
	part, err := emptyPart(to)
	if err != nil {
		return BackupReport{}, err
	}
	defer os.Remove(part) // after success it has its name
	report := BackupReport{Taken: time.Now().UTC().Truncate(time.Second)}
	if err := vacuumInto(ctx, path, part); err != nil {
		return BackupReport{}, err
	}
	if report.Schema, err = checkCopy(ctx, part, report.Taken); err != nil {
		return BackupReport{}, err
	}
	if report.Size, err = syncFile(part); err != nil {
		return BackupReport{}, err
	}
	if err := os.Link(part, to); errors.Is(err, fs.ErrExist) {
		return BackupReport{}, fmt.Errorf("store: %s exists already: give another name", to)
	} else if err != nil { // a file system without links
		if err := os.Rename(part, to); err != nil {
			return BackupReport{}, fmt.Errorf("store: %w", err)
		}
	}
	return report, syncDir(filepath.Dir(to))
}

// emptyPart makes the file beside to that becomes it in the end.
func emptyPart(to string) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+".*.part") // mode 0600
	if err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	return f.Name(), f.Close()
}

func vacuumInto(ctx context.Context, path, part string) (err error) {
	db, err := sqliteSource(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, "vacuum into $1", part)
	return classifySQLite(ctx, err)
}

// openCopy opens a file that no service uses, without side files.
func openCopy(path string) (*sql.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	query := url.Values{"_pragma": {"journal_mode(DELETE)", "synchronous(FULL)", "trusted_schema(OFF)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// checkCopy reads all of a copy, and marks it as a backup that was taken at a time, if that is given. It returns its schema version.
func checkCopy(ctx context.Context, path string, taken time.Time) (schema int64, err error) {
	db, err := openCopy(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var verdict string
	if err := db.QueryRowContext(ctx, "pragma integrity_check(1)").Scan(&verdict); err != nil {
		return 0, classifySQLite(ctx, err)
	}
	if verdict != "ok" {
		return 0, fmt.Errorf("%w: %s", ErrDamaged, verdict)
	}
	var tables int
	err = db.QueryRowContext(ctx, "select count(*) from sqlite_schema where type = 'table' and name in ($1, 'messages', 'tenants')", versionTable).Scan(&tables)
	if err != nil {
		return 0, classifySQLite(ctx, err)
	}
	if tables != 3 {
		return 0, fmt.Errorf("store: %s is no database of postrider", path)
	}
	if err := db.QueryRowContext(ctx, "select max(version_id) from "+versionTable).Scan(&schema); err != nil {
		return 0, classifySQLite(ctx, err)
	}
	if taken.IsZero() {
		return schema, nil
	}
	if schema < operationSchema { // it has no place for the mark; the file beside the database tells then
		return schema, nil
	}
	_, err = db.ExecContext(ctx, "update installation set backup_at = $1", taken.UnixMicro())
	return schema, classifySQLite(ctx, err)
}

// operationSchema is the schema version that has the table installation.
const operationSchema = 5

func syncFile(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	info, err := f.Stat()
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	return info.Size(), nil
}

// Restore puts a copy that Backup made in the place of a SQLite database, which no process may have open. What was there is kept
// beside it, with its write-ahead log, under another name. If it is interrupted, it is run again.
func Restore(ctx context.Context, from, path string) (BackupReport, error) {
	part, err := emptyPart(path)
	if err != nil {
		return BackupReport{}, err
	}
	defer os.Remove(part) // after success it has its name
	if err := copyInto(ctx, from, part); err != nil {
		return BackupReport{}, err
	}
	var report BackupReport
	if report.Schema, err = checkCopy(ctx, part, time.Time{}); err != nil {
		return BackupReport{}, err
	}
	if report.Taken, err = takenAt(ctx, part, report.Schema); err != nil {
		return BackupReport{}, err
	}
	if report.Size, err = syncFile(part); err != nil {
		return BackupReport{}, err
	}
	if report.Kept, err = keep(path); err != nil {
		return BackupReport{}, err
	}
	if err := os.Rename(part, path); err != nil {
		return BackupReport{}, fmt.Errorf("store: %w", err)
	}
	return report, syncDir(filepath.Dir(path))
}

func copyInto(ctx context.Context, from, part string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(part, os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	_, err = io.Copy(out, readerFunc(func(b []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return in.Read(b)
	}))
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// takenAt is when a copy was taken; zero if it does not say. A copy that was made otherwise is marked now, so that the service knows it.
func takenAt(ctx context.Context, path string, schema int64) (at time.Time, err error) {
	if schema < operationSchema {
		return at, nil
	}
	db, err := openCopy(path)
	if err != nil {
		return at, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var micros sql.NullInt64
	if err := db.QueryRowContext(ctx, "select coalesce(backup_at, seen_at) from installation").Scan(&micros); err != nil {
		return at, classifySQLite(ctx, err)
	}
	if !micros.Valid {
		micros.Int64 = time.Now().UnixMicro()
	}
	_, err = db.ExecContext(ctx, "update installation set backup_at = $1", micros.Int64)
	return time.UnixMicro(micros.Int64).UTC(), classifySQLite(ctx, err)
}

// keep gives the database that is there another name. Its write-ahead log belongs to it: it would damage the copy.
func keep(path string) (string, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", errors.Join(removeSides(path))
	}
	kept := path + ".replaced-" + time.Now().UTC().Format("20060102T150405.000Z")
	for _, side := range []string{"", "-wal"} {
		if err := os.Link(path+side, kept+side); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("store: %w", err)
		}
	}
	return kept, removeSides(path)
}

func removeSides(path string) error {
	for _, side := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + side); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("store: %w", err)
		}
	}
	return nil
}
