package smtppool

import (
	"slices"
	"time"

	"github.com/postrider/postrider/smtp"
)

// Conn is a borrowed session: all of *smtp.Conn, and Release. One goroutine at a time, as with *smtp.Conn.
type Conn struct {
	*smtp.Conn
	pool   *Pool
	member *member
	reused bool
}

// Reused says whether the session served somebody before this borrowing.
func (c *Conn) Reused() bool { return c.reused }

// Release gives the session back. The pool decides itself whether it is used again: not if it has failed or was
// closed (smtp.Conn.Closed), nor beyond its age and number of messages. Whoever drives commands by hand ends an
// open transaction with Reset first. A second Release does nothing; the Conn must not be used after the first.
func (c *Conn) Release() {
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := c.member; m != nil {
		c.member = nil
		p.giveBack(m, time.Now())
	}
}

// state is where a connection stands.
type state int

const (
	joining state = iota // dialled, not yet handed over
	inUse
	idle
	closing
)

// member is one established connection. Its fields are guarded by Pool.mu, but for conn, which does not change.
type member struct {
	conn      *smtp.Conn
	state     state
	lent      int         // how often it was borrowed
	oldAt     time.Time   // end of its life; zero: no limit
	expires   time.Time   // while idle: when to close it; zero: never
	forgetEnd func() bool // ends the watch of smtp.Conn.AfterClose
}

// lend marks m as borrowed.
func (p *Pool) lend(m *member) {
	if m.lent > 0 {
		p.counts.reused++
	}
	m.lent++
	m.state = inUse
	p.counts.inUse++
}

// takeIdle takes the idle connection that was used last and is still good, or returns nil.
func (p *Pool) takeIdle(now time.Time) *member {
	for len(p.idle) > 0 {
		last := len(p.idle) - 1
		m := p.idle[last]
		p.idle[last] = nil
		p.idle = p.idle[:last]
		if reason, quit := p.unfit(m, now); reason != "" {
			p.retire(m, reason, quit)
			continue
		}
		return m
	}
	return nil
}

// giveBack takes back a borrowed connection: retires it, hands it on, or keeps it idle. A connection that was
// closed by force while borrowed is no longer inUse, and nothing happens.
func (p *Pool) giveBack(m *member, now time.Time) {
	if m.state != inUse {
		return
	}
	p.counts.inUse--
	p.lastUsed = now
	m.state = joining
	reason, quit := p.unfit(m, now)
	if reason == ReasonServerClosed {
		reason = ReasonBroken // it was in use, so that its failure was the borrower's, not the pool's, to see
	}
	if reason != "" {
		p.retire(m, reason, quit)
	} else {
		p.offer(m, false, now)
	}
	if p.waiters.Len() > 0 {
		p.settle(now)
	}
}

// unfit gives the reason why m cannot be used further, "" if there is none, and whether it should get QUIT.
func (p *Pool) unfit(m *member, now time.Time) (reason Reason, quit bool) {
	switch {
	case m.conn.Closed():
		return ReasonServerClosed, false
	case p.closed:
		return ReasonPoolClosed, true
	case p.cfg.MaxMessages > 0 && m.conn.Messages() >= p.cfg.MaxMessages:
		return ReasonMessages, true
	case !m.oldAt.IsZero() && !now.Before(m.oldAt):
		return ReasonAge, true
	case m.state == idle && !m.expires.IsZero() && !now.Before(m.expires):
		return ReasonIdle, true
	}
	return "", false
}

// keep makes m idle.
func (p *Pool) keep(m *member, now time.Time) {
	m.state = idle
	m.expires = m.oldAt
	if p.cfg.MaxIdleTime > 0 {
		if at := now.Add(p.cfg.MaxIdleTime); m.expires.IsZero() || at.Before(m.expires) {
			m.expires = at
		}
	}
	p.idle = append(p.idle, m)
	if !m.expires.IsZero() {
		p.wakeAt(m.expires, now)
	}
}

// died runs when the session of m has ended for any reason. Only an idle one matters here: nobody else sees it.
func (p *Pool) died(m *member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.state != idle {
		return
	}
	if i := slices.Index(p.idle, m); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	p.retire(m, ReasonServerClosed, false)
}

// retire closes m, which is in no list but members any more, in the background. It keeps its place under the cap
// until it is closed in earnest: the relay counts it as long.
func (p *Pool) retire(m *member, reason Reason, quit bool) {
	m.state = closing
	p.counts.closed[reason.index()]++
	go func() {
		m.forgetEnd()
		if quit {
			_ = m.conn.Quit(p.forceCtx) // smtp bounds it by Timeouts.Quit; a failed farewell harms nobody
		}
		_ = m.conn.Close()
		p.cfg.Logger.Debug("smtppool: connection closed", "reason", string(reason))
		p.left(m)
	}()
}

// left frees the place of a connection that is closed.
func (p *Pool) left(m *member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.members = slices.DeleteFunc(p.members, func(other *member) bool { return other == m })
	p.pending--
	if len(p.members) == 0 {
		p.proven = false // the password may have been changed since
	}
	if !p.closed {
		p.settle(time.Now())
	}
	p.finish()
}
