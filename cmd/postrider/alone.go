package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// deliveryLock is the number of the advisory lock of the node that delivers: "postride" in ASCII, and one.
	deliveryLock = 0x706f737472696465 + 1
	// lockEvery is how often a node that waits asks for the lock.
	lockEvery = time.Second
	// beatEvery and beatWait bound how long a node goes on whose connection is gone without a word.
	beatEvery = 2 * time.Second
	beatWait  = 2 * time.Second
)

// alone runs work while this node holds the right to deliver, which one node of those that share a PostgreSQL database has;
// the others wait for it. The right is an advisory lock of a session: when our process or its connection ends, PostgreSQL
// gives it to the next, and when we notice that the session is gone, work's context ends. It returns when ctx ends, or
// with work's error.
func alone(ctx context.Context, url string, logger *slog.Logger, work func(context.Context) error) error {
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	waiting := false
	for {
		conn, ok := tryRight(ctx, url)
		switch {
		case ok:
			waiting = false
			err := holding(ctx, conn, work)
			closeConn(ctx, conn)
			if err != nil || ctx.Err() != nil {
				return err
			}
			logger.Warn("the right to deliver is lost; asking for it again")
		case !waiting && ctx.Err() == nil:
			waiting = true
			logger.Info("another node delivers, or the database is away; this one waits for its turn")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// tryRight opens a session that has the lock; it is the caller's to close.
func tryRight(ctx context.Context, url string) (*pgx.Conn, bool) {
	wait, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cfg, err := pgxpool.ParseConfig(url) // the URL may have settings of the store's pool in it
	if err != nil {
		return nil, false
	}
	conn, err := pgx.ConnectConfig(wait, cfg.ConnConfig)
	if err != nil {
		return nil, false
	}
	var ok bool
	if err := conn.QueryRow(wait, "select pg_try_advisory_lock($1)", int64(deliveryLock)).Scan(&ok); err != nil || !ok {
		closeConn(ctx, conn)
		return nil, false
	}
	return conn, true
}

// holding runs work for as long as the session lives.
func holding(ctx context.Context, conn *pgx.Conn, work func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			wait, stop := context.WithTimeout(context.WithoutCancel(ctx), beatWait)
			err := conn.Ping(wait)
			stop()
			if err != nil {
				cancel()
				return <-done
			}
		}
	}
}

// closeConn says goodbye, so that the lock is free at once.
func closeConn(ctx context.Context, conn *pgx.Conn) {
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(wait)
}
