package ratelimit

import (
	"sort"
	"time"
)

// log remembers when the requests of one key were admitted, oldest first, in microseconds
// of the limiter's clock. It is a ring that grows as needed.
type log struct {
	ring []int64
	head int // of the oldest
	n    int
}

// at is the time of the i-th oldest, 0 <= i < n.
func (l *log) at(i int) int64 {
	if i += l.head; i >= len(l.ring) {
		i -= len(l.ring)
	}
	return l.ring[i]
}

func (l *log) set(i int, at int64) {
	if i += l.head; i >= len(l.ring) {
		i -= len(l.ring)
	}
	l.ring[i] = at
}

// newest is the time of the newest; the log must not be empty.
func (l *log) newest() int64 { return l.at(l.n - 1) }

// forget drops what is no longer in the window: a request counts while less than span has
// passed since. If the clock went back, the log goes back with it: the newest request is
// then now, distances stay, and no key is refused for longer than a window.
func (l *log) forget(now, span int64) {
	if l.n == 0 {
		return
	}
	if back := l.newest() - now; back > 0 {
		for i := range l.n {
			l.set(i, l.at(i)-back)
		}
	}
	if now-l.at(0) < span {
		return
	}
	gone := sort.Search(l.n, func(i int) bool { return now-l.at(i) < span })
	if l.head += gone; l.head >= len(l.ring) {
		l.head -= len(l.ring)
	}
	l.n -= gone
}

// add appends now. The ring grows by doubling, to limit at most, so that a key that asks
// once costs little.
func (l *log) add(now int64, limit int) {
	if l.n == len(l.ring) {
		ring := make([]int64, max(l.n+1, min(max(2*l.n, 4), limit)))
		for i := range l.n {
			ring[i] = l.at(i)
		}
		l.ring, l.head = ring, 0
	}
	l.n++
	l.set(l.n-1, now)
}

// remove takes out one request with the time at, if there is one. It looks at the newest
// first, where a request to refund is.
func (l *log) remove(at int64) {
	for i := l.n - 1; i >= 0 && l.at(i) >= at; i-- {
		if l.at(i) != at {
			continue
		}
		for ; i < l.n-1; i++ {
			l.set(i, l.at(i+1))
		}
		l.n--
		return
	}
}

// take decides about one request now and remembers it if it is allowed. limit may be less
// than the policy's.
func (l *log) take(now int64, p Policy, limit int) Decision {
	span := micros(p.Window)
	l.forget(now, span)
	d := Decision{Limit: p.Limit}
	if l.n < limit {
		l.add(now, limit)
		d.Allowed, d.Receipt[0] = true, now
	}
	d.Remaining = max(0, limit-l.n)
	// After a limit was lowered there may be more requests than it allows: there is room
	// only when all beyond it have left.
	d.Reset = time.Duration(l.at(max(0, l.n-limit))+span-now) * time.Microsecond
	if !d.Allowed {
		d.RetryAfter = d.Reset
	}
	return d
}

// micros is d in microseconds, rounded up: a window is never shorter than it says.
func micros(d time.Duration) int64 {
	return int64((d + time.Microsecond - 1) / time.Microsecond)
}
