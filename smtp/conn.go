package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is one session with a server. Its methods are called one at a time,
// except Close, Closed and AfterClose, which may be called from anywhere at
// any time. After an error that is not a plain refusal the session is over;
// Closed says so.
type Conn struct {
	d       *Dialer
	id      uint64
	wire    *wire
	nc      net.Conn // wire, or TLS over it
	tls     *tls.Conn
	in      inbox
	parser  parser // belongs to whoever reads
	trace   func(TraceLine)
	traceMu sync.Mutex

	envTrace atomic.Pointer[func(TraceLine)] // of the transaction in progress

	opened   atomic.Bool // the session is open, or never will be
	closed   atomic.Bool
	busy     atomic.Bool
	stopCtx  func() bool    // unhooks the context of the call in progress
	watch    sync.WaitGroup // what that context has begun
	greeting Reply
	ext      extensions
	authMech string
	manual   mailParams    // of the last call of Mail
	rset     bool          // a refused transaction is open: RSET before the next MAIL
	messages int           // transactions begun
	idleFrom time.Time     // when the last call ended
	began    time.Time     // when the last call began
	lastTook time.Duration // how long it took
}

func newConn(d *Dialer, nc net.Conn) *Conn {
	w := &wire{Conn: nc, peek: newPeek(nc)}
	c := &Conn{d: d, id: d.conns.Add(1), wire: w, nc: w, trace: d.cfg.Trace}
	c.in.wake = make(chan struct{}, 1)
	return c
}

// startReader begins reading from c.nc, which may be another connection than
// before: TLS begins with nothing read.
func (c *Conn) startReader() {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.parser = parser{}
	c.startReaderLocked()
}

// startReaderLocked starts the reader goroutine. The caller holds in.mu.
func (c *Conn) startReaderLocked() {
	if c.in.dead {
		return
	}
	done := make(chan struct{})
	c.in.reader = done
	go c.readLoop(c.nc, done)
}

// await waits for the reader goroutine, if there is one.
func (c *Conn) await() {
	c.in.mu.Lock()
	reader := c.in.reader
	c.in.mu.Unlock()
	if reader != nil {
		<-reader
	}
}

// listening says whether the session lives and its replies are read.
func (c *Conn) listening() bool {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.reader != nil && !c.in.dead
}

var errBusy = errors.New("smtp: the connection is in use by another call")

// enter takes hold of the connection for one call. Until leave, the end of ctx
// kills the connection, whatever it is doing.
func (c *Conn) enter(ctx context.Context) error {
	if !c.busy.CompareAndSwap(false, true) {
		return errBusy
	}
	if err := ctx.Err(); err != nil {
		c.busy.Store(false)
		return err
	}
	c.began = time.Now()
	if ctx.Done() != nil {
		c.watch.Add(1)
		c.stopCtx = context.AfterFunc(ctx, func() {
			defer c.watch.Done()
			c.die(contextError(ctx))
		})
	}
	return nil
}

// leave ends the call that enter began.
func (c *Conn) leave() {
	if c.stopCtx != nil {
		if c.stopCtx() {
			c.watch.Done()
		}
		// Else the function has begun and kills the connection at some moment.
		// Let that be now, not when somebody else is using it, and let its
		// last word in the trace not come after ours.
		c.watch.Wait()
	}
	c.stopCtx = nil
	now := time.Now()
	c.lastTook, c.idleFrom = now.Sub(c.began), now
	c.traceEnvelope(nil)
	c.watchSoon(now)
	c.busy.Store(false)
}

func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return errors.Join(err, cause)
}

func (c *Conn) deathCause() error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.err
}

// Closed says whether the session is over: the server closed it or said 421,
// a call failed or was interrupted, or Close or Quit was called.
func (c *Conn) Closed() bool { return c.closed.Load() }

// AfterClose has f called once, in a goroutine of its own or the reader's,
// when the session ends for any reason; at once if it has ended. f must not
// block. stop takes it back and says whether that was in time.
func (c *Conn) AfterClose(f func()) (stop func() bool) {
	in := &c.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.dead {
		go f()
		return func() bool { return false }
	}
	if in.onClose == nil {
		in.onClose = make(map[int]func())
	}
	in.closeSeq++
	id := in.closeSeq
	in.onClose[id] = f
	return func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		_, ok := in.onClose[id]
		delete(in.onClose, id)
		return ok
	}
}

// Close ends the session at once, without QUIT, also under a call in progress,
// which then fails. It waits for the reader goroutine. Closing twice is
// harmless; the error is always nil.
func (c *Conn) Close() error {
	c.die(errClosed)
	c.await()
	return nil
}

// Greeting is the server's first reply.
func (c *Conn) Greeting() Reply { return c.greeting }

// Extensions gives the EHLO keywords, in upper case, with their parameters.
// The map is the caller's.
func (c *Conn) Extensions() map[string]string { return c.ext.all() }

// Extension looks a keyword up, in any case. params is what followed it.
func (c *Conn) Extension(keyword string) (params string, ok bool) { return c.ext.lookup(keyword) }

// TLSState describes the TLS connection; ok is false without TLS.
func (c *Conn) TLSState() (state tls.ConnectionState, ok bool) {
	if c.tls == nil {
		return state, false
	}
	return c.tls.ConnectionState(), true
}

// AuthMechanism is the SASL mechanism that was used; "": none.
func (c *Conn) AuthMechanism() string { return c.authMech }

// LocalAddr is the local end.
func (c *Conn) LocalAddr() net.Addr { return c.wire.LocalAddr() }

// RemoteAddr is the server's end.
func (c *Conn) RemoteAddr() net.Addr { return c.wire.RemoteAddr() }

// Messages counts the transactions begun.
func (c *Conn) Messages() int { return c.messages }
