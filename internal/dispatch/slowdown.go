package dispatch

import "time"

const (
	// cutEvery is how often at most the level is halved: replies that come together tell of one overload.
	cutEvery = time.Second
	// minLevel bounds how slow we get: one message in half a minute.
	minLevel = 1.0 / 32
	// riseSlow is what comes back a second while the level is below one message at a time: a minute from the slowest.
	riseSlow = 1.0 / 60
	// riseParts is how many seconds it takes to come back from one message at a time to the full number of connections.
	riseParts = 20
)

// slowdown is how much a relay takes after it has told us to slow down (421, 432, 450, 451, 452, 454): halved with each such reply, but
// once a second and once a round trip, and added back by and by. The level is the number of messages sent at the same time; below 1
// there is one at a time, with pauses that make up for the rest: 1 s at 1/2, 3 s at 1/4.
//
// Owned by the goroutine that drains the relay.
type slowdown struct {
	max   float64   // what the relay's limit on connections allows
	level float64   // at time at
	at    time.Time // zero: never slowed down, the level is max
	cut   time.Time // when it was last halved
}

// now returns the level at a time.
func (s *slowdown) now(now time.Time) float64 {
	if s.at.IsZero() {
		return s.max
	}
	level, seconds := s.level, max(0, now.Sub(s.at).Seconds())
	if level < 1 {
		needs := (1 - level) / riseSlow
		if seconds < needs {
			return level + seconds*riseSlow
		}
		level, seconds = 1, seconds-needs
	}
	return min(s.max, level+seconds*max(0.5, s.max/riseParts))
}

// slots is how many messages may be sent at the same time.
func (s *slowdown) slots(now time.Time) int { return max(1, int(s.now(now))) }

// gap is the least time between the starts of two messages.
func (s *slowdown) gap(now time.Time) time.Duration {
	level := s.now(now)
	if level >= 1 {
		return 0
	}
	return time.Duration((1/level - 1) * float64(time.Second))
}

// slow takes a reply that asks to slow down, to a message that was started at a time. It says whether the level was halved.
func (s *slowdown) slow(now, started time.Time) bool {
	if !s.cut.IsZero() && (!started.After(s.cut) || now.Sub(s.cut) < cutEvery) {
		return false
	}
	s.level = max(minLevel, s.now(now)/2)
	s.at, s.cut = now, now
	return true
}

// slowed says whether the relay is being slowed down now.
func (s *slowdown) slowed(now time.Time) bool { return s.now(now) < s.max }

// set changes the number of connections that the relay's limit allows.
func (s *slowdown) set(conns int) { s.max = float64(max(1, conns)) }

// load takes a saved level; 0 is the full one.
func (s *slowdown) load(now time.Time, level float64) {
	s.level, s.at, s.cut = 0, time.Time{}, time.Time{}
	if level > 0 && level < s.max {
		s.level, s.at = max(minLevel, level), now
	}
}

// save returns the level to be saved; 0 is the full one.
func (s *slowdown) save(now time.Time) float64 {
	if !s.slowed(now) {
		return 0
	}
	return s.now(now)
}
