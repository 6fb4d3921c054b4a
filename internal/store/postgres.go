package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// acquireTimeout bounds the wait for a connection while all are in use: more than that, and callers pile up.
	acquireTimeout = 10 * time.Second
	// rollbackTimeout bounds taking back a transaction whose context may have ended.
	rollbackTimeout = 5 * time.Second
	// maxRuns is how often a transaction is tried that loses against others.
	maxRuns = 5
)

// pgDB is a PostgreSQL database with a pool for each role.
type pgDB struct {
	api, delivery pgPool
}

func openPostgres(ctx context.Context, cfg Config) (database, error) {
	deliveryURL := cfg.DeliveryURL
	if deliveryURL == "" {
		deliveryURL = cfg.URL
	}
	api, err := openPool(ctx, cfg.URL, cfg.MaxConns, roleAPI)
	if err != nil {
		return nil, err
	}
	delivery, err := openPool(ctx, deliveryURL, cfg.MaxConns, roleDelivery)
	if err != nil {
		api.Close()
		return nil, err
	}
	return &pgDB{api: api, delivery: delivery}, nil
}

func (d *pgDB) close() error {
	d.api.Close()
	d.delivery.Close()
	return nil
}

func (d *pgDB) ping(ctx context.Context) error {
	for _, delivery := range []bool{false, true} {
		err := d.run(ctx, scope{delivery: delivery}, readOne, func(t tx) error {
			var n int
			return t.row(ctx, "select 1").Scan(&n)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *pgDB) run(ctx context.Context, sc scope, m mode, fn func(tx) error) error {
	pool := d.api
	if sc.delivery {
		pool = d.delivery
	}
	stale := false
	for run := 1; ; run++ {
		t, err := runOnce(ctx, pool, sc, m, fn)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errAgain) && run < maxRuns:
			// The winner has committed by now, or we would still wait for its locks.
		case errors.Is(err, errAgain):
			return unavailable(err)
		case t != nil && t.stale() && !stale && ctx.Err() == nil:
			// The server was restarted while the connection lay idle: so were the others. Nothing has been done yet.
			stale = true
			pool.Reset()
		case errors.Is(err, errStandby) && !stale && ctx.Err() == nil:
			// The server that we are connected to is no longer the one to write to; nothing has been done. With several
			// hosts in the URL new connections find the one that is.
			stale = true
			pool.Reset()
		default:
			return err
		}
	}
}

// runOnce runs fn on one connection. The transaction is returned to tell how far it came; nil if there was none.
func runOnce(ctx context.Context, pool pgPool, sc scope, m mode, fn func(tx) error) (_ *pgTx, err error) {
	conn, err := acquire(ctx, pool.Pool)
	if err != nil {
		return nil, err
	}
	t := &pgTx{conn: conn.Conn(), mode: m, scope: sc, role: pool.role}
	committed := false
	defer func() { // also when fn panics
		if !committed && m != readOne && t.begun && !t.conn.IsClosed() {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
			_, _ = t.conn.Exec(end, "rollback") // where it fails the pool sees that the connection is no longer idle
			cancel()
		}
		conn.Release()
	}()
	if err := fn(t); err != nil {
		return t, err
	}
	if m == readOne || !t.begun {
		return t, nil
	}
	tag, err := t.conn.Exec(ctx, "commit")
	if err != nil {
		return t, t.classify(ctx, err)
	}
	committed = true
	if tag.String() != "COMMIT" { // a statement had failed and fn did not say so
		return t, errors.New("store: the transaction was taken back by the database")
	}
	return t, nil
}

func acquire(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, acquireTimeout)
	defer cancel()
	conn, err := pool.Acquire(wait)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, waitError(ctx)
	case wait.Err() != nil:
		return nil, waitError(wait)
	}
	return nil, unavailable(err)
}

// pgTx is a transaction on one connection. Its beginning is sent together with the first statement.
type pgTx struct {
	conn  *pgx.Conn
	mode  mode
	scope scope
	role  string // to take on; empty: the connection works as its role already
	begun bool
	ran   bool // an answer has come
	// tenant is what setTenant asked for and the server has not been told yet.
	tenant *uuid.UUID
}

func (t *pgTx) postgres() bool { return true }

func (t *pgTx) setTenant(id uuid.UUID) {
	if !t.begun {
		t.scope.tenant = id
		return
	}
	t.tenant = &id
}

// stale reports whether the connection broke before the server had answered anything.
func (t *pgTx) stale() bool { return !t.ran && t.conn.IsClosed() }

// Waits for locks and idle transactions are bounded with each transaction, so that it works behind a pooler too.
const beginScope = `select set_config('app.tenant_id', $1, true), set_config('app.tenant_name', $2, true), set_config('app.operator', $3, true),
	set_config('lock_timeout', '10s', true), set_config('idle_in_transaction_session_timeout', $4, true)`

// beginScopeAs takes on the role as well, for the transaction.
const beginScopeAs = beginScope + `, set_config('role', $5, true)`

// How long a transaction may wait for its client. One that writes has locked rows that others need, such as its tenant's counters: while its node
// is stopped or cut off without a word, no node accepts messages of that tenant. It must be over before other nodes take over from that one. One that
// reads locks nothing, and may wait for whoever reads what it finds.
const (
	idleWriter = "5s"
	idleReader = "60s"
)

const setTenant = "select set_config('app.tenant_id', $1, true)"

// prefix queues what must come before the next statement, and returns how many answers that makes.
func (t *pgTx) prefix(b *pgx.Batch) (int, error) {
	if t.begun && t.mode == readOne {
		return 0, errors.New("store: a second statement in a transaction for one")
	}
	before := b.Len()
	if !t.begun {
		t.begun = true
		switch t.mode {
		case readWrite:
			b.Queue("begin")
		case readOnly:
			b.Queue("begin isolation level repeatable read read only")
		case readOne: // the batch is a transaction of its own
		}
		operator := ""
		if t.scope.operator {
			operator = "on"
		}
		idle := idleReader
		if t.mode == readWrite {
			idle = idleWriter
		}
		if t.role != "" {
			b.Queue(beginScopeAs, tenantText(t.scope.tenant), t.scope.name, operator, idle, t.role)
		} else {
			b.Queue(beginScope, tenantText(t.scope.tenant), t.scope.name, operator, idle)
		}
	} else if t.tenant != nil {
		b.Queue(setTenant, tenantText(*t.tenant))
	}
	t.tenant = nil
	return b.Len() - before, nil
}

func tenantText(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}

// send queues a statement behind its prefix, sends both and reads the answers to the prefix.
func (t *pgTx) send(ctx context.Context, query string, args []any) (pgx.BatchResults, error) {
	values, err := pgArgs(args)
	if err != nil {
		return nil, err
	}
	b := &pgx.Batch{}
	n, err := t.prefix(b)
	if err != nil {
		return nil, err
	}
	b.Queue(query, values...)
	results := t.conn.SendBatch(ctx, b)
	for range n {
		if _, err := results.Exec(); err != nil {
			_ = results.Close() // says the same
			return nil, t.classify(ctx, err)
		}
		t.ran = true
	}
	return results, nil
}

func (t *pgTx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	results, err := t.send(ctx, query, args)
	if err != nil {
		return 0, err
	}
	tag, err := results.Exec()
	if closed := results.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return 0, t.classify(ctx, err)
	}
	return tag.RowsAffected(), nil
}

func (t *pgTx) query(ctx context.Context, query string, args ...any) (*rows, error) {
	results, err := t.send(ctx, query, args)
	if err != nil {
		return nil, err
	}
	r, err := results.Query()
	if err != nil {
		_ = results.Close() // says the same
		return nil, t.classify(ctx, err)
	}
	return &rows{&pgRows{t: t, ctx: ctx, rows: r, results: results}}, nil
}

func (t *pgTx) row(ctx context.Context, query string, args ...any) row {
	r, err := t.query(ctx, query, args...)
	return row{r, err}
}

func (t *pgTx) batch(ctx context.Context, b *batch) error {
	if len(b.items) == 0 {
		return nil
	}
	out := &pgx.Batch{}
	// skip[i] answers come before that of item i.
	skip := make([]int, len(b.items))
	for i, item := range b.items {
		if item.tenant != nil {
			t.setTenant(*item.tenant)
			continue
		}
		n, err := t.prefix(out)
		if err != nil {
			return &batchError{i, err}
		}
		values, err := pgArgs(item.args)
		if err != nil {
			t.begun = t.begun && t.ran // nothing was sent
			return &batchError{i, err}
		}
		skip[i] = n
		out.Queue(item.sql, values...)
	}
	if out.Len() == 0 {
		return nil
	}
	results := t.conn.SendBatch(ctx, out)
	for i, item := range b.items {
		if item.tenant != nil {
			continue
		}
		if err := t.answer(ctx, results, item, skip[i]); err != nil {
			_ = results.Close() // says the same
			return &batchError{i, t.classify(ctx, err)}
		}
	}
	if err := results.Close(); err != nil {
		return t.classify(ctx, err)
	}
	return nil
}

// answer reads what the server says to one item.
func (t *pgTx) answer(ctx context.Context, results pgx.BatchResults, item batchItem, skip int) error {
	for range skip {
		if _, err := results.Exec(); err != nil {
			return err
		}
		t.ran = true
	}
	if item.each == nil {
		tag, err := results.Exec()
		if item.affected != nil {
			*item.affected = tag.RowsAffected()
		}
		return err
	}
	raw, err := results.Query()
	if err != nil {
		return err
	}
	r := &rows{&pgRows{t: t, ctx: ctx, rows: raw}}
	defer r.Close()
	for r.Next() {
		if err := item.each(r); err != nil {
			return err
		}
	}
	return r.Err()
}
