package store

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

const (
	// defaultMinFree is Config.MinFreeBytes when it is 0.
	defaultMinFree = 256 << 20
	// spaceInterval is how old the last look at the disk may be.
	spaceInterval = time.Second
)

// space remembers how much room the disk has.
type space struct {
	mu   sync.Mutex
	at   time.Time
	free int64
}

// room refuses what would fill the disk of a SQLite database, while delivery can still write what it knows. PostgreSQL's disk
// is not ours to see.
func (s *Store) room(context.Context) error {
	if s.cfg.URL != "" || s.cfg.MinFreeBytes < 0 {
		return nil
	}
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	if now := time.Now(); now.Sub(s.space.at) >= spaceInterval {
		free, err := freeBytes(filepath.Dir(s.cfg.Path))
		if err != nil { // the write itself will tell
			return nil
		}
		s.space.at, s.space.free = now, free
	}
	if limit := s.cfg.MinFreeBytes; s.space.free < limit {
		return fmt.Errorf("%w: %d MiB are free on the disk of %s, fewer than %d: make room, nothing is accepted until then",
			ErrNoSpace, s.space.free>>20, s.cfg.Path, limit>>20)
	}
	return nil
}
