package store

import (
	"context"

	"github.com/google/uuid"
)

// mode says what a transaction may do.
type mode int

const (
	readOnly  mode = iota // sees one state of the database throughout
	readWrite             // on SQLite the one writer, from the beginning
	// readOne is readOnly for one single statement, for what stands before every request: on PostgreSQL it takes one
	// round trip instead of two. A second statement is refused.
	readOne
)

// tx is a transaction in a scope. Statements use $1 … $n and are the same text on both databases where they can be.
//
// Arguments may be string, []byte, int, int64, bool, float64, time.Time (zero: NULL), uuid.UUID (uuid.Nil: NULL),
// netip.Addr (invalid: NULL), json.RawMessage (nil: NULL), []string (a JSON array; nil: an empty one), types made of
// these, and pointers to them (nil: NULL). Scan takes pointers to the same types and turns NULL into the zero value.
//
// Rows must be closed before the next statement. After a failed statement the transaction must be given up, unless a
// savepoint was set with exec: PostgreSQL refuses everything after it.
type tx interface {
	// exec runs a statement and returns the number of rows that it changed.
	exec(ctx context.Context, sql string, args ...any) (int64, error)
	query(ctx context.Context, sql string, args ...any) (*rows, error)
	// row runs a query for its first row. Errors come from Scan: ErrNotFound if there is no row.
	row(ctx context.Context, sql string, args ...any) row
	// batch runs several statements, in one round trip on PostgreSQL. The first error ends it; a *batchError says
	// which statement it was.
	batch(ctx context.Context, b *batch) error
	// setTenant narrows the scope to a tenant from here on; uuid.Nil takes that back. It costs no round trip.
	setTenant(id uuid.UUID)
	// postgres reports which database it is, for statements that differ.
	postgres() bool
}

// forUpdate is what a SELECT ends with that locks its rows. SQLite has one writer, so that all is locked.
func forUpdate(t tx) string {
	if t.postgres() {
		return " for update"
	}
	return ""
}

// forShare is forUpdate for who only needs the rows to stay as they are.
func forShare(t tx) string {
	if t.postgres() {
		return " for share"
	}
	return ""
}

// rows is the answer to a query.
type rows struct {
	src rowSource
}

type rowSource interface {
	next() bool
	scan(dest []any) error
	err() error
	close()
}

// Next goes to the next row. It reports false at the end and at an error.
func (r *rows) Next() bool { return r.src.next() }

// Scan copies the row's columns to the pointers dest.
func (r *rows) Scan(dest ...any) error { return r.src.scan(dest) }

// Err is the error that ended Next, if any.
func (r *rows) Err() error { return r.src.err() }

// Close frees the connection for the next statement. It may be called twice.
func (r *rows) Close() { r.src.close() }

// row is the answer to a query for one row.
type row struct {
	rows *rows
	err  error
}

// Scan copies the row's columns to the pointers dest.
func (r row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return ErrNotFound
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}

// collect reads all rows of a query by scan.
func collect[T any](r *rows, err error, scan func(*rows) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer r.Close()
	list := []T{}
	for r.Next() {
		item, err := scan(r)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	return list, r.Err()
}

// batch is a list of statements for tx.batch.
type batch struct {
	items []batchItem
}

type batchItem struct {
	sql      string
	args     []any
	affected *int64
	each     func(*rows) error
	tenant   *uuid.UUID // setTenant instead of a statement
}

// exec adds a statement; the number of rows that it changed is put into affected, if that is not nil.
func (b *batch) exec(affected *int64, sql string, args ...any) {
	b.items = append(b.items, batchItem{sql: sql, args: args, affected: affected})
}

// query adds a query; each is called for every row.
func (b *batch) query(each func(*rows) error, sql string, args ...any) {
	b.items = append(b.items, batchItem{sql: sql, args: args, each: each})
}

// setTenant narrows the scope for the statements that follow.
func (b *batch) setTenant(id uuid.UUID) {
	b.items = append(b.items, batchItem{tenant: &id})
}

// batchError says which statement of a batch failed, counted from 0, setTenant included. PostgreSQL looks at the text of
// all statements first: for one that cannot be understood it is the first of the batch.
type batchError struct {
	index int
	err   error
}

func (e *batchError) Error() string { return e.err.Error() }
func (e *batchError) Unwrap() error { return e.err }
