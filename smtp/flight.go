package smtp

import (
	"errors"
	"net"
	"time"
)

const (
	// wholeLimit is the largest content that is sent before the replies to
	// RCPT are known: a refused recipient must not cost 25 MB.
	wholeLimit = 64 << 10
	// chunk is how much larger content is gathered before it is written.
	chunk = 64 << 10
	// corkFrom is the size of a write from which TLS makes several records
	// of it (RFC 8446 §5.1).
	corkFrom = 16 << 10
	// keepBuffer is the largest buffer kept for the next flight.
	keepBuffer = 160 << 10
)

// flight is what leaves in one write, and what it draws. It is borrowed from
// the Dialer for one call, so that idle connections hold no buffers.
type flight struct {
	buf  []byte
	lent *[]byte // what buf is given back with
	owed []expectation
	w    contentWriter
	t    transaction // of Send
}

func (d *Dialer) getFlight() *flight {
	f, ok := d.flights.Get().(*flight)
	if !ok {
		f = new(flight)
	}
	if f.lent, ok = d.buffers.Get().(*[]byte); !ok {
		f.lent = new([]byte)
	}
	f.buf = *f.lent
	return f
}

func (d *Dialer) putFlight(f *flight) {
	d.putBuffer(f)
	f.owed, f.w, f.t = f.owed[:0], contentWriter{}, transaction{}
	d.flights.Put(f)
}

// putBuffer gives the flight's buffer to others before the flight ends: nothing
// more is written, and the reply to the content may be long in coming.
func (d *Dialer) putBuffer(f *flight) {
	if f.lent == nil {
		return
	}
	*f.lent = nil
	if cap(f.buf) <= keepBuffer {
		*f.lent = f.buf[:0]
	}
	d.buffers.Put(f.lent)
	f.buf, f.lent = nil, nil
}

var errLine = errors.New("a command line would hold CR, LF or NUL")

// line adds a command line and traces it.
func (f *flight) line(c *Conn, e expectation, parts ...string) error {
	start := len(f.buf)
	if err := f.put(e, parts...); err != nil {
		return err
	}
	if c.tracing() {
		c.traceLine("C", string(f.buf[start:len(f.buf)-2]))
	}
	return nil
}

// put adds a command line. This is the one gate through which commands pass,
// so it is here that line breaks are refused (RFC 5321 §2.3.8).
func (f *flight) put(e expectation, parts ...string) error {
	start := len(f.buf)
	for _, p := range parts {
		for i := range len(p) {
			if c := p[i]; c == '\r' || c == '\n' || c == 0 {
				f.buf = f.buf[:start]
				return errLine
			}
		}
		f.buf = append(f.buf, p...)
	}
	f.buf = append(f.buf, '\r', '\n')
	f.owed = append(f.owed, e)
	return nil
}

// send writes the flight; last says that it can carry the last octet of the
// content. A write error ends the session, after the server's last words; it
// is not returned, because the replies or their absence tell what happened.
// n is 0 if nothing can have left, and complete says whether all may have.
func (c *Conn) send(f *flight) (n int, complete bool) {
	c.expect(f.owed...)
	n, err := c.write(f.buf, c.d.patience[expectBlock])
	complete = n == len(f.buf)
	f.buf, f.owed = f.buf[:0], f.owed[:0]
	if err != nil {
		c.writeFailed(err)
	}
	return n, complete
}

// write writes b within d and says how many octets of it were handed to the
// network. After an error fewer than len(b) were.
func (c *Conn) write(b []byte, d time.Duration) (n int, err error) {
	if c.closed.Load() {
		return 0, c.deathCause()
	}
	c.wire.writeBy(time.Now().Add(d))
	if c.tls != nil && len(b) > corkFrom {
		n, err = c.writeCorked(b)
	} else {
		n, err = c.nc.Write(b)
	}
	c.wire.writeBy(time.Time{})
	return n, err
}

// writeCorked lets the TLS records of b leave in one system call.
func (c *Conn) writeCorked(b []byte) (n int, err error) {
	f := c.d.getFlight()
	defer c.d.putFlight(f)
	c.wire.cork(f.buf)
	n, err = c.nc.Write(b)
	buf, uncorkErr := c.wire.uncork()
	f.buf = buf
	if uncorkErr != nil {
		// Records are lost or torn, and which octets went is not known. The
		// last record cannot have gone whole.
		return min(1, len(b)-1), uncorkErr
	}
	return n, err
}

// writeFailed ends the session after a failed write. What the server said
// before it broke the connection is still read.
func (c *Conn) writeFailed(err error) {
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		c.die(&timeoutError{"the server did not take what was written in time"})
		return
	}
	in := &c.in
	in.mu.Lock()
	in.hurry = true
	n := len(in.replies) - in.head + len(in.owed)
	in.mu.Unlock()
	c.waitReplies(n)
	c.die(err)
}
