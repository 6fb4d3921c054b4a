package smtp

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/postrider/postrider/smtp/sasl"
)

// expectation is a reply that the server owes us.
type expectation uint8

const (
	expectGreeting expectation = iota
	expectHello
	expectStartTLS
	expectAuth
	expectMail // MAIL, RSET, NOOP
	expectRcpt
	expectData
	expectBlock
	expectFinal
	expectQuit
	expectIgnored // the reply to a lone dot; dropped
	expectations
)

// patience gives the deadline for each, by index.
func (t *Timeouts) patience() [expectations]time.Duration {
	return [expectations]time.Duration{
		expectGreeting: t.Greeting, expectHello: t.Hello, expectStartTLS: t.Hello, expectAuth: t.Auth,
		expectMail: t.Mail, expectRcpt: t.Rcpt, expectData: t.Data, expectBlock: t.Block,
		expectFinal: t.Final, expectQuit: t.Quit, expectIgnored: t.Final,
	}
}

var (
	errClosed       = errors.New("the connection was closed")
	errUnsolicited  = errors.New("the server spoke out of turn")
	errInjected     = errors.New("the server sent plaintext after its reply to STARTTLS, which an attacker may have added (RFC 3207 §6)")
	errEarlyReply   = errors.New("the server replied before it had the content")
	errServerClosed = errors.New("the server closed the connection")
	errTorn         = fmt.Errorf("%w in the middle of a record of TLS", errServerClosed)
)

// inbox is where the reader goroutine puts replies and the sender waits for
// them. The reader is always parked in Read, between transactions too, so that
// it sees at once when the server closes or speaks out of turn.
type inbox struct {
	mu       sync.Mutex
	owed     []expectation // replies still to come, in order
	replies  []Reply       // replies that came, in order, from head on
	head     int
	need     int   // wake the sender at this many replies; 0: nobody waits
	octets   int64 // read since the connection began
	open     bool  // DATA content is being written: a reply now is early
	hurry    bool  // the connection is broken: wait for last words only
	quitting bool  // QUIT was said: what else is owed does not count any more
	err      error // why the connection is dead
	dead     bool
	wake     chan struct{} // of size 1
	onClose  map[int]func()
	closeSeq int
	auth     *sasl.Credentials // of the AUTH exchange in progress
	said     []string          // secrets of the AUTH exchange in progress, as they were written

	// See turns.go.
	reader  chan struct{} // closed when the reader goroutine has ended; nil: there is none
	own     bool          // the sender is reading
	evicted bool          // the reader goroutine is to end when it is interrupted
	relieve bool          // the sender wants a reader goroutine when it has read
	watch   *time.Timer   // starts the reader goroutine
	armed   bool          // watch will fire
	rests   time.Time     // when the last call ended
}

// expect notes what replies the next write will draw. It must be called before
// that write.
func (c *Conn) expect(e ...expectation) {
	c.in.mu.Lock()
	c.in.owed = append(c.in.owed, e...)
	c.in.mu.Unlock()
}

// waitReplies returns when n replies are in hand or the connection is dead.
func (c *Conn) waitReplies(n int) {
	in := &c.in
	in.mu.Lock()
	for len(in.replies)-in.head < n && !in.dead {
		if in.reader == nil {
			c.readOwn(n)
			continue
		}
		in.need = n
		if len(in.owed) > 0 {
			c.wire.readBy(time.Now().Add(c.limit(in.owed[0])))
		}
		in.mu.Unlock()
		<-in.wake
		in.mu.Lock()
	}
	in.need = 0
	c.wire.readBy(time.Time{})
	in.mu.Unlock()
}

// lastWords bounds the wait for what the server said before it broke the
// connection: that is on its way or lost.
const lastWords = time.Second

// limit says how long to wait for a reply. The caller holds in.mu.
func (c *Conn) limit(e expectation) time.Duration {
	switch {
	case c.in.hurry:
		return lastWords
	case c.in.quitting:
		return c.d.timeouts.Quit
	}
	return c.d.patience[e]
}

// next gives the next reply, waiting for it if need be. An error means that
// the connection died and no reply will come.
func (c *Conn) next() (Reply, error) {
	in := &c.in
	in.mu.Lock()
	if in.head == len(in.replies) {
		in.mu.Unlock()
		c.waitReplies(1)
		in.mu.Lock()
	}
	defer in.mu.Unlock()
	if in.head == len(in.replies) {
		return Reply{}, in.err
	}
	r := in.replies[in.head]
	in.replies[in.head] = Reply{}
	in.head++
	if in.head == len(in.replies) {
		in.replies, in.head = in.replies[:0], 0
	}
	return r, nil
}

// received tells how many octets ever came.
func (c *Conn) received() int64 {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.octets
}

// readLoop is the reader goroutine. It ends when the connection dies, when the
// sender takes its turn, after a positive reply to STARTTLS, when what follows
// belongs to TLS, and when nothing is owed any more. done is in.reader.
func (c *Conn) readLoop(r io.Reader, done chan struct{}) {
	for {
		n, err := r.Read(c.parser.space())
		if n > 0 {
			stop, fault := c.deliver(&c.parser, n)
			if fault != nil {
				c.die(fault)
				break
			}
			if stop {
				break
			}
		}
		if err != nil && c.yields(err) {
			break
		}
		if err != nil {
			c.die(c.readError(err))
			break
		}
		if c.mayRest() {
			break
		}
	}
	c.readerEnds(done)
}

// rest is the reader goroutine while the server owes nothing, in which a session
// may lie for long: one of its own, whose stack no Read has made grow, and
// without a buffer to read into.
func (c *Conn) rest(r io.Reader, done chan struct{}) {
	c.parser.rest()
	err := c.wire.await()
	if err == nil {
		c.readLoop(r, done)
		return
	}
	if !c.yields(err) {
		c.die(c.readError(err))
	}
	c.readerEnds(done)
}

// mayRest says whether nothing is owed, so that the reader goroutine may end: if
// it is needed later, rest takes its place. While the session opens, one command
// follows the other.
func (c *Conn) mayRest() bool {
	if !c.wire.canAwait() || !c.opened.Load() {
		return false
	}
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return len(c.in.owed) == 0
}

// readerEnds is the end of the reader goroutine.
func (c *Conn) readerEnds(done chan struct{}) {
	// Nothing of the connection is touched any more, but whoever waits for its
	// end is told, if it has died, be it in this moment.
	c.in.mu.Lock()
	c.in.reader = nil
	dead := c.in.dead
	if !dead && c.opened.Load() {
		c.watchLocked(time.Now())
	}
	c.signal() // who waits for it to read must read for himself
	c.in.mu.Unlock()
	close(done)
	if dead {
		c.runOnClose()
	}
}

// yields says whether err is the sender's wish to read for itself.
func (c *Conn) yields(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.evicted && !c.in.dead
}

// readError says in our words why reading failed.
func (c *Conn) readError(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return errServerClosed
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errTorn
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &timeoutError{"no reply in time"}
	}
	return err
}

// timeoutError is a deadline of Timeouts that passed.
type timeoutError struct{ text string }

func (e *timeoutError) Error() string { return e.text }
func (e *timeoutError) Unwrap() error { return os.ErrDeadlineExceeded }
func (e *timeoutError) Timeout() bool { return true }

// deliver takes n octets and hands replies on. stop ends the reader; fault
// kills the connection.
func (c *Conn) deliver(p *parser, n int) (stop bool, fault error) {
	in := &c.in
	in.mu.Lock()
	defer in.mu.Unlock()
	in.octets += int64(n)
	had := len(in.replies)
	var err error
	in.replies, err = p.replies(in.replies, n)
	keep := had
	for i := had; i < len(in.replies); i++ {
		r := in.replies[i]
		if len(in.owed) == 0 {
			c.traceReply(expectMail, r)
			// Between transactions only a farewell makes sense (RFC 5321 §3.8).
			fault = errUnsolicited
			if r.Code == 421 {
				fault = &farewellError{r}
			}
			break
		}
		e := in.owed[0]
		in.owed = append(in.owed[:0], in.owed[1:]...)
		if e == expectAuth && r.Code != 334 {
			r = c.forgetful(r)
			in.said = nil
		}
		c.traceReply(e, r)
		if e != expectIgnored {
			in.replies[keep] = r
			keep++
		}
		if r.Code == 421 {
			fault = &farewellError{r}
			break
		}
		if e == expectStartTLS && r.IsPositive() {
			stop = true
			if i+1 < len(in.replies) || p.pending() > 0 || err != nil {
				stop, fault = false, errInjected
				keep = had // the 220 is worth nothing
			}
			break
		}
		if in.open && e == expectFinal {
			fault = errEarlyReply
			break
		}
	}
	clear(in.replies[keep:])
	in.replies = in.replies[:keep]
	if fault == nil {
		fault = err
	}
	if fault == nil && !stop && len(in.owed) == 0 && p.pending() > 0 {
		fault = errUnsolicited
	}
	if fault != nil {
		return false, fault // die wakes the sender
	}
	if in.need > 0 {
		if len(in.replies)-in.head >= in.need || stop {
			c.signal()
		} else if keep > had && len(in.owed) > 0 {
			c.wire.readBy(time.Now().Add(c.limit(in.owed[0])))
		}
	}
	return stop, nil
}

// farewellError is reply 421: the server is closing the connection.
type farewellError struct{ reply Reply }

func (e *farewellError) Error() string {
	return "the server closed the connection: " + e.reply.String()
}

// signal wakes the sender, or makes its next wait return at once. The caller
// holds in.mu.
func (c *Conn) signal() {
	select {
	case c.in.wake <- struct{}{}:
	default:
	}
}

// die ends the session, for the first reason given. It never blocks.
func (c *Conn) die(err error) {
	in := &c.in
	in.mu.Lock()
	if in.dead {
		in.mu.Unlock()
		return
	}
	in.dead, in.err = true, err
	c.signal()
	if in.watch != nil {
		in.watch.Stop()
	}
	alone := in.reader == nil && len(in.onClose) > 0
	in.mu.Unlock()
	c.closed.Store(true)
	_ = c.wire.Close()
	if alone {
		go c.runOnClose() // else the reader goroutine does when it ends
	}
	if c.tracing() {
		c.traceLine("*", "closed: "+err.Error())
	}
}

// runOnClose runs the AfterClose functions.
func (c *Conn) runOnClose() {
	c.in.mu.Lock()
	fs := c.in.onClose
	c.in.onClose = nil
	c.in.mu.Unlock()
	for _, f := range fs {
		f()
	}
}
