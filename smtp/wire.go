package smtp

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// wire is the lowest layer of a connection, under TLS if there is TLS. It adds
// two things to the net.Conn it wraps.
//
// Lazy deadlines: setting a deadline on a socket costs more than all other
// bookkeeping of a message. Deadlines of an hour of work only ever move on, so
// the socket keeps the old one, and when that fires the wanted one is looked
// at and armed.
//
// A cork: TLS writes one record of 16 KiB at a time, and a flight of several
// records should leave in one system call.
type wire struct {
	net.Conn
	peek *peek // nil: not possible here

	mu      sync.Mutex
	read    deadline
	write   deadline
	corked  bool
	corkBuf []byte

	interrupted bool // every Read returns at once, by interrupt
	drained     bool // likewise, by dry

	octets atomic.Int64 // read

	wmu sync.Mutex // one write at a time: TLS writes from its Read too
}

// deadline is the one wanted and the one that the socket has; zero: none.
type deadline struct{ wanted, armed time.Time }

// want notes a new deadline. It says whether the socket must be told: only if
// it would wait longer than that.
func (d *deadline) want(t time.Time) (arm bool) {
	d.wanted = t
	if t.IsZero() || !d.armed.IsZero() && !d.armed.After(t) {
		return false
	}
	d.armed = t
	return true
}

// again is asked when the socket's deadline has passed: it gives the next one
// to arm, or says that the wanted one has passed too.
func (d *deadline) again(now time.Time) (t time.Time, ok bool) {
	if !d.wanted.IsZero() && !now.Before(d.wanted) {
		return time.Time{}, false
	}
	d.armed = d.wanted
	return d.armed, true
}

// readBy sets when reading must have succeeded; zero: no limit.
func (w *wire) readBy(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.read.want(t) {
		_ = w.SetReadDeadline(t) // fails on a closed connection only, and Read says so
	}
}

// writeBy sets when writing must have succeeded; zero: no limit.
func (w *wire) writeBy(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.write.want(t) {
		_ = w.SetWriteDeadline(t)
	}
}

// Read reads until the deadline set by readBy.
func (w *wire) Read(p []byte) (int, error) {
	if w.isDry() {
		return 0, os.ErrDeadlineExceeded
	}
	for {
		n, err := w.Conn.Read(p)
		w.octets.Add(int64(n))
		if n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || !w.readAgain() {
			return n, err
		}
	}
}

// await returns nil when a Read would find something, and errors like Read.
// It waits in few and small frames, so that who waits long does so on a small
// stack. Only where canAwait says so.
func (w *wire) await() error {
	if w.isDry() {
		return os.ErrDeadlineExceeded
	}
	for {
		err := w.peek.await()
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || !w.readAgain() {
			return err
		}
	}
}

// readAgain says whether reading goes on after the socket's deadline, with the
// next one.
func (w *wire) readAgain() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := w.read.again(time.Now())
	if ok = ok && !w.interrupted; ok {
		_ = w.SetReadDeadline(t)
	}
	return ok
}

// dry has each Read return at once, without a look at the socket, as at a
// deadline; or no longer.
func (w *wire) dry(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drained = on
}

func (w *wire) isDry() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.interrupted || w.drained
}

// interrupt makes a Read in progress return as at a deadline, until resume.
func (w *wire) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupted = true
	_ = w.SetReadDeadline(time.Unix(1, 0))
}

// resume undoes interrupt.
func (w *wire) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupted = false
	w.read.armed = w.read.wanted
	_ = w.SetReadDeadline(w.read.wanted)
}

// canAwait says whether await tells all: no layer between us and the socket
// keeps octets. TLS does, above us.
func (w *wire) canAwait() bool { return w.peek != nil && w.peek.plain }

// pending says whether a Read may return at once.
func (w *wire) pending() bool { return w.peek != nil && w.peek.pending() }

// Write writes until the deadline set by writeBy, or only gathers if corked.
func (w *wire) Write(p []byte) (int, error) {
	w.wmu.Lock()
	defer w.wmu.Unlock()
	if w.corked {
		w.corkBuf = append(w.corkBuf, p...)
		return len(p), nil
	}
	return w.push(p)
}

// push writes for good. The caller holds wmu.
func (w *wire) push(p []byte) (n int, err error) {
	for {
		k, err := w.Conn.Write(p[n:])
		n += k
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		w.mu.Lock()
		t, ok := w.write.again(time.Now())
		if ok {
			_ = w.SetWriteDeadline(t)
		}
		w.mu.Unlock()
		if !ok {
			return n, err
		}
	}
}

// cork gathers what is written into buf until uncork.
func (w *wire) cork(buf []byte) {
	w.wmu.Lock()
	defer w.wmu.Unlock()
	w.corked, w.corkBuf = true, buf[:0]
}

// uncork writes what was gathered and gives the buffer back.
func (w *wire) uncork() (buf []byte, err error) {
	w.wmu.Lock()
	defer w.wmu.Unlock()
	buf = w.corkBuf
	w.corked, w.corkBuf = false, nil
	if len(buf) > 0 {
		_, err = w.push(buf)
	}
	return buf, err
}
