//go:build !linux

package sink

import "time"

// sleepUntil is as exact as the runtime's timers are.
func sleepUntil(t time.Time) {
	time.Sleep(time.Until(t)) //nolint:forbidigo // the delay is what was asked for
}
