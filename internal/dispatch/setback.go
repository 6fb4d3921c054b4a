package dispatch

import "time"

// leastStep is from what on a clock that is behind what it was counts as set back. Less passes by itself.
const leastStep = time.Second

// steppedBack is by how much the clock was set back between two looks at it, as when another server with another clock has become the database; 0: it was not.
func steppedBack(before, now time.Time) time.Duration {
	if back := before.Sub(now); !before.IsZero() && back > leastStep {
		return back
	}
	return 0
}

// setBack forgets until when relays are left alone: by a clock that was set back that would be for too long.
func (d *Dispatcher) setBack() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.resting)
	clear(d.free)
	clear(d.asked)
	clear(d.away)
	d.cfg.Logger.Warn("the clock was set back; what waited for a time goes on waiting for as long as it would have")
}

// setBack moves all times that the drain goes by along with a clock that was set back.
func (dr *drain) setBack(by time.Duration, now time.Time) {
	if by <= 0 {
		return
	}
	for _, t := range []*time.Time{
		&dr.lastStart, &dr.lookAgain, &dr.looked, &dr.refreshed, &dr.heldUntil, &dr.backAt, &dr.began, &dr.trouble, &dr.idleFrom,
		&dr.circuit.until, &dr.circuit.opened, &dr.limits.last, &dr.slow.at, &dr.slow.cut,
	} {
		if !t.IsZero() {
			*t = t.Add(-by)
		}
	}
	for _, w := range []*window{&dr.limits.minute, &dr.limits.day} {
		for i := range w.ticks {
			w.ticks[i].At -= by.Milliseconds()
		}
	}
	dr.since.Store(now.UnixMilli())
	dr.leave.Store(0)
	dr.news = news{}
	dr.look, dr.unsaved = true, true
}
