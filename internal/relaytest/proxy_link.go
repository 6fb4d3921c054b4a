package relaytest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The directions of a link.
const (
	toServer = iota
	toClient
)

// link is one connection through a proxy: the client's socket, the server's,
// and a delay line in each direction.
type link struct {
	proxy  *Proxy
	client net.Conn
	ready  time.Time // when the emulated TCP handshake is over
	ctx    context.Context
	cancel context.CancelFunc

	mu          sync.Mutex
	server      net.Conn // nil until connected
	wasCut      bool
	inLine      atomic.Int64 // the client's bytes under way
	clientSpoke atomic.Bool  // the client has sent since its last turn
}

// chunk is what one read took from a socket.
type chunk struct {
	due   time.Time // when it arrives at the other end
	bytes []byte
	end   bool // the sender closed its direction
	reset bool // the sender broke the connection
}

func newLink(p *Proxy, client net.Conn) *link {
	l := &link{proxy: p, client: client, ready: time.Now().Add(p.rtt + p.rtt/2)}
	l.ctx, l.cancel = context.WithCancel(p.ctx)
	// A client that waits for the greeting waits once, though it sent nothing.
	l.clientSpoke.Store(true)
	return l
}

// cut breaks the link with resets. run then returns.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wasCut = true
	l.cancel()
	reset(l.client)
	if l.server != nil {
		reset(l.server)
	}
}

// reset closes a socket so that its peer sees a reset, not an orderly end.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// run connects to the target and carries bytes until both directions ended.
func (l *link) run() {
	defer l.cancel()
	defer l.client.Close()
	if !sleepUntil(l.ctx, l.ready) {
		return
	}
	var d net.Dialer
	server, err := d.DialContext(l.ctx, "tcp", l.proxy.targetNow())
	if err != nil {
		// The real client would have seen a refused connection: the nearest
		// thing to that is a reset.
		reset(l.client)
		return
	}
	defer server.Close()
	l.mu.Lock()
	l.server = server
	cut := l.wasCut
	l.mu.Unlock()
	if cut {
		reset(server)
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { l.carry(toServer, l.client, server) })
	wg.Go(func() { l.carry(toClient, server, l.client) })
	wg.Wait()
}

// carry moves one direction from src to dst, each byte half a round trip late.
func (l *link) carry(direction int, src, dst net.Conn) {
	// The line is long enough for what a sender writes in half a round trip;
	// when it is full the sender is held back, as by a full TCP window.
	line := make(chan chunk, 1024)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(line)
		l.read(direction, src, line)
	})
	l.write(direction, dst, line)
	wg.Wait()
}

func (l *link) read(direction int, src net.Conn, line chan<- chunk) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		c := chunk{due: time.Now().Add(l.proxy.rtt / 2)}
		if n > 0 {
			c.bytes = append(c.bytes, buf[:n]...)
			if direction == toServer {
				l.inLine.Add(int64(n))
				l.clientSpoke.Store(true)
			}
		}
		// A reset travels behind the bytes that were sent before it.
		c.end = err != nil
		c.reset = err != nil && !errors.Is(err, io.EOF)
		select {
		case line <- c:
		case <-l.ctx.Done():
			return
		}
		if c.end {
			return
		}
	}
}

func (l *link) write(direction int, dst net.Conn, line <-chan chunk) {
	for c := range line {
		if !sleepUntil(l.ctx, c.due) || !l.proxy.gates[direction].pass(l.ctx) {
			break
		}
		if len(c.bytes) > 0 {
			// Counted first: the other side may answer before Write returns.
			l.account(direction, len(c.bytes))
			if _, err := dst.Write(c.bytes); err != nil {
				l.cut()
				break
			}
		}
		if c.reset {
			l.cut()
			break
		}
		if c.end {
			if tcp, ok := dst.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
		}
	}
	// After a cut the reader may still be about to put something in the line.
	for range line {
	}
}

// account counts bytes that arrive now, and a turn if there is one.
func (l *link) account(direction, n int) {
	turn := false
	if direction == toServer {
		l.inLine.Add(-int64(n))
	} else if l.inLine.Load() == 0 {
		turn = l.clientSpoke.Swap(false)
	}
	p := l.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	if direction == toServer {
		p.count.BytesToServer += int64(n)
	} else {
		p.count.BytesToClient += int64(n)
	}
	if turn {
		p.count.Turns++
	}
}

// sleepUntil waits until a moment, more exactly than Go's timers, which can be
// a millisecond late. It reports false if ctx ended first.
func sleepUntil(ctx context.Context, moment time.Time) bool {
	// The last stretch is slept in the kernel, which cannot be interrupted.
	const exact = 2 * time.Millisecond
	if wait := time.Until(moment) - exact; wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	for wait := time.Until(moment); wait > 0; wait = time.Until(moment) {
		request := syscall.NsecToTimespec(wait.Nanoseconds())
		// Interrupted by a signal: the loop sleeps the rest.
		_ = syscall.Nanosleep(&request, nil)
	}
	return ctx.Err() == nil
}
