package store

import (
	"context"
	"database/sql"
)

// sqlitePool lends connections, each with its prepared statements.
type sqlitePool struct {
	db *sql.DB
	// begin is run on each new connection; "": nothing.
	begin string
	free  chan *sqliteConn // a nil stands for a connection that is yet to be opened
}

// sqliteConn is used by one transaction at a time.
type sqliteConn struct {
	conn   *sql.Conn
	stmts  map[string]*sqliteStmt
	broken bool
}

// sqliteStmt is a prepared statement. One that is in use is not used a second time at once.
type sqliteStmt struct {
	stmt   *sql.Stmt
	busy   bool
	cached bool
}

func newSQLitePool(db *sql.DB, size int, begin string) *sqlitePool {
	p := &sqlitePool{db: db, begin: begin, free: make(chan *sqliteConn, size)}
	for range size {
		p.free <- nil
	}
	return p
}

func (p *sqlitePool) take(ctx context.Context) (*sqliteConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var c *sqliteConn
	select {
	case c = <-p.free:
	case <-ctx.Done():
		return nil, waitError(ctx)
	}
	if c != nil {
		return c, nil
	}
	// Not bound to ctx: the connection outlives the call, and opening a file does not hang.
	conn, err := p.db.Conn(context.WithoutCancel(ctx))
	if err != nil {
		p.free <- nil
		return nil, classifySQLite(context.WithoutCancel(ctx), err)
	}
	if p.begin != "" {
		if _, err := conn.ExecContext(context.WithoutCancel(ctx), p.begin); err != nil {
			_ = conn.Close()
			p.free <- nil
			return nil, classifySQLite(context.WithoutCancel(ctx), err)
		}
	}
	return &sqliteConn{conn: conn, stmts: map[string]*sqliteStmt{}}, nil
}

func (p *sqlitePool) give(c *sqliteConn) {
	if c.broken {
		c.close()
		c = nil
	}
	p.free <- c
}

// close waits for the transactions that run.
func (p *sqlitePool) close() {
	for range cap(p.free) {
		if c := <-p.free; c != nil {
			c.close()
		}
	}
	for range cap(p.free) {
		p.free <- nil // who comes now hears from database/sql that it is closed
	}
}

func (c *sqliteConn) close() {
	c.forget()
	_ = c.conn.Close()
}

func (c *sqliteConn) forget() {
	for text, st := range c.stmts {
		if !st.busy {
			_ = st.stmt.Close()
			delete(c.stmts, text)
		}
	}
}

func (c *sqliteConn) prepare(ctx context.Context, text string) (*sqliteStmt, error) {
	known := c.stmts[text]
	if known != nil && !known.busy {
		known.busy = true
		return known, nil
	}
	stmt, err := c.conn.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	st := &sqliteStmt{stmt: stmt, busy: true, cached: known == nil}
	if st.cached {
		if len(c.stmts) >= sqliteStatements {
			c.forget()
		}
		c.stmts[text] = st
	}
	return st, nil
}

func (st *sqliteStmt) release() {
	st.busy = false
	if !st.cached {
		_ = st.stmt.Close()
	}
}
