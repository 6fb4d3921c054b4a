package delivery

import (
	"time"

	"github.com/postrider/postrider/retry"
)

const (
	// unknownWait is the least time between an attempt whose end is unknown and the one
	// further attempt: RFC 5321 §4.5.3.2.6 gives a relay ten minutes for its last reply,
	// and one that is that slow may need as long again to file the message.
	unknownWait = 10 * time.Minute
	// jitter is that of retry.Durable.
	jitter = 0.2
)

// scheduleOf is a relay's schedule: its waits, the last of them for ever; the service's own if
// it has none. When a message is given up is written in the message.
func scheduleOf(waits []time.Duration) retry.Schedule {
	if len(waits) == 0 {
		s := retry.Durable()
		s.GiveUpAfter = 0
		return s
	}
	last := max(waits[len(waits)-1], time.Second) // for ever without a pause would be an attack
	return retry.Schedule{Delays: waits, Base: last, Max: last, Jitter: jitter}
}
