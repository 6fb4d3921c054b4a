package store

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// nodeWatchEvery is how often a node looks whether its peers' sessions live, so that their relays do not wait for the next beat. The look is one
// statement that touches no table.
const nodeWatchEvery = 200 * time.Millisecond

// watch looks after the sessions of the peers that deliver. Each holds a lock of its own, which PostgreSQL frees together with its relays' when the
// session ends, however it ends.
type watch struct {
	mu      sync.Mutex
	changed chan struct{}
	peers   map[uuid.UUID]bool // those that deliver; true: seen to hold its lock
	freed   func(relays []uuid.UUID)
}

func newWatch() *watch { return &watch{changed: make(chan struct{}), peers: map[uuid.UUID]bool{}} }

// nodeLock is the number of a node's own lock: positive, and with a bit that the numbers of our few other locks do not have.
func nodeLock(node uuid.UUID) int64 {
	return int64(binary.BigEndian.Uint64(node[8:])&(1<<63-1) | 1<<62) //nolint:gosec // the sign is taken away
}

// Changed is closed when a node that delivers came or went, as soon as that is known: some 200 ms after a process has died. After that
// it returns another channel.
func (n *Node) Changed() <-chan struct{} {
	n.watch.mu.Lock()
	defer n.watch.mu.Unlock()
	return n.watch.changed
}

// Delivering is how many nodes deliver, as Peers.
func (n *Node) Delivering() int { return n.Peers() }

// OnFreed has fn called when other nodes have let go of relays. It must be quick. There is one.
func (n *Node) OnFreed(fn func(relays []uuid.UUID)) {
	n.watch.mu.Lock()
	defer n.watch.mu.Unlock()
	n.watch.freed = fn
}

// heard tells of relays that other nodes have let go of.
func (w *watch) heard(relays []uuid.UUID) {
	w.mu.Lock()
	fn := w.freed
	w.mu.Unlock()
	if fn != nil && len(relays) > 0 {
		fn(relays)
	}
}

// meet takes who delivers, as the beat saw it.
func (w *watch) meet(now map[uuid.UUID]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	changed := len(now) != len(w.peers)
	for id := range now {
		held, known := w.peers[id]
		changed = changed || !known
		now[id] = held
	}
	w.peers = now
	if changed {
		w.tell()
	}
}

// tell closes the channel. The caller holds mu.
func (w *watch) tell() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// locks are the peers and the numbers of their locks.
func (w *watch) locks() (ids []uuid.UUID, keys []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.peers {
		ids, keys = append(ids, id), append(keys, nodeLock(id))
	}
	return ids, keys
}

// saw takes which of the peers hold their locks, and says how many have gone.
func (w *watch) saw(ids []uuid.UUID, free []bool) (gone int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, id := range ids {
		switch held, known := w.peers[id]; {
		case !known:
		case !free[i]:
			w.peers[id] = true
		case held:
			delete(w.peers, id)
			gone++
		}
	}
	if gone > 0 {
		w.tell()
	}
	return gone
}

// lookAfter looks whether the peers' sessions live. The caller has the turn.
func (n *Node) lookAfter(ctx context.Context, s *session) error {
	s.watched = n.s.clock.ticks()
	ids, keys := n.watch.locks()
	if len(ids) == 0 {
		return nil
	}
	// A shared lock for the time of the statement: several may look at the same moment.
	rows, err := s.conn.Query(ctx, "select pg_try_advisory_xact_lock_shared(k) from unnest($1::bigint[]) with ordinality as t (k, n) order by n", keys)
	if err != nil {
		return err
	}
	free, err := pgx.CollectRows(rows, pgx.RowTo[bool])
	if err != nil {
		return err
	}
	if gone := n.watch.saw(ids, free[:min(len(free), len(ids))]); gone > 0 {
		n.mu.Lock()
		n.peers = max(1, n.peers-gone)
		n.mu.Unlock()
	}
	return nil
}
