package dispatch

import "time"

const (
	// opensAfter is how many failures in a row open the circuit: one may be an accident of one connection.
	opensAfter = 3
	// firstWait and maxWait bound how long it stays open; it doubles from the one to the other.
	firstWait, maxWait = time.Second, 5 * time.Minute
	// waitJitter spreads the wait, so that the relays behind one broken line are not probed all at once.
	waitJitter = 0.2
)

// circuit keeps messages away from a relay that cannot be reached. It is closed, and everything passes. After a failure (to dial, to be greeted, to agree on
// TLS) messages pass one at a time; after opensAfter failures in a row it is open, and nothing passes for a time; then one message passes, the probe: if
// the relay takes up the conversation the circuit is closed, otherwise it stays open for twice as long.
// Messages that are not let through use up no attempt.
//
// Owned by the goroutine that drains the relay.
type circuit struct {
	failures int       // in a row
	until    time.Time // open until then
	opened   time.Time
	probing  bool
}

// pass says how many messages may be started now: many, one or none.
func (c *circuit) pass(now time.Time, many int) int {
	switch {
	case c.failures == 0:
		return many
	case c.probing || now.Before(c.until):
		return 0
	default:
		return min(1, many)
	}
}

// single says that messages are sent one at a time.
func (c *circuit) single() bool { return c.failures > 0 }

// open says whether the circuit is open or waits for its probe.
func (c *circuit) open() bool { return c.failures >= opensAfter }

// start tells that a message was started.
func (c *circuit) start() { c.probing = c.failures > 0 }

// done takes what a message met that was started at a time: down, if the relay could not be reached. random is in [0,1). It says whether
// the circuit opened, stayed open for longer, or closed.
func (c *circuit) done(now, started time.Time, down bool, random float64) (changed bool) {
	if !down {
		changed = c.open()
		*c = circuit{}
		return changed
	}
	if c.open() && !started.After(c.opened) {
		return false // it was under way when the circuit opened, and tells nothing new
	}
	c.failures++
	c.probing = false
	if !c.open() {
		return false
	}
	wait := maxWait
	if n := c.failures - opensAfter; n < 20 {
		wait = min(maxWait, firstWait<<n)
	}
	wait += time.Duration((2*random - 1) * waitJitter * float64(wait))
	c.opened, c.until = now, now.Add(min(wait, maxWait))
	return true
}

// untried tells that a message that was started came back without having met the relay.
func (c *circuit) untried() { c.probing = false }

// load takes a saved state: how many failures there were in a row, and until when it is open.
func (c *circuit) load(failures int, until time.Time) {
	*c = circuit{}
	if failures > 0 {
		c.failures, c.until = failures, until
	}
}
