package store

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// nodesListed bounds a list of nodes: more in an hour means that one crashes again and again.
const nodesListed = 1000

// NodeState is how a node is.
type NodeState string

// The states of a node.
const (
	NodeWorking NodeState = "working"
	// NodeStalled is a node that has not been heard of for 15 s. If it delivers, another one will end its session.
	NodeStalled NodeState = "stalled"
	// NodeGone is a node whose session has ended and that has not come back: it died, was cut off or was ended.
	NodeGone NodeState = "gone"
	// NodeStopped is a node that was stopped in good order.
	NodeStopped NodeState = "stopped"
)

// NodeRecord is a node as the operator sees it. Times are the database's.
type NodeRecord struct {
	ID      uuid.UUID
	Name    string
	Role    NodeRole
	Version string
	State   NodeState
	// StartedAt is when the process joined, BeatAt when it was last heard of.
	StartedAt, BeatAt time.Time
	// EndedAt is when it stopped, or was found to be gone. Zero: it has not.
	EndedAt time.Time
	// Drains is how many relays it had the right to drain at its last beat.
	Drains int
	// Relays are those that it drains now; on SQLite, those that it drained last and that have messages waiting.
	Relays []uuid.UUID
}

// relayOfNode is a relay and the process that drains it.
type relayOfNode struct {
	relay, node uuid.UUID
	pid         int64
}

// Nodes lists the processes that work with the database, and those that ended within the last hour: who works comes first, then by name.
func (o Operator) Nodes(ctx context.Context) ([]NodeRecord, error) {
	var list []NodeRecord
	var drained []relayOfNode
	locks := map[relayLockKey]bool{}
	now := o.s.now()
	err := o.s.asDelivery(ctx, readOnly, func(t tx) error {
		list, drained = nil, nil
		clear(locks)
		b := &batch{}
		b.query(func(r *rows) error {
			var n NodeRecord
			var stopped, ended time.Time
			if err := r.Scan(&n.ID, &n.Name, &n.Role, &n.Version, &n.StartedAt, &n.BeatAt, &n.Drains, &ended, &stopped); err != nil {
				return err
			}
			n.state(now, ended, stopped)
			list = append(list, n)
			return nil
		}, `select id, name, role, version, started_at, beat_at, relays, ended_at, stopped_at from nodes
			order by case when stopped_at is null and ended_at is null then 0 else 1 end, name, started_at, id limit $1`, nodesListed)
		text := `select r.id, n.id, 0 from relays r join nodes n on n.id = r.drained_by
			where n.stopped_at is null and n.ended_at is null and exists (select 1 from spool s where s.relay_id = r.id) order by r.id`
		if t.postgres() {
			// Who drained a relay last may have given it back: the lock tells.
			text = `select r.id, n.id, n.backend_pid::bigint from relays r join nodes n on n.id = r.drained_by
				where n.stopped_at is null and n.ended_at is null order by r.id`
			b.query(func(r *rows) error {
				var pid, high, low int64
				err := r.Scan(&pid, &high, &low)
				locks[relayLockKey{pid, high<<32 | low}] = true
				return err
			}, `select l.pid::bigint, l.classid::bigint, l.objid::bigint from pg_locks l join pg_database d on d.oid = l.database
				where l.locktype = 'advisory' and l.objsubid = 1 and l.granted and d.datname = current_database()`)
		}
		b.query(func(r *rows) error {
			var d relayOfNode
			err := r.Scan(&d.relay, &d.node, &d.pid)
			drained = append(drained, d)
			return err
		}, text)
		return t.batch(ctx, b)
	})
	if err != nil {
		return nil, err
	}
	place := make(map[uuid.UUID]int, len(list))
	for i, n := range list {
		place[n.ID] = i
	}
	for _, d := range drained {
		i, is := place[d.node]
		if is && (o.s.cfg.URL == "" || locks[relayLockKey{d.pid, relayLock(d.relay)}]) {
			list[i].Relays = append(list[i].Relays, d.relay)
		}
	}
	return list, nil
}

// relayLockKey is a lock of a session.
type relayLockKey struct{ pid, lock int64 }

// state works out how a node is.
func (n *NodeRecord) state(now, ended, stopped time.Time) {
	switch {
	case !stopped.IsZero():
		n.State, n.EndedAt = NodeStopped, stopped
	case !ended.IsZero():
		n.State, n.EndedAt = NodeGone, ended
	case now.Sub(n.BeatAt) > nodeEndAfter:
		n.State = NodeStalled
	default:
		n.State = NodeWorking
	}
}
