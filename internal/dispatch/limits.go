package dispatch

import (
	"encoding/json"
	"time"
)

// relayLimits are the settings of a relay that bound how fast it is sent to. 0 is no limit, but of connections.
type relayLimits struct {
	conns             int // messages sent at the same time
	messagesPerMinute int
	recipientsPerDay  int
}

// limits counts what a relay has been sent in the last minute and in the last 24 hours. Neither limit is passed in any 60 s or any 24 h,
// wherever those begin, nor by a restart or when the relay passes to another node: see window.
//
// The second half of a minute's messages is spread over the time until those of the first half no longer count. So the minute is never used up,
// and who comes later waits for two minutes divided by the limit at most, not for the rest of a minute that another tenant used up in its first second.
//
// Owned by the goroutine that drains the relay.
type limits struct {
	minute, day window
	last        time.Time // when the last message was started
}

// limitsState is what is saved of limits.
type limitsState struct {
	Minute windowState `json:"minute,omitzero"`
	Day    windowState `json:"day,omitzero"`
}

func newLimits(set relayLimits) *limits {
	l := &limits{
		minute: window{span: time.Minute, step: 100 * time.Millisecond},
		day:    window{span: 24 * time.Hour, step: 8 * time.Minute},
	}
	l.set(set)
	return l
}

// set changes the limits; what was counted stays.
func (l *limits) set(set relayLimits) {
	l.minute.limit, l.day.limit = max(0, set.messagesPerMinute), max(0, set.recipientsPerDay)
}

// none says that there are no limits, so that nothing has to be saved.
func (l *limits) none() bool { return l.minute.limit == 0 && l.day.limit == 0 }

// spread is how long after the last message the next one may start: nothing in the first half of the minute's messages.
func (l *limits) spread(now time.Time) time.Duration {
	used := l.minute.used(now)
	left := l.minute.limit - used
	if l.minute.limit == 0 || used < (l.minute.limit+1)/2 || left <= 0 || len(l.minute.ticks) == 0 {
		return 0
	}
	free := time.UnixMilli(l.minute.ticks[0].At).Add(l.minute.span)
	return free.Sub(now) / time.Duration(left+1)
}

// startAt says when a message to so many recipients may start: now or earlier for at once. reason names the limit
// that holds it.
func (l *limits) startAt(now time.Time, recipients int) (at time.Time, reason string) {
	if !l.day.fits(now, recipients) {
		return l.day.freeAt(now, recipients), reasonDay
	}
	if !l.minute.fits(now, 1) {
		return l.minute.freeAt(now, 1), reasonMinute
	}
	if at := l.last.Add(l.spread(now)); at.After(now) {
		return at, reasonMinute
	}
	return now, ""
}

// reserved says whether the saved state covers the start of a message to so many recipients.
func (l *limits) reserved(recipients int) bool {
	return (l.minute.limit == 0 || l.minute.ahead >= 1) && (l.day.limit == 0 || l.day.ahead >= recipients)
}

// low says that less than half of the reserve is left: it is time to save. Where there is no reserve, since the limit is used up, a save would bring
// none.
func (l *limits) low() bool { return l.minute.low() || l.day.low() }

// room says how many messages may start within a time from now on, as far as the minute's limit goes; limit if there is none.
func (l *limits) room(now time.Time, within time.Duration, limit int) int {
	if l.minute.limit == 0 {
		return limit
	}
	n := l.minute.room(now)
	if gap := l.spread(now); gap > 0 {
		n = min(n, int((within+now.Sub(l.last))/gap))
	}
	return max(0, min(n, limit))
}

func (l *limits) start(now time.Time, recipients int) {
	l.last = now
	l.minute.start(1)
	l.day.start(recipients)
}

// done ends a message that start began. seen: the relay may have seen it.
func (l *limits) done(now time.Time, recipients int, seen bool) {
	l.minute.done(now, 1, seen)
	l.day.done(now, recipients, seen)
}

// save returns the state to be saved, with a reserve for the time until the next save: a twentieth of each limit and at
// least one message to so many recipients. With last there is none: the relay is let go of.
func (l *limits) save(now time.Time, recipients int, last bool) limitsState {
	minute, day := max(1, l.minute.limit/20), max(recipients, l.day.limit/20)
	if last {
		minute, day = 0, 0
	}
	return limitsState{Minute: l.minute.save(now, minute), Day: l.day.save(now, day)}
}

// saved tells that the state that save returned last has been written.
func (l *limits) saved() {
	l.minute.saved()
	l.day.saved()
}

// load replaces the counts by saved ones.
func (l *limits) load(now time.Time, s limitsState) {
	l.minute.load(now, s.Minute)
	l.day.load(now, s.Day)
}

// parseState reads a saved state; one that cannot be read, of a version to come, is the same as none.
func parseState[T any](text []byte) T {
	var s T
	if len(text) == 0 || json.Unmarshal(text, &s) != nil {
		var none T
		return none
	}
	return s
}

// Reasons why a relay is held, as people are told them.
const (
	reasonMinute = "the relay's limit of messages a minute"
	reasonDay    = "the relay's limit of recipients a day"
)
