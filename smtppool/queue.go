package smtppool

import (
	"container/list"
	"time"

	"github.com/postrider/postrider/smtp"
)

// maxDialing is how many connections are opened at once: a handshake takes several times the memory of the session
// that comes of it, and servers take a burst of connections for an attack.
const maxDialing = 16

// waiter is a caller that found no idle connection.
type waiter struct {
	fresh   bool // only a connection that has just been dialled will do
	since   time.Time
	element *list.Element // its place in the queue; nil once it has left or was answered
	result  chan served   // of capacity 1, so that whoever answers never waits
}

// served is what a waiter gets: a borrowed connection or an error.
type served struct {
	member *member
	err    error
}

// enqueue adds a waiter at the end, or at the front if it had its turn already and was given a dead connection.
func (p *Pool) enqueue(now time.Time, fresh bool) *waiter {
	w := &waiter{fresh: fresh, since: now, result: make(chan served, 1)}
	if fresh {
		w.element = p.waiters.PushFront(w)
	} else {
		w.element = p.waiters.PushBack(w)
	}
	return w
}

// dequeue removes a waiter and counts its time.
func (p *Pool) dequeue(w *waiter, now time.Time) {
	p.waiters.Remove(w.element)
	w.element = nil
	p.counts.waited += now.Sub(w.since)
}

func (p *Pool) answer(w *waiter, s served, now time.Time) {
	p.dequeue(w, now)
	w.result <- s
}

// first is the waiter to serve next; the queue must not be empty.
func (p *Pool) first() *waiter { return waiterOf(p.waiters.Front()) }

func waiterOf(e *list.Element) *waiter {
	w, _ := e.Value.(*waiter) // nothing else is ever put in
	return w
}

// offer hands a usable connection to the first waiter that it suits, or keeps it idle. fresh: just dialled.
func (p *Pool) offer(m *member, fresh bool, now time.Time) {
	for e := p.waiters.Front(); e != nil; e = e.Next() {
		if w := waiterOf(e); fresh || !w.fresh {
			p.lend(m)
			p.answer(w, served{member: m}, now)
			return
		}
	}
	p.keep(m, now)
}

// settle does what the present state asks for: dials on behalf of the queue, or tells the waiters that nothing
// can serve them. It is called after each change that could matter to a waiter. One that needs a fresh connection
// cannot starve behind idle ones: it gave up a place when it queued, and each dial serves the front of the queue.
func (p *Pool) settle(now time.Time) {
	if p.closed || p.waiters.Len() == 0 {
		return
	}
	if now.Before(p.retryAt) {
		p.tellWaiters(now)
		if p.waiters.Len() > 0 {
			p.wakeAt(p.retryAt, now)
		}
		return
	}
	for p.counts.dialing < p.waiters.Len() {
		// Without a live connection, and after a failure, one at a time: ten at once would try a wrong password ten
		// times.
		if !p.proven && p.counts.dialing > 0 {
			return
		}
		if len(p.members)+p.counts.dialing >= p.cfg.MaxConns || p.counts.dialing >= maxDialing {
			return
		}
		p.counts.dialing++
		p.pending++
		go p.dial(now)
	}
}

// tellWaiters answers those whom nothing can serve while no dial is allowed: neither a dial under way nor, for
// those that take any, a borrowed connection that will come back.
func (p *Pool) tellWaiters(now time.Time) {
	if p.counts.dialing > 0 {
		return
	}
	var next *list.Element
	for e := p.waiters.Front(); e != nil; e = next {
		next = e.Next()
		w := waiterOf(e)
		if w.fresh || p.counts.inUse == 0 {
			err := &BackoffError{Until: p.retryAt, Wait: p.retryAt.Sub(now), Err: p.dialErr}
			p.answer(w, served{err: err}, now)
		}
	}
}

// dial opens one connection for whoever is first in the queue when it is open.
func (p *Pool) dial(began time.Time) {
	conn, err := p.dialer.Dial(p.dialCtx)
	if err != nil {
		p.dialFailed(err, began)
		return
	}
	m := &member{conn: conn}
	// Watched from the beginning; never registered under the lock, since it may run at once.
	m.forgetEnd = conn.AfterClose(func() { p.died(m) })
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	m.oldAt = p.ageLimit(now)
	p.counts.dialing--
	p.counts.dialled++
	p.members = append(p.members, m) // p.pending counts it on
	p.proven, p.failures, p.retryAt, p.dialErr = true, 0, time.Time{}, nil
	if reason, quit := p.unfit(m, now); reason != "" {
		p.retire(m, reason, quit)
	} else {
		p.offer(m, true, now)
	}
	p.settle(now)
}

// dialFailed begins or prolongs the pause, and leaves it to settle who has to be told.
func (p *Pool) dialFailed(err error, began time.Time) {
	p.mu.Lock()
	now := time.Now()
	p.counts.dialing--
	if !p.closed { // else the dial was interrupted by Close
		p.counts.dialFailures++
		p.proven = false
		p.dialErr = err
		// Dials that were under way together fail together: one incident, one step.
		if p.failures == 0 || began.After(p.failedAt) {
			p.failures++
			p.failedAt = now
			p.retryAt = now.Add(p.cfg.Backoff.pause(p.failures, smtp.IsRelayFault(err)))
		}
		wait := p.retryAt.Sub(now)
		p.settle(now)
		p.mu.Unlock()
		p.cfg.Logger.Warn("smtppool: cannot connect", "error", err, "next_try_in", wait.Round(time.Millisecond))
		p.mu.Lock()
	}
	p.pending-- // last, so that Close waits for the log call too
	p.finish()
	p.mu.Unlock()
}
