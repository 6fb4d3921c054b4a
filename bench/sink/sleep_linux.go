package sink

import (
	"syscall"
	"time"
)

// sleepUntil is exact to well under a millisecond, which Go's timers alone are
// not: the last two milliseconds are left to the kernel's own timer.
func sleepUntil(t time.Time) {
	for {
		d := time.Until(t)
		if d <= 0 {
			return
		}
		if d > 3*time.Millisecond {
			time.Sleep(d - 2*time.Millisecond) //nolint:forbidigo // the delay is what was asked for
			continue
		}
		ts := syscall.NsecToTimespec(int64(d))
		_ = syscall.Nanosleep(&ts, nil) // interrupted: the loop sleeps the rest
	}
}
