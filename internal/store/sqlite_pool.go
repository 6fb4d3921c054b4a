package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strconv"
	"strings"
)

// sqlitePool lends connections, each with its prepared statements.
type sqlitePool struct {
	db *sql.DB
	// begin is run on each new connection; "": nothing.
	begin string
	free  chan *sqliteConn // a nil stands for a connection that is yet to be opened
}

// sqliteConn is used by one transaction at a time. Statements are run on the driver itself: what database/sql does around each
// of them costs as much as some of them.
type sqliteConn struct {
	conn   *sql.Conn
	driver driver.ConnPrepareContext // only within use
	stmts  map[string]*sqliteStmt
	values []driver.NamedValue // for the next statement
	broken bool
}

// sqliteStmt is a prepared statement. One that is in use is not used a second time at once.
type sqliteStmt struct {
	stmt interface {
		driver.Stmt
		driver.StmtExecContext
		driver.StmtQueryContext
	}
	// order are the indexes of the arguments for each place; nil: as they come.
	order  []int
	busy   bool
	cached bool
}

// places is how many values the statement takes when it is given so many arguments.
func (st *sqliteStmt) places(given int) int {
	if st.order != nil {
		return len(st.order)
	}
	return given
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

// use runs fn while statements can be prepared, run and closed. database/sql hears nothing of fn's error: one that wraps
// driver.ErrBadConn would make it close the connection under its statements.
func (c *sqliteConn) use(fn func() error) error {
	var result error
	err := c.conn.Raw(func(dc any) error {
		d, ok := dc.(driver.ConnPrepareContext)
		if !ok {
			result = errors.New("store: this driver of SQLite cannot prepare statements")
			return nil
		}
		c.driver = d
		defer func() { c.driver = nil }()
		panicking := true
		defer func() {
			if panicking { // database/sql closes the connection
				c.broken = true
				c.forget()
			}
		}()
		result = fn()
		panicking = false
		return nil
	})
	if err != nil {
		c.broken = true
		return unavailable(err)
	}
	return result
}

func (c *sqliteConn) close() {
	_ = c.use(func() error {
		c.forget()
		return nil
	})
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
	st := &sqliteStmt{busy: true, cached: known == nil}
	places, order := placesOf(text)
	stmt, err := c.driver.PrepareContext(ctx, places)
	if err != nil {
		return nil, err
	}
	st.order = order
	var ok bool
	if st.stmt, ok = stmt.(interface {
		driver.Stmt
		driver.StmtExecContext
		driver.StmtQueryContext
	}); !ok {
		return nil, errors.Join(errors.New("store: this driver of SQLite cannot run statements with a context"), stmt.Close())
	}
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

// placesOf writes a statement's $1 … $n as nameless places, with the index of the argument for each: the driver looks up each
// name in a list, every time. A statement without them has nil.
func placesOf(text string) (places string, order []int) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\'', '"': // nothing in there is a place
			end := strings.IndexByte(text[i+1:], c)
			if end < 0 {
				return text, nil // for SQLite to complain about
			}
			b.WriteString(text[i : i+end+2])
			i += end + 1
		case '$':
			j := i + 1
			for j < len(text) && text[j] >= '0' && text[j] <= '9' {
				j++
			}
			n, err := strconv.Atoi(text[i+1 : j])
			if err != nil || n < 1 {
				return text, nil
			}
			b.WriteByte('?')
			order = append(order, n-1)
			i = j - 1
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), order
}
