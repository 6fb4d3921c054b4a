package store

import (
	"context"
	"sync/atomic"

	"github.com/google/uuid"
)

// spooler is the part of a Store that commits in groups. On SQLite both committers are one, since there is one connection
// that writes: accepts and outcomes share commits. On PostgreSQL each has one writer: a second one for accepts made the groups
// half as large, and waited for the first one's counters anyway.
type spooler struct {
	accepts  *committer
	outcomes *committer
	accepted atomic.Pointer[func(relays []uuid.UUID)]
	space    space
	swept    swept
}

func (s *Store) startWriters() {
	if s.cfg.URL == "" {
		all := &committer{
			begin: func(ctx context.Context, fn func(tx) error) error { return s.asDelivery(ctx, readWrite, fn) },
			apply: s.apply, committed: s.announce, observed: s.observe,
		}
		all.start(1)
		s.accepts, s.outcomes = all, all
		return
	}
	s.accepts = &committer{
		begin: func(ctx context.Context, fn func(tx) error) error { return s.inTenants(ctx, readWrite, fn) },
		apply: s.apply, committed: s.announce, observed: s.observe, timeout: commitTimeout,
	}
	s.outcomes = &committer{
		begin: func(ctx context.Context, fn func(tx) error) error { return s.asDelivery(ctx, readWrite, fn) },
		apply: s.apply, observed: s.observe, timeout: commitTimeout,
	}
	s.accepts.start(1)
	s.outcomes.start(1)
}

func (s *Store) stopWriters() {
	s.accepts.stop()
	if s.outcomes != s.accepts {
		s.outcomes.stop()
	}
}

// apply writes a group of any units.
func (s *Store) apply(ctx context.Context, t tx, group []unit) error {
	var accepts []*acceptUnit
	var marks []*markUnit
	var outcomes []*outcomeUnit
	for _, u := range group {
		switch u := u.(type) {
		case *acceptUnit:
			accepts = append(accepts, u)
		case *markUnit:
			marks = append(marks, u)
		case *outcomeUnit:
			outcomes = append(outcomes, u)
		}
	}
	if len(accepts) > 0 {
		if err := s.applyAccepts(ctx, t, accepts); err != nil {
			return err
		}
	}
	if len(marks)+len(outcomes) > 0 {
		return s.applyRecords(ctx, t, marks, outcomes)
	}
	return nil
}
