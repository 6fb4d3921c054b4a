package store

import (
	"context"
	"sync/atomic"
	"time"
)

// clock is the database's clock as this process knows it: what it showed once, and the time since. So nodes whose wall
// clocks differ agree on what is due, and a wall clock that is set changes nothing.
type clock struct {
	started time.Time // when the store was opened, with Go's monotonic reading
	// base is the database's time, in nanoseconds since 1970, at tick 0; 0: it was never asked.
	base atomic.Int64
}

// now is the database's time.
func (c *clock) now() time.Time { return time.Unix(0, c.base.Load()+int64(c.ticks())).UTC() }

// set takes the database's answer to the question what time it is, which was asked at a tick and came at another. The
// answer was right at some moment between. What the clock shows is left alone if that agrees, and else moved no
// further than it must be: a slow answer says little, and a clock that does not jump to and fro is worth more.
func (c *clock) set(at time.Time, asked, came time.Duration) {
	earliest, latest := at.UnixNano()-int64(came), at.UnixNano()-int64(asked)
	old := c.base.Load()
	if old == 0 {
		c.base.Store(earliest + (latest-earliest)/2)
		return
	}
	c.base.Store(min(max(old, earliest), latest))
}

// Now is the time by which messages are due and expire, to the microsecond. On PostgreSQL it is the database's clock, so
// that all nodes agree: it is asked when the store is opened and with each beat of a Node, and between, the time that
// passes is added. On SQLite it is the machine's clock. Config.Now comes before both.
//
// Timers must be set by differences of it, never with time.Until, which would compare with this machine's clock.
func (s *Store) Now() time.Time { return s.now() }

// askClock asks the database for its time.
func (s *Store) askClock(ctx context.Context, t tx) error {
	var at time.Time
	asked := s.clock.ticks()
	if err := t.row(ctx, "select clock_timestamp()").Scan(&at); err != nil {
		return err
	}
	s.clock.set(at, asked, s.clock.ticks())
	return nil
}
