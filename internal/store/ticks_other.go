//go:build !linux

package store

import "time"

// ticks is the time since the store was opened. No change of the wall clock moves it.
func (c *clock) ticks() time.Duration { return time.Since(c.started) }
