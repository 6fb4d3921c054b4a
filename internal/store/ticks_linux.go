package store

import (
	"time"

	"golang.org/x/sys/unix"
)

// ticks is the time since some moment before this process began. No change of the wall clock moves it, and it goes on
// while the machine sleeps, which Go's own does not: a machine that wakes must know at once for how long it was away.
func (c *clock) ticks() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return time.Since(c.started) // cannot be since Linux 2.6.39
	}
	return time.Duration(t.Nano())
}
