package store

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
)

// sqliteTx is a transaction on one connection.
type sqliteTx struct {
	c *sqliteConn
	d *sqliteDB
}

func (t *sqliteTx) postgres() bool      { return false }
func (t *sqliteTx) setTenant(uuid.UUID) {}

func (t *sqliteTx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	st, err := t.c.prepare(ctx, query)
	if err != nil {
		return 0, t.d.classify(ctx, err)
	}
	defer st.release()
	values, err := t.c.arguments(st, args)
	if err != nil {
		return 0, err
	}
	defer clear(values)
	result, err := st.stmt.ExecContext(ctx, values)
	if err != nil {
		return 0, t.d.classify(ctx, err)
	}
	return result.RowsAffected()
}

func (t *sqliteTx) query(ctx context.Context, query string, args ...any) (*rows, error) {
	st, err := t.c.prepare(ctx, query)
	if err != nil {
		return nil, t.d.classify(ctx, err)
	}
	values, err := t.c.arguments(st, args)
	if err != nil {
		st.release()
		return nil, err
	}
	defer clear(values)
	r, err := st.stmt.QueryContext(ctx, values)
	if err != nil {
		st.release()
		return nil, t.d.classify(ctx, err)
	}
	return &rows{&sqliteRows{ctx: ctx, rows: r, st: st, d: t.d, values: make([]driver.Value, len(r.Columns()))}}, nil
}

func (t *sqliteTx) row(ctx context.Context, query string, args ...any) row {
	r, err := t.query(ctx, query, args...)
	return row{r, err}
}

func (t *sqliteTx) batch(ctx context.Context, b *batch) error {
	for i, item := range b.items {
		if err := t.batchItem(ctx, item); err != nil {
			return &batchError{i, err}
		}
	}
	return nil
}

func (t *sqliteTx) batchItem(ctx context.Context, item batchItem) error {
	switch {
	case item.tenant != nil:
		return nil
	case item.each != nil:
		r, err := t.query(ctx, item.sql, item.args...)
		if err != nil {
			return err
		}
		defer r.Close()
		for r.Next() {
			if err := item.each(r); err != nil {
				return err
			}
		}
		return r.Err()
	}
	n, err := t.exec(ctx, item.sql, item.args...)
	if item.affected != nil {
		*item.affected = n
	}
	return err
}

type sqliteRows struct {
	ctx    context.Context
	rows   driver.Rows
	st     *sqliteStmt // nil: closed
	d      *sqliteDB
	values []driver.Value
	fault  error
}

func (r *sqliteRows) next() bool {
	if r.st == nil || r.fault != nil {
		return false
	}
	if r.fault = r.ctx.Err(); r.fault == nil {
		r.fault = r.rows.Next(r.values)
	}
	if r.fault != nil {
		r.close()
	}
	return r.fault == nil
}

func (r *sqliteRows) err() error {
	if errors.Is(r.fault, io.EOF) {
		return nil
	}
	return r.d.classify(r.ctx, r.fault)
}

func (r *sqliteRows) close() {
	if r.st == nil {
		return
	}
	if err := r.rows.Close(); err != nil && r.fault == nil {
		r.fault = err
	}
	r.st.release()
	r.st = nil
}

func (r *sqliteRows) scan(dest []any) error {
	if len(r.values) != len(dest) {
		return fmt.Errorf("store: %d columns for %d values", len(r.values), len(dest))
	}
	for i, d := range dest {
		if err := assign(d, r.values[i]); err != nil {
			return err
		}
	}
	return nil
}

// arguments are the values for a statement's places. They are good until the next call.
func (c *sqliteConn) arguments(st *sqliteStmt, args []any) ([]driver.NamedValue, error) {
	values := c.values[:0]
	for i := range st.places(len(args)) {
		from := i
		if st.order != nil {
			from = st.order[i]
		}
		if from >= len(args) {
			return nil, fmt.Errorf("store: a statement has no argument for $%d", from+1)
		}
		v, err := sqliteValue(args[from])
		if err != nil {
			return nil, err
		}
		values = append(values, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	c.values = values
	return values, nil
}

// sqliteValue writes times as microseconds since 1970, UUIDs as 16 octets and truth as 0 and 1. What is already as it must be is
// handed on as it is, which allocates nothing.
func sqliteValue(arg any) (driver.Value, error) {
	switch v := arg.(type) {
	case nil, int64, float64:
		return arg, nil
	case string:
		if !storable(v) {
			_, err := cleanText(v)
			return nil, err
		}
		return arg, nil
	case []byte:
		if v == nil {
			return nil, nil
		}
		return arg, nil
	case uuid.UUID:
		if v == uuid.Nil {
			return nil, nil
		}
		return v[:], nil
	case time.Time:
		if v.IsZero() {
			return nil, nil
		}
		return v.UnixMicro(), nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case int:
		return int64(v), nil
	case json.RawMessage:
		if v == nil {
			return nil, nil
		}
		return string(v), nil
	}
	v, err := argument(arg)
	if err != nil {
		return nil, err
	}
	switch v.(type) {
	case time.Time, uuid.UUID, bool:
		return sqliteValue(v)
	}
	return v, nil
}
