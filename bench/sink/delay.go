package sink

import (
	"net"
	"sync"
	"time"
)

// delayConn is a delay line: every byte arrives half a round trip later in each
// direction, and bytes that were pipelined stay pipelined.
//
// The TCP handshake is emulated too. A connect on loopback returns at once, so
// nothing that the client sends arrives before 1.5 round trips after accept,
// which is when its first byte could have arrived on a real link; the greeting
// leaves at that moment and arrives at 2 round trips.
//
// Not emulated: bandwidth, loss, TCP slow start. Deadlines are not supported;
// the sessions of this package set none.
type delayConn struct {
	net.Conn
	half   time.Duration
	start  time.Time // the TCP handshake is over for the server
	in     chan chunk
	out    chan chunk
	closed chan struct{}
	once   sync.Once
	cur    []byte
	err    error
}

type chunk struct {
	due time.Time
	b   []byte
	err error
}

// delaySlots is how many reads or writes can be under way in one direction.
const delaySlots = 1024

// newDelayConn starts two goroutines, counted by wg, that end after Close.
func newDelayConn(c net.Conn, rtt time.Duration, wg *sync.WaitGroup) *delayConn {
	d := &delayConn{
		Conn: c, half: rtt / 2, start: time.Now().Add(rtt + rtt/2),
		in: make(chan chunk, delaySlots), out: make(chan chunk, delaySlots), closed: make(chan struct{}),
	}
	wg.Go(d.readLoop)
	wg.Go(d.writeLoop)
	return d
}

func (d *delayConn) readLoop() {
	buf := make([]byte, 256<<10)
	for {
		n, err := d.Conn.Read(buf)
		c := chunk{due: time.Now().Add(d.half), b: append([]byte(nil), buf[:n]...), err: err}
		if c.due.Before(d.start) {
			c.due = d.start
		}
		select {
		case d.in <- c:
		case <-d.closed:
			return
		}
		if err != nil {
			return
		}
	}
}

// Read returns what is due, or waits until something is.
func (d *delayConn) Read(p []byte) (int, error) {
	if len(d.cur) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		select {
		case c := <-d.in:
			sleepUntil(c.due)
			d.cur, d.err = c.b, c.err
		case <-d.closed:
			return 0, net.ErrClosed
		}
		if len(d.cur) == 0 && d.err != nil {
			return 0, d.err
		}
	}
	n := copy(p, d.cur)
	d.cur = d.cur[n:]
	return n, nil
}

// Write puts bytes on the line and returns at once.
func (d *delayConn) Write(p []byte) (int, error) {
	now := time.Now()
	if now.Before(d.start) {
		now = d.start
	}
	select {
	case <-d.closed:
		return 0, net.ErrClosed
	default:
	}
	select {
	case d.out <- chunk{due: now.Add(d.half), b: append([]byte(nil), p...)}:
		return len(p), nil
	case <-d.closed:
		return 0, net.ErrClosed
	}
}

// writeLoop delivers what is due. After Close it delivers what is still on the
// line and then closes the connection, half a round trip later like any octet.
func (d *delayConn) writeLoop() {
	defer d.Conn.Close()
	dead := false // the client is gone; empty the line so that Write never blocks
	deliver := func(c chunk) {
		if dead {
			return
		}
		sleepUntil(c.due)
		if _, err := d.Conn.Write(c.b); err != nil {
			dead = true
		}
	}
	for {
		select {
		case c := <-d.out:
			deliver(c)
		case <-d.closed:
			fin := time.Now().Add(d.half)
			for {
				select {
				case c := <-d.out:
					deliver(c)
					continue
				default:
				}
				break
			}
			if !dead {
				sleepUntil(fin)
			}
			return
		}
	}
}

// Close ends both directions; what was written before still arrives.
func (d *delayConn) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}
