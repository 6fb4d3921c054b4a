package store

import (
	"context"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// announcedMost is how many relays one announcement names: PostgreSQL takes less than 8000 octets.
	announcedMost = 200
	// announcedAll stands for more than that.
	announcedAll = "*"
	// freedMark stands before relays that were let go of, of which an announcement names so many at most.
	freedMark = "-"
	freedMost = 10
	// announceWait bounds the sending of one.
	announceWait = 5 * time.Second
)

// outbox gathers relays that the other nodes are to be told of.
type outbox struct {
	mu     sync.Mutex
	some   bool
	relays map[uuid.UUID]struct{}
	freed  map[uuid.UUID]struct{} // relays that we let go of
	wake   chan struct{}
}

func newOutbox() *outbox {
	return &outbox{relays: map[uuid.UUID]struct{}{}, freed: map[uuid.UUID]struct{}{}, wake: make(chan struct{}, 1)}
}

// add gathers relays; none means that something was accepted for later. It does not block.
func (o *outbox) add(relays []uuid.UUID) {
	o.mu.Lock()
	o.some = true
	for _, r := range relays {
		if len(o.relays) <= announcedMost {
			o.relays[r] = struct{}{}
		}
	}
	o.mu.Unlock()
	o.rouse()
}

// free adds a relay that this node let go of. Those that are too many are found by the others' look.
func (o *outbox) free(relay uuid.UUID) {
	o.mu.Lock()
	if len(o.freed) < freedMost {
		o.freed[relay] = struct{}{}
	}
	o.mu.Unlock()
	o.rouse()
}

func (o *outbox) rouse() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take returns the announcement of what was gathered; "" if there is nothing.
func (o *outbox) take(node uuid.UUID) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.some && len(o.freed) == 0 {
		return ""
	}
	parts := []string{node.String()}
	for r := range maps.Keys(o.freed) {
		parts = append(parts, freedMark+r.String())
	}
	clear(o.freed)
	if len(o.relays) > announcedMost {
		parts = append(parts, announcedAll)
	} else {
		for r := range maps.Keys(o.relays) {
			parts = append(parts, r.String())
		}
	}
	o.some = false
	clear(o.relays)
	return strings.Join(parts, ",")
}

// readAnnouncement reads what another node sent: the relays, or none for all that there may be. It reports false for our own,
// and for what we do not understand.
func readAnnouncement(text string, self uuid.UUID) (relays, freed []uuid.UUID, ok bool) {
	parts := strings.Split(text, ",")
	node, err := uuid.Parse(parts[0])
	if err != nil || node == self {
		return nil, nil, false
	}
	for _, p := range parts[1:] {
		if p == announcedAll {
			return nil, nil, true // also of what was let go of the look will tell
		}
		id, free := strings.CutPrefix(p, freedMark)
		r, err := uuid.Parse(id)
		switch {
		case err != nil:
			return nil, nil, false
		case free:
			freed = append(freed, r)
		default:
			relays = append(relays, r)
		}
	}
	return relays, freed, true
}

// runOutbox tells the other nodes what this one accepted, until ctx ends. It has its own transaction, through the pool: a commit of
// messages must not wait for it, nor fail with it. What is not told is found by the others' look, once a second.
func (n *Node) runOutbox(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.outbox.wake:
		}
		text := n.outbox.take(n.cfg.ID)
		if text == "" {
			continue
		}
		if err := n.s.notify(ctx, text); err != nil && ctx.Err() == nil {
			n.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "the other nodes could not be told of new messages", slog.String("error", err.Error()))
		}
		pause(ctx, n.cfg.AnnounceEvery)
	}
}

// notify sends an announcement. It is not written to the disk: with the server those end who would hear it.
func (s *Store) notify(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, announceWait)
	defer cancel()
	return s.db.run(ctx, scope{}, readOne, func(t tx) error {
		_, err := t.exec(ctx, "select set_config('synchronous_commit', 'off', true), pg_notify($1, $2)", channel, text)
		return err
	})
}

// tell announces relays within this process; none: something was accepted for later, or may be due anywhere.
func (s *Store) tell(relays []uuid.UUID) {
	if fn := s.accepted.Load(); fn != nil {
		(*fn)(relays)
	}
}

// tellAll announces them to the other nodes too.
func (s *Store) tellAll(relays []uuid.UUID) {
	s.tell(relays)
	if n := s.node.Load(); n != nil {
		n.outbox.add(relays)
	}
}
