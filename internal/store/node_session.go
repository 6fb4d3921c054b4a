package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// channel is where nodes announce what was accepted.
const channel = "postrider_spool"

// session is the node's connection. Its rights end with it.
type session struct {
	conn  *pgx.Conn
	pid   int32     // of the process that serves it
	start time.Time // when that began
	// since is the tick at which the session was made, beat that at which its last good beat began, next that of the next one.
	since, beat, next time.Duration
	beats             int
	watched           time.Duration       // the tick of the last look at the peers' sessions
	shared            bool                // no node of the version before delivers
	seen              map[string]lastBeat // of the peers' beats
	blind             bool                // a stalled peer could not be ended, which was said
}

// lastBeat is a peer's last beat, and the tick at which we saw it first.
type lastBeat struct{ beat, first time.Duration }

// sessionSettings keep the server from ending a session that waits, and have it notice within 15 s that the host of one is gone,
// when there is no peer to end it.
const sessionSettings = `select set_config('idle_session_timeout', '0', false), set_config('statement_timeout', '0', false),
	set_config('lock_timeout', '0', false), set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '3', false),
	set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '10000', false)`

// connect opens the session and makes the node known. The caller has the turn, or is Join.
func (n *Node) connect(ctx context.Context) error {
	pool, err := pgxpool.ParseConfig(n.url) // the URL may have settings of a pool in it
	if err != nil {
		return urlError(err)
	}
	cfg := pool.ConnConfig
	prepareConnect(cfg)
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "postrider node"
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return classifyPostgres(ctx, nil, err)
	}
	s := &session{conn: conn, since: n.s.clock.ticks()}
	wait, cancel := context.WithTimeout(ctx, n.cfg.Timeout)
	defer cancel()
	err = n.begin(wait, s)
	if err == nil {
		err = n.sendBeat(wait, s)
	}
	if err != nil {
		err = n.classify(ctx, s, err)
		closeConn(conn)
		return err
	}
	return n.adopt(s)
}

// begin looks where the connection leads and prepares it.
func (n *Node) begin(ctx context.Context, s *session) error {
	through, err := pooled(ctx, s.conn)
	if err != nil {
		return err
	}
	if through {
		return errors.New("store: the database URL of the node's session leads to a connection pooler, through which the rights to deliver cannot be held: " +
			"give the address of the PostgreSQL server itself in POSTRIDER_LOCK_DATABASE_URL")
	}
	if err := s.conn.QueryRow(ctx, "select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()").Scan(&s.pid, &s.start); err != nil {
		return err
	}
	if n.Sessions() == 0 {
		assume, err := mustAssume(ctx, s.conn, roleDelivery)
		if err != nil {
			return err
		}
		if assume {
			n.assume = roleDelivery
		}
	}
	if _, err := s.conn.Exec(ctx, sessionSettings); err != nil {
		return err
	}
	if !n.cfg.Role.delivers() {
		return nil
	}
	if _, err := s.conn.Exec(ctx, "listen "+channel); err != nil {
		return err
	}
	var own bool // a peer that looks this very moment can refuse it; then peers that knew it before hear of its end a beat late
	return s.conn.QueryRow(ctx, "select pg_try_advisory_lock_shared($1), pg_try_advisory_lock($2)", int64(oneNodeLock), nodeLock(n.cfg.ID)).Scan(&s.shared, &own)
}

// adopt makes a session the node's.
func (n *Node) adopt(s *session) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		closeConn(s.conn)
		return errClosed
	}
	n.session = s
	n.beat.Store(int64(s.beat))
	n.sessions++
	return nil
}

func (n *Node) current() *session {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.session
}

// classify is classifyPostgres for the session's statements, whose time to answer is over when ctx still goes on.
func (n *Node) classify(ctx context.Context, s *session, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return unavailable(fmt.Errorf("no answer within %s: %w", n.cfg.Timeout, err))
	}
	return classifyPostgres(ctx, s.conn, err)
}

// ask has fn use the session, when it is our turn.
func (n *Node) ask(ctx context.Context, fn func(ctx context.Context, s *session) error) error {
	if n.current() == nil { // while it is made anew, nobody waits for that
		return errNoSession
	}
	if err := n.turn.take(ctx); err != nil {
		return err
	}
	defer n.turn.give()
	s := n.current()
	if s == nil {
		return errNoSession
	}
	return n.use(ctx, s, fn)
}

// use runs fn and sees whether the session has outlived it. The caller has the turn. The end of its ctx does not reach fn, since it
// would end the session, and with it all rights.
func (n *Node) use(ctx context.Context, s *session, fn func(ctx context.Context, s *session) error) error {
	ctx = context.WithoutCancel(ctx)
	wait, cancel := context.WithTimeout(ctx, n.cfg.Timeout)
	defer cancel()
	err := fn(wait, s)
	if err == nil {
		return nil
	}
	err = n.classify(ctx, s, err)
	if s.conn.IsClosed() {
		n.lose(s, err)
	}
	return err
}

// lose takes note that the session has ended. Nobody waits for the connection, whose other end may be out of reach.
func (n *Node) lose(s *session, why error) {
	n.mu.Lock()
	if n.session != s {
		n.mu.Unlock()
		return
	}
	n.beat.Store(0)
	n.session = nil
	rights := len(n.held)
	clear(n.held)
	close(n.lost)
	n.lost = make(chan struct{})
	n.mu.Unlock()
	n.cfg.Logger.LogAttrs(context.Background(), slog.LevelWarn, "the node's session with the database is lost, and with it the rights to deliver; asking for them again",
		slog.Int("relays", rights), slog.String("error", why.Error()))
}
