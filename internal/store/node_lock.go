package store

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/google/uuid"
)

// oneNodeLock is the number of the lock that a node of the version before held alone while it delivered: "postride" in
// ASCII, and one. Nodes that share the work share it too, so that a node of the old kind and they never deliver at the
// same time.
const oneNodeLock = migrationLock + 1

var (
	errNoSession = unavailable(errors.New("the node has no session with the database at the moment"))
	errNoRights  = errors.New("store: a node with the role api has no right to drain relays")
)

// relayLock is the number of a relay's advisory lock: the last 64 bits of its id, of which 62 are random in a UUIDv7. It
// is negative, and the numbers of our other locks are not.
func relayLock(relay uuid.UUID) int64 {
	return int64(binary.BigEndian.Uint64(relay[8:]) | 1<<63) //nolint:gosec // the sign is meant
}

// TryLock takes the right to drain a relay if nobody has it: ok is false if another node does, or this one already. The
// end of ctx ends the wait for the session; a question that was asked is waited for, NodeConfig.Timeout long. It wraps
// ErrUnavailable while there is no session.
func (n *Node) TryLock(ctx context.Context, relay uuid.UUID) (ok bool, err error) {
	if !n.cfg.Role.delivers() {
		return false, errNoRights
	}
	if n.alone() {
		return n.hold(relay, nil), nil
	}
	err = n.ask(ctx, func(ctx context.Context, s *session) error {
		if n.holds(relay) {
			return nil
		}
		if !s.shared {
			if err := s.conn.QueryRow(ctx, "select pg_try_advisory_lock_shared($1)", int64(oneNodeLock)).Scan(&s.shared); err != nil || !s.shared {
				return err
			}
		}
		var got bool
		if err := s.conn.QueryRow(ctx, "select pg_try_advisory_lock($1)", relayLock(relay)).Scan(&got); err != nil {
			return err
		}
		ok = got && n.hold(relay, s)
		return nil
	})
	return ok, err
}

// Unlock gives a right back. One that was lost, or never given, is no fault.
func (n *Node) Unlock(ctx context.Context, relay uuid.UUID) error {
	if n.alone() {
		n.release(relay)
		return nil
	}
	err := n.ask(ctx, func(ctx context.Context, s *session) error {
		if !n.holds(relay) {
			return nil
		}
		var was bool
		if err := s.conn.QueryRow(ctx, "select pg_advisory_unlock($1)", relayLock(relay)).Scan(&was); err != nil {
			return err
		}
		n.release(relay)
		if n.Peers() > 1 {
			n.outbox.free(relay)
		}
		return nil
	})
	if errors.Is(err, errNoSession) {
		return nil
	}
	return err
}

// hold notes a right of a session. It reports false if we have it already, or have lost the session.
func (n *Node) hold(relay uuid.UUID, s *session) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.session != s || n.held[relay] {
		return false
	}
	n.held[relay] = true
	return true
}

func (n *Node) holds(relay uuid.UUID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.held[relay]
}

func (n *Node) release(relay uuid.UUID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.held, relay)
}
