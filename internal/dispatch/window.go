package dispatch

import "time"

// window counts what was done in the last span of time, so that no more than limit is done in any span, wherever that begins.
// Time goes in steps: what was done in a step counts until the whole step is older than the span. What is under way
// counts as if done now, for the relay sees it at some moment between its start and its end.
//
// A count must survive a crash without a write for each message. So some of the limit is reserved ahead: the saved state says
// that it is used already, and only what was reserved may be started. After a crash the whole reserve counts as used.
type window struct {
	limit  int // 0: none, and nothing is counted
	span   time.Duration
	step   time.Duration
	ticks  []tick // oldest first, at most one a step
	sum    int    // of ticks
	flying int    // under way

	ahead   int // reserved in the saved state and not started yet
	reserve int // reserved by the state that save returned last
	since   int // started since
}

// tick is what was done in one step.
type tick struct {
	At int64 `json:"at"` // end of the step, ms since 1970
	N  int   `json:"n"`
}

// windowState is a window as it is saved.
type windowState struct {
	Ticks []tick `json:"ticks,omitempty"`
	// Ahead is what was under way or might have been started since: it counts as done when the state is loaded.
	Ahead int `json:"ahead,omitempty"`
}

// prune forgets what is older than the span.
func (w *window) prune(now time.Time) {
	old, n := now.Add(-w.span).UnixMilli(), 0
	for n < len(w.ticks) && w.ticks[n].At <= old {
		w.sum -= w.ticks[n].N
		n++
	}
	if n > 0 {
		w.ticks = w.ticks[:copy(w.ticks, w.ticks[n:])]
	}
}

// used is what counts against the limit now.
func (w *window) used(now time.Time) int {
	w.prune(now)
	return w.sum + w.flying
}

// room says how much more may be started now, apart from the reserve. Meaningless without a limit.
func (w *window) room(now time.Time) int { return max(0, w.limit-w.used(now)) }

// fits says whether n more may be started now. What is larger than the limit fits when there is nothing else in the window: it
// could never be sent otherwise.
func (w *window) fits(now time.Time, n int) bool {
	used := w.used(now)
	return w.limit == 0 || used+n <= w.limit || used == 0
}

// freeAt says when n more will fit if nothing is started meanwhile. What is under way is taken to end now.
func (w *window) freeAt(now time.Time, n int) time.Time {
	over := w.used(now) + min(n, w.limit) - w.limit
	if w.limit == 0 || over <= 0 {
		return now
	}
	for _, t := range w.ticks {
		if over -= t.N; over <= 0 {
			return time.UnixMilli(t.At).Add(w.span)
		}
	}
	return time.UnixMilli(w.end(now)).Add(w.span) // what is under way must end first
}

// start begins n, out of the reserve.
func (w *window) start(n int) {
	if w.limit > 0 {
		w.flying += n
		w.ahead = max(0, w.ahead-n)
		w.since += n
	}
}

// done ends n that start began; they count from now on if the relay may have seen them.
func (w *window) done(now time.Time, n int, seen bool) {
	if w.limit == 0 {
		return
	}
	w.flying = max(0, w.flying-n)
	if seen {
		w.add(now, n)
	}
}

// add counts n done at a time.
func (w *window) add(at time.Time, n int) { w.put(w.end(at), n) }

// end is the end of the step that a time is in, in ms since 1970.
func (w *window) end(at time.Time) int64 {
	step := w.step.Milliseconds()
	return (at.UnixMilli()/step + 1) * step
}

// put counts n in the step that ends at a time. A time before the newest, as from a clock that was put right, counts as the newest.
func (w *window) put(end int64, n int) {
	w.sum += n
	if last := len(w.ticks) - 1; last >= 0 && w.ticks[last].At >= end {
		w.ticks[last].N += n
		return
	}
	w.ticks = append(w.ticks, tick{At: end, N: n})
}

// save returns the state to be saved, with a reserve of up to ahead to start before the next save. It can be used once the state
// is saved; until then what is left of the one before can.
func (w *window) save(now time.Time, ahead int) windowState {
	if w.limit == 0 {
		return windowState{}
	}
	w.reserve = ahead
	if used := w.used(now); used > 0 { // else also for something larger than the limit; see fits
		w.reserve = min(ahead, max(0, w.limit-used))
	}
	w.ahead, w.since = min(w.ahead, w.reserve), 0
	s := windowState{Ahead: w.flying + w.reserve}
	coarse := w.coarse()
	for _, t := range w.ticks {
		at := (t.At + coarse - 1) / coarse * coarse
		if last := len(s.Ticks) - 1; last >= 0 && s.Ticks[last].At == at {
			s.Ticks[last].N += t.N
			continue
		}
		s.Ticks = append(s.Ticks, tick{At: at, N: t.N})
	}
	return s
}

// saved tells that the state that save returned last has been written: its reserve can be used.
func (w *window) saved() { w.ahead = max(0, w.reserve-w.since) }

// low says that less than half of the reserve is left.
func (w *window) low() bool { return w.limit > 0 && w.ahead < (w.reserve+1)/2 }

// coarse is the step of a saved state, in ms: the 60th part of the span, so that the state stays small.
func (w *window) coarse() int64 { return max(w.step, w.span/60).Milliseconds() }

// load replaces the counts by saved ones. What was reserved counts as done now. Times to come, from another node's clock, count as now.
func (w *window) load(now time.Time, s windowState) {
	w.ticks, w.sum, w.flying, w.ahead = nil, 0, 0, 0
	if w.limit == 0 {
		return
	}
	newest := now.UnixMilli() + w.coarse()
	for _, t := range s.Ticks {
		if t.N > 0 {
			w.put(min(t.At, newest), t.N)
		}
	}
	if s.Ahead > 0 {
		w.add(now, s.Ahead)
	}
	w.prune(now)
}
