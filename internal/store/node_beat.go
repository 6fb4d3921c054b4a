package store

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// nodeKept is for how long one that has ended is shown.
const nodeKept = time.Hour

// forgetEvery is at which beats those are forgotten that ended long ago.
const forgetEvery = 12

const (
	// A beat need not survive the server, with which all sessions end.
	beatQuick = `select set_config('synchronous_commit', 'off', true)`
	beatAs    = `select set_config('role', $1, true)`

	beatRow = `insert into nodes (id, name, role, version, started_at, beat_at, relays, backend_pid, backend_start, schema_version)
		values ($1, $2, $3, $4, clock_timestamp(), clock_timestamp(), $5, $6, $7, $8)
		on conflict (id) do update set beat_at = excluded.beat_at, relays = excluded.relays, backend_pid = excluded.backend_pid,
			backend_start = excluded.backend_start, ended_at = null, stopped_at = null
		returning clock_timestamp()`

	beatPeers = `select id, name, role, extract(epoch from clock_timestamp() - beat_at)::float8,
		(extract(epoch from beat_at) * 1000000)::bigint, coalesce(backend_pid, 0),
		coalesce(backend_start, 'epoch'), ended_at is not null from nodes where stopped_at is null and id <> $1`

	// Of other logins' sessions the number is shown, and nothing more.
	beatSessions = `select a.pid, a.backend_start from pg_stat_activity a join pg_database d on d.oid = a.datid where d.datname = current_database()`

	// The two are compared within the server, so that no other session is ended that has got the number meanwhile.
	endSession = `select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and backend_start = $2`
	markEnded  = `update nodes set ended_at = clock_timestamp() where id = $1 and backend_pid = $2 and backend_start = $3 and ended_at is null`
)

// peer is another node.
type peer struct {
	id, name string
	role     NodeRole
	age      time.Duration // of its last beat
	beat     time.Duration // when that was, by the database's clock
	rest     time.Duration // for how long we have seen no other
	pid      int32
	start    time.Time
	ended    bool // was found so before
	alive    bool // its session lives
	ours     bool // and is one of our login's, so that we could end it
}

// sendBeat shows the others that we work, hears the database's time, and sees who else works. The caller has the turn.
func (n *Node) sendBeat(ctx context.Context, s *session) error {
	asked := n.s.clock.ticks()
	var at time.Time
	var peers []peer
	sessions := map[int32]*time.Time{}
	b := &pgx.Batch{}
	b.Queue(beatQuick)
	n.queueAs(b, n.assume)
	b.Queue(beatRow, n.cfg.ID, n.cfg.Name, string(n.cfg.Role), n.cfg.Version, n.Drains(), s.pid, s.start, SchemaVersion()).QueryRow(func(r pgx.Row) error {
		err := r.Scan(&at)
		n.s.clock.set(at, asked, n.s.clock.ticks())
		return err
	})
	b.Queue(beatPeers, n.cfg.ID).Query(func(r pgx.Rows) (err error) {
		peers, err = pgx.CollectRows(r, scanPeer)
		return err
	})
	n.queueAs(b, "none") // the login itself sees its sessions, and may end them
	b.Queue(beatSessions).Query(func(r pgx.Rows) error {
		var pid int32
		var start *time.Time
		_, err := pgx.ForEachRow(r, []any{&pid, &start}, func() error {
			sessions[pid] = start
			return nil
		})
		return err
	})
	if err := s.conn.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	s.next = asked + n.cfg.BeatEvery
	s.beats++
	s.beat = asked
	n.show(s)
	for i := range peers {
		start, is := sessions[peers[i].pid]
		peers[i].ours = is && start != nil && start.Equal(peers[i].start)
		peers[i].alive = peers[i].ours || is && start == nil
	}
	s.sight(peers, n.s.clock.ticks())
	n.count(peers)
	return n.attend(ctx, s, peers)
}

// sight notes for how long each peer's beat has been the same: the age alone would have all of them stalled when the database's
// clock is set forward.
func (s *session) sight(peers []peer, now time.Duration) {
	seen := make(map[string]lastBeat, len(peers))
	for i, p := range peers {
		last, is := s.seen[p.id]
		if !is || last.beat != p.beat {
			last = lastBeat{p.beat, now}
		}
		seen[p.id] = last
		peers[i].rest = now - last.first
	}
	s.seen = seen
}

// show publishes the session's beat, if the session is the node's.
func (n *Node) show(s *session) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.session == s {
		n.beat.Store(int64(s.beat))
	}
}

// queueAs has what follows in the batch run as a role, for those logins that must take one on.
func (n *Node) queueAs(b *pgx.Batch, role string) {
	if n.assume != "" {
		b.Queue(beatAs, role)
	}
}

func scanPeer(r pgx.CollectableRow) (peer, error) {
	var p peer
	var id uuid.UUID
	var age float64
	var beat int64
	err := r.Scan(&id, &p.name, &p.role, &age, &beat, &p.pid, &p.start, &p.ended)
	p.id, p.age, p.beat = id.String(), time.Duration(age*float64(time.Second)), time.Duration(beat)*time.Microsecond
	return p, err
}

// count counts who delivers.
func (n *Node) count(peers []peer) {
	total := 0
	deliver := map[uuid.UUID]bool{}
	if n.cfg.Role.delivers() {
		total++
	}
	for _, p := range peers {
		if p.role.delivers() && p.alive && p.age <= n.cfg.EndAfter {
			total++
			if id, err := uuid.Parse(p.id); err == nil {
				deliver[id] = false
			}
		}
	}
	n.mu.Lock()
	n.peers = total
	n.mu.Unlock()
	n.watch.meet(deliver)
}

// attend ends the sessions of peers that have stalled, so that their relays are free, and notes whose have ended.
func (n *Node) attend(ctx context.Context, s *session, peers []peer) error {
	// After an outage of the database all beats are old: everybody has as much time as we had to come back.
	settled := n.s.clock.ticks()-s.since > n.cfg.EndAfter
	rows := &pgx.Batch{}
	n.queueAs(rows, n.assume)
	prefix := rows.Len()
	for _, p := range peers {
		stalled := p.alive && p.role.delivers() && settled && p.age > n.cfg.EndAfter && p.rest >= n.cfg.FenceAfter
		if stalled {
			ended, err := n.end(ctx, s, p)
			if err != nil {
				return err
			}
			p.alive = !ended
		}
		if !p.alive && !p.ended {
			rows.Queue(markEnded, p.id, p.pid, p.start)
		}
	}
	if s.beats%forgetEvery == 1 {
		rows.Queue(`delete from nodes where coalesce(stopped_at, ended_at) < clock_timestamp() - make_interval(secs => $1)`, nodeKept.Seconds())
	}
	if rows.Len() == prefix {
		return nil
	}
	return s.conn.SendBatch(ctx, rows).Close()
}

// end ends the session of a stalled peer.
func (n *Node) end(ctx context.Context, s *session, p peer) (ended bool, err error) {
	if p.ours {
		rows, err := s.conn.Query(ctx, endSession, p.pid, p.start)
		if err != nil {
			return false, err
		}
		list, err := pgx.CollectRows(rows, pgx.RowTo[bool])
		if err != nil {
			return false, err
		}
		ended = len(list) == 1 && list[0]
	}
	switch {
	case ended:
		n.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "a node has stalled: its session with the database was ended, and its relays are free",
			slog.String("peer", p.id), slog.String("name", p.name), slog.Duration("silent", p.age))
	case !s.blind:
		s.blind = true
		n.cfg.Logger.LogAttrs(ctx, slog.LevelError, "a node has stalled and its session with the database could not be ended: "+
			"its relays wait until it is stopped. The sessions of all nodes must use the same login",
			slog.String("peer", p.id), slog.String("name", p.name), slog.Duration("silent", p.age))
	}
	return ended, nil
}

// beatAlone is sendBeat on SQLite, where the nodes before us have ended if they did not say so.
func (n *Node) beatAlone(ctx context.Context) error {
	now := n.s.now()
	return n.s.asDelivery(ctx, readWrite, func(t tx) error {
		b := &batch{}
		b.exec(nil, `insert into nodes (id, name, role, version, started_at, beat_at, relays, schema_version) values ($1, $2, $3, $4, $5, $5, $6, $7)
			on conflict (id) do update set beat_at = excluded.beat_at, relays = excluded.relays, ended_at = null, stopped_at = null`,
			n.cfg.ID, n.cfg.Name, n.cfg.Role, n.cfg.Version, now, n.Drains(), SchemaVersion())
		b.exec(nil, "update nodes set ended_at = $2 where id <> $1 and stopped_at is null and ended_at is null", n.cfg.ID, now)
		b.exec(nil, "delete from nodes where coalesce(stopped_at, ended_at) < $1", now.Add(-nodeKept))
		return t.batch(ctx, b)
	})
}
