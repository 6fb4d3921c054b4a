package store

import (
	"context"

	"github.com/google/uuid"
)

// Scopes and modes of transactions, for tests of the adapters.
const (
	ReadOnly  = readOnly
	ReadWrite = readWrite
	ReadOne   = readOne
)

// TestTx is a transaction that tests can use.
type TestTx struct{ t tx }

// Run runs fn for a tenant; for delivery if the tenant is uuid.Nil.
func (s *Store) Run(ctx context.Context, tenant uuid.UUID, m mode, fn func(TestTx) error) error {
	if tenant == uuid.Nil {
		return s.asDelivery(ctx, m, func(t tx) error { return fn(TestTx{t}) })
	}
	return s.inTenant(ctx, tenant, m, func(t tx) error { return fn(TestTx{t}) })
}

func (t TestTx) Postgres() bool         { return t.t.postgres() }
func (t TestTx) SetTenant(id uuid.UUID) { t.t.setTenant(id) }

func (t TestTx) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	return t.t.exec(ctx, sql, args...)
}

func (t TestTx) Row(ctx context.Context, sql string, args []any, dest ...any) error {
	return t.t.row(ctx, sql, args...).Scan(dest...)
}

func (t TestTx) Each(ctx context.Context, fn func(scan func(...any) error) error, sql string, args ...any) error {
	r, err := t.t.query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer r.Close()
	for r.Next() {
		if err := fn(r.Scan); err != nil {
			return err
		}
	}
	return r.Err()
}

// Batch runs statements without arguments; a nil entry in affected is not asked for. failed is the statement that
// failed; -1 if none did.
func (t TestTx) Batch(ctx context.Context, affected []int64, statements ...string) (failed int, err error) {
	b := &batch{}
	for i, text := range statements {
		b.exec(&affected[i], text)
	}
	err = t.t.batch(ctx, b)
	if e, ok := err.(*batchError); ok { //nolint:errorlint // batch says that it returns it bare
		return e.index, err
	}
	return -1, err
}

// ClassifySQLite is what the store makes of SQLite's errors.
func ClassifySQLite(err error) error { return classifySQLite(context.Background(), err) }

// Errors that never leave the package.
var (
	ErrAgain     = errAgain
	ErrReference = errReference
)
