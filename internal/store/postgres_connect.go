package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// dialTimeout bounds the making of a connection to each host unless the URL says connect_timeout.
const dialTimeout = 5 * time.Second

// pgPool is the connections that work as a role.
type pgPool struct {
	*pgxpool.Pool
	// role is what each transaction takes on, where connections keep nothing from one to the next; empty: nothing.
	role string
}

// openPool connects as a login and makes sure that it works as role and as nothing more.
//
// Through a pooler in transaction mode two transactions of one connection may reach two server connections, and what one
// leaves there meets another's. So nothing is left: statements have no names, and where a role must be taken on, each
// transaction does so for itself.
func openPool(ctx context.Context, url string, maxConns int, role string) (pgPool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return pgPool{}, urlError(err)
	}
	cfg.MaxConns = int32(min(maxConns, 1<<15))
	prepareConnect(cfg.ConnConfig)
	seen, err := lookAt(ctx, cfg.ConnConfig, role)
	if err != nil {
		return pgPool{}, err
	}
	if seen.pooled && !strings.Contains(url, "default_query_exec_mode") { // the operator may know that the pooler knows names
		cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	p := pgPool{}
	switch {
	case seen.assume && seen.pooled:
		p.role = role
	case seen.assume:
		cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "set role "+role)
			return err
		}
	}
	if p.Pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return pgPool{}, classifyPostgres(ctx, nil, err)
	}
	return p, nil
}

// sighting is what a first connection showed.
type sighting struct {
	assume bool // the login must take on its role
	pooled bool // a pooler stands between
}

func lookAt(ctx context.Context, cfg *pgx.ConnConfig, role string) (sighting, error) {
	cfg = cfg.Copy()
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // which leaves nothing behind
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return sighting{}, classifyPostgres(ctx, nil, err)
	}
	defer closeConn(conn)
	var f sighting
	if f.pooled, err = pooled(ctx, conn); err == nil {
		f.assume, err = mustAssume(ctx, conn, role)
	}
	return f, classifyPostgres(ctx, conn, err)
}

// pooled says whether a connection leads to a pooler: the number of the server's process that it was told at the beginning
// is not that of the process that answers.
func pooled(ctx context.Context, conn *pgx.Conn) (bool, error) {
	var pid int32
	err := conn.QueryRow(ctx, "select pg_backend_pid()", pgx.QueryExecModeExec).Scan(&pid) // a mode that leaves no name behind
	return uint32(pid) != conn.PgConn().PID(), err                                         //nolint:gosec // it is positive
}

// prepareConnect completes what a URL may leave open.
func prepareConnect(cfg *pgx.ConnConfig) {
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = dialTimeout
	}
	if cfg.ValidateConnect == nil && severalHosts(cfg) {
		// One of them is a standby, where nothing can be written.
		cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
}

// severalHosts says whether a URL names more than one server. Of one there may be several entries, with TLS and without.
func severalHosts(cfg *pgx.ConnConfig) bool {
	for _, f := range cfg.Fallbacks {
		if f.Host != cfg.Host || f.Port != cfg.Port {
			return true
		}
	}
	return false
}

// urlError tells that a URL cannot be read without showing it: it holds a password.
func urlError(err error) error {
	if _, ok := errors.AsType[*pgconn.ParseConfigError](err); ok { // its text has the password masked
		return fmt.Errorf("store: the database URL: %w", err)
	}
	return errors.New("store: the database URL cannot be read: write postgres://user:password@host:5432/name")
}

func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), rollbackTimeout)
	defer cancel()
	_ = conn.Close(ctx) // it is gone either way
}
