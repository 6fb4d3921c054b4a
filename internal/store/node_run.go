package store

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// A lost session is asked for soon: relays wait for it. A server that starts is not asked more than once a second.
	reconnectFirst = 50 * time.Millisecond
	reconnectMost  = time.Second
)

// Run keeps the session until ctx ends: it beats, makes the session anew when it is lost, hears what other nodes accepted,
// ends peers that have stalled, and tells the others what this node accepted. Faults are logged and tried again, but for a
// *SchemaError: while there was no session, the tables were changed so that this program cannot work with them.
// End it after whatever uses the rights has ended, and before Close.
func (n *Node) Run(ctx context.Context) error {
	if n.alone() {
		n.runAlone(ctx)
		return nil
	}
	var announcer sync.WaitGroup
	defer announcer.Wait()
	announcer.Go(func() { n.runOutbox(ctx) })
	wait := reconnectFirst
	for ctx.Err() == nil {
		if err := n.turn.take(ctx); err != nil {
			break
		}
		err := n.step(ctx)
		n.turn.give()
		if err == nil {
			wait = reconnectFirst
			continue
		}
		if _, ok := errors.AsType[*SchemaError](err); ok {
			return err
		}
		pause(ctx, time.Duration(float64(wait)*(1-jitter+2*jitter*rand.Float64())))
		wait = min(2*wait, reconnectMost)
	}
	return nil
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// step does what is to be done next, and waits for news otherwise. The caller has the turn.
func (n *Node) step(ctx context.Context) error {
	s := n.current()
	if s == nil {
		return n.reconnect(ctx)
	}
	left := s.next - n.s.clock.ticks()
	if left <= 0 {
		err := n.use(ctx, s, n.sendBeat)
		if err != nil && n.current() == s {
			if n.s.clock.ticks()-s.beat >= n.cfg.FenceAfter {
				// Nothing is started by its rights any more: another session, perhaps with the server that has taken over, may do better.
				closeConn(s.conn)
				n.lose(s, err)
				return err
			}
			n.cfg.Logger.LogAttrs(ctx, slog.LevelError, "the node's heartbeat could not be written; trying again", slog.String("error", err.Error()))
		}
		return err
	}
	if n.cfg.Role.delivers() {
		until := s.watched + nodeWatchEvery - n.s.clock.ticks()
		if until <= 0 {
			return n.use(ctx, s, n.lookAfter)
		}
		left = min(left, until)
	}
	n.turn.idle(ctx, func(ctx context.Context) { n.listen(ctx, s, left) })
	return nil
}

func (n *Node) reconnect(ctx context.Context) error {
	if err := n.connect(ctx); err != nil {
		n.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "no session with the database yet", slog.String("error", err.Error()))
		return err
	}
	if _, err := n.s.checkSchema(ctx); err != nil { // who was away for long may find other tables
		if _, ok := errors.AsType[*SchemaError](err); ok {
			return err
		}
	}
	n.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "the node has a session with the database again")
	n.s.tell(nil) // what was announced meanwhile was not heard
	return nil
}

// listen waits for announcements for a while, or until ctx ends.
func (n *Node) listen(ctx context.Context, s *session, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		news, err := s.conn.WaitForNotification(ctx)
		if err != nil {
			if s.conn.IsClosed() { // the end of ctx leaves it open
				n.lose(s, err)
			}
			return
		}
		if relays, freed, ok := readAnnouncement(news.Payload, n.cfg.ID); ok {
			if len(relays) > 0 || len(freed) == 0 {
				n.s.tell(relays)
			}
			n.watch.heard(freed)
		}
	}
}

func (n *Node) runAlone(ctx context.Context) {
	tick := time.NewTicker(n.cfg.BeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := n.beatAlone(ctx); err != nil && ctx.Err() == nil {
			n.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "the node's heartbeat could not be written", slog.String("error", err.Error()))
		}
	}
}

// Close gives back all rights and notes that the node has stopped, as far as that can be done before ctx ends. Call it after
// Run has returned. Closing twice does nothing.
func (n *Node) Close(ctx context.Context) {
	n.mu.Lock()
	was := n.closed
	n.closed = true
	n.mu.Unlock()
	if was {
		return
	}
	if n.alone() {
		_ = n.s.asDelivery(ctx, readWrite, func(t tx) error { // without it the node is shown as ended by the next
			_, err := t.exec(ctx, "update nodes set stopped_at = $2, relays = 0 where id = $1", n.cfg.ID, n.s.now())
			return err
		})
		return
	}
	n.s.node.CompareAndSwap(n, nil)
	if n.turn.take(ctx) != nil {
		return
	}
	defer n.turn.give()
	s := n.current()
	if s == nil {
		return
	}
	_ = n.use(ctx, s, func(ctx context.Context, s *session) error { // without it the peers see that the session has ended
		b := &pgx.Batch{}
		n.queueAs(b, n.assume)
		b.Queue("update nodes set stopped_at = clock_timestamp(), relays = 0 where id = $1", n.cfg.ID)
		b.Queue("select pg_advisory_unlock_all()") // the end of the connection frees them too, a little later
		return s.conn.SendBatch(ctx, b).Close()
	})
	closeConn(s.conn)
	n.lose(s, errClosed)
}
