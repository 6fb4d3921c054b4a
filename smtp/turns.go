package smtp

import (
	"errors"
	"os"
	"time"
)

// Who reads. A session must be read at all times: while content is written, for
// the server may refuse it early, and while it rests, for the server may close
// it. That is the reader goroutine's work. But between it and the sender a reply
// changes hands, which costs more than all else that we do with a reply, so a
// sender whose messages follow each other closely reads for itself.
//
// It does so if the last transaction was over within hot and was not longer ago
// than that: it ends the reader goroutine and reads its replies until it waits
// for none. The goroutine also ends by itself when nothing is owed any more.
// Whenever nobody has begun to read within hot after that, another starts: a rest
// is watched from then on, and a write that blocks is read beside. It waits for
// the socket before it reads, on a small stack and without a buffer: a pool may
// hold many sessions that rest.
//
// Before a transaction writes anything, the sender looks whether something has
// come that nobody has read, such as the end of the connection. A reader
// goroutine that has not run yet is not asked: on a busy machine it may be late.

// hot is how closely messages must follow each other for the sender to read.
const hot = 5 * time.Millisecond

// ownTurn sees to what has come since the last call, and makes the sender the
// one who reads, if it is worth it.
func (c *Conn) ownTurn(now time.Time) {
	if c.wire.peek == nil {
		return
	}
	unread := c.wire.pending()
	closely := c.messages > 0 && c.lastTook <= hot && now.Sub(c.idleFrom) <= hot
	in := &c.in
	in.mu.Lock()
	reader := in.reader
	if reader != nil && !unread && !closely {
		in.mu.Unlock()
		return
	}
	in.own = true // from here on no other reader starts
	if reader != nil {
		in.evicted = true
		in.mu.Unlock()
		c.wire.interrupt()
		<-reader
		c.wire.resume()
		in.mu.Lock()
		in.evicted = false
	}
	in.mu.Unlock()
	c.sip()
	if unread {
		c.glance()
	}
	in.mu.Lock()
	in.own = false
	late := in.relieve
	in.relieve = false
	in.mu.Unlock()
	if reader != nil || late {
		c.watchSoon(now)
	}
}

// sip takes what TLS has read from the socket and not handed out: a record that
// came together with the last reply. The socket does not show that any more. It
// reads nothing from the socket and waits for nothing.
func (c *Conn) sip() {
	for c.tls != nil && !c.closed.Load() {
		c.wire.dry(true)
		n, err := c.nc.Read(c.parser.space())
		c.wire.dry(false)
		if !c.took(n, err) || n == 0 {
			return
		}
	}
}

// took hands on what a Read gave that may have come to its deadline. False: the
// session is over.
func (c *Conn) took(n int, err error) bool {
	if n > 0 {
		if _, fault := c.deliver(&c.parser, n); fault != nil {
			c.die(fault)
			return false
		}
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.die(c.readError(err))
		return false
	}
	return true
}

// watchSoon has the reader goroutine start in a while, unless there is one. A
// timer that runs already is left alone and finds out itself that its time is
// not yet come: setting it anew costs more, and messages that follow each other
// closely would do so each time.
func (c *Conn) watchSoon(now time.Time) {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.watchLocked(now)
}

// watchLocked is watchSoon. The caller holds in.mu.
func (c *Conn) watchLocked(now time.Time) {
	in := &c.in
	in.rests = now
	if in.reader == nil && !in.dead && !in.armed {
		c.arm(hot)
	}
}

// arm sets the timer, which does not run. The caller holds in.mu.
func (c *Conn) arm(wait time.Duration) {
	in := &c.in
	in.armed = true
	if in.watch == nil {
		in.watch = time.AfterFunc(wait, c.watchNow)
	} else {
		in.watch.Reset(wait)
	}
}

// watchNow is the reader goroutine, if one is needed.
func (c *Conn) watchNow() {
	in := &c.in
	in.mu.Lock()
	in.armed = false
	if wait := hot - time.Since(in.rests); wait > 0 && in.reader == nil && !in.dead {
		c.arm(wait) // it was set for a rest that is over
		in.mu.Unlock()
		return
	}
	if in.own {
		// The sender is reading. If it is still in the middle of something when
		// it has what it waits for, it needs a reader from then on.
		in.relieve = true
	}
	if in.reader != nil || in.dead || in.own {
		in.mu.Unlock()
		return
	}
	done := make(chan struct{})
	in.reader = done
	in.mu.Unlock()
	switch {
	case !c.wire.canAwait():
		c.readLoop(c.nc, done)
	case c.tls == nil:
		c.rest(c.nc, done)
	default:
		c.sip()
		go c.rest(c.nc, done)
	}
}

// readOwn reads for the sender until n replies are in hand or the connection is
// dead. The caller holds in.mu, and there is no reader goroutine.
func (c *Conn) readOwn(n int) {
	in := &c.in
	in.own = true
	// A server that takes its time would have the timer fire for nothing.
	stopped := in.armed && c.lastTook > hot && in.watch.Stop()
	if stopped {
		in.armed = false
	}
	waitsFor := -1
	for len(in.replies)-in.head < n && !in.dead {
		// Each reply has its time, however many octets at a time it comes.
		if owed := len(in.owed); owed > 0 && owed != waitsFor {
			waitsFor = owed
			c.wire.readBy(time.Now().Add(c.limit(in.owed[0])))
		}
		in.mu.Unlock()
		c.readOnce()
		in.mu.Lock()
	}
	in.own = false
	relieve := in.relieve
	in.relieve = false
	switch {
	case in.dead || !relieve && !stopped:
	case relieve && (len(in.owed) > 0 || !c.wire.canAwait()):
		c.startReaderLocked()
	default:
		c.watchLocked(time.Now())
	}
}

// readOnce reads what there is, waiting for something.
func (c *Conn) readOnce() {
	n, err := c.nc.Read(c.parser.space())
	if n > 0 {
		if _, fault := c.deliver(&c.parser, n); fault != nil {
			c.die(fault)
			return
		}
	}
	if err != nil {
		c.die(c.readError(err))
	}
}

// glance reads what has come while nobody read: the end of the connection, the
// server's farewell, or something of TLS that is no octet of ours. It waits for
// nothing, but a deadline that is too short for a busy machine says nothing about
// what there is, so it looks again.
func (c *Conn) glance() {
	for wait := time.Millisecond; wait < time.Second && !c.closed.Load() && c.wire.pending(); wait *= 2 {
		c.wire.readBy(time.Now().Add(wait))
		n, err := c.nc.Read(c.parser.space())
		c.wire.readBy(time.Time{})
		c.wire.resume() // a deadline that has passed would look like something pending
		if !c.took(n, err) {
			return
		}
	}
}
