package store

import (
	"time"

	"github.com/google/uuid"
)

// Commit is a transaction that the store made, as Config.Observe is told of it.
type Commit struct {
	// Accepts, Outcomes and Marks are how many callers it served: a caller may accept several messages.
	Accepts, Outcomes, Marks int
	// Duration is how long it took, from the first statement to the end of the commit.
	Duration time.Duration
	// Err is nil if it was committed.
	Err error
	// Accepted counts the messages that are in the spool now, by relay.
	Accepted map[uuid.UUID]int
	// GivenUp counts recipients, by relay, that failed since their message could not be tried in time. They are in no outcome.
	GivenUp map[uuid.UUID]int
}

// observe tells of a group commit.
func (s *Store) observe(group []*waiting, took time.Duration, err error) {
	if s.cfg.Observe == nil {
		return
	}
	c := Commit{Duration: took, Err: err}
	for _, w := range group {
		switch u := w.unit.(type) {
		case *acceptUnit:
			c.Accepts++
			if err != nil || w.err != nil || u.err != nil || u.replay != nil {
				continue
			}
			for i := range u.msgs {
				if c.Accepted == nil {
					c.Accepted = map[uuid.UUID]int{}
				}
				c.Accepted[u.msgs[i].RelayID]++
			}
		case *outcomeUnit:
			c.Outcomes++
		case *markUnit:
			c.Marks++
		}
	}
	s.cfg.Observe(c)
}
