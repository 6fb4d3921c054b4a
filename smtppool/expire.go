package smtppool

import (
	"math/rand/v2"
	"time"
)

// wakeAt makes sure that tick runs no later than at. The pool has one timer for everything. It is set to the
// earliest need and looks for the next one when it fires, so that lending and taking back hardly ever touch it.
func (p *Pool) wakeAt(at, now time.Time) {
	if !p.timerAt.IsZero() && !at.Before(p.timerAt) || p.closed {
		return
	}
	wait := max(at.Sub(now), 0)
	switch {
	case p.timer == nil:
		p.timer = time.AfterFunc(wait, p.tick)
		p.pending++
	case p.timerAt.IsZero():
		p.timer.Reset(wait)
		p.pending++
	case p.timer.Stop():
		p.timer.Reset(wait)
	default:
		// It is firing: tick waits for the lock and will see the new need itself.
	}
	p.timerAt = at
}

// tick closes idle connections whose time is over, lets the queue dial again after a pause, and sets the timer anew.
func (p *Pool) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timerAt = time.Time{}
	p.pending--
	if p.closed {
		p.finish()
		return
	}
	now := time.Now()
	kept := p.idle[:0]
	for _, m := range p.idle {
		if reason, quit := p.unfit(m, now); reason != "" {
			p.retire(m, reason, quit)
		} else {
			kept = append(kept, m)
		}
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	for _, m := range p.idle {
		if !m.expires.IsZero() {
			p.wakeAt(m.expires, now)
		}
	}
	p.settle(now)
}

// ageLimit is the end of life of a connection made now, spread by ageJitter.
func (p *Pool) ageLimit(now time.Time) time.Time {
	if p.cfg.MaxAge < 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(float64(p.cfg.MaxAge) * (1 - ageJitter + 2*ageJitter*rand.Float64()))) //nolint:gosec // no secret
}

// pause is the wait after the given number of failures in a row.
func (b Backoff) pause(failures int, relayFault bool) time.Duration {
	low, high := b.Min, b.Max
	if relayFault {
		low, high = b.RelayMin, b.RelayMax
	}
	// The spread goes upward, so that low is kept, and the bound leaves room for it.
	d := float64(low)
	for range failures - 1 {
		if d *= 2; d > float64(high) {
			break
		}
	}
	d = max(min(d, float64(high)/(1+backoffSpread)), float64(low))
	d *= 1 + backoffSpread*rand.Float64() //nolint:gosec // no secret
	return time.Duration(min(d, float64(high)))
}
