package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// blockSize is that of a BDAT block (RFC 3030 §2) of larger content: large
// enough that its command and reply cost nothing, small enough that a refusal
// in the middle stops the sending soon.
const blockSize = 1 << 20

// pieceSize is how much of a large Write is looked at and copied at once, so
// that it is still in the cache when it is copied.
const pieceSize = 16 << 10

var (
	errBareCR    = errors.New("content has a CR that is not followed by LF")
	errBareLF    = errors.New("content has a LF that does not follow a CR")
	errNoCRLF    = errors.New("content does not end in CRLF")
	errEightBit  = errors.New("content has octets over 127 but Envelope.EightBit is not set")
	errSurplus   = errors.New("content is longer than its Size says")
	errShort     = errors.New("content is shorter than its Size says")
	errEmpty     = errors.New("content is empty")
	errStopped   = errors.New("the server refused a part of the content")
	errCutOff    = errors.New("the connection ended while the content was written")
	errNegative  = errors.New("content has a negative Size")
	errNoContent = errors.New("no content")
)

// framing is how content is wrapped for the wire.
type framing uint8

const (
	frameWhole framing = iota // one BDAT block whose command is in the flight already
	frameDot                  // DATA: dot-stuffed, ended by a lone dot
	frameBlock                // BDAT blocks
)

// contentWriter is what Content writes itself to. It lets nothing pass that
// could break out of the transaction, gathers the octets in the flight's
// buffer and writes that when full, but never the last octets: those leave by
// finish, when the content is known to be complete and right.
type contentWriter struct {
	c       *Conn
	f       *flight
	framing framing
	lockMe  bool // wait for the reply to each block (no PIPELINING)
	size    int64
	seen    int64 // octets taken
	left    int64 // octets that the open block still wants
	blocks  int   // BDAT commands written whose reply was not looked at
	refused Reply // negative reply to a block
	trips   int   // waits for a reply
	octets  int64 // octets written to the connection

	eightBit bool
	prevCR   bool // the last octet taken was CR
	prevLF   bool // … was LF; true at the start
	begun    bool // content may have been written
	lastGone bool // the last octet may have been written
	err      error
}

// Write takes a piece of content.
func (w *contentWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 && w.err == nil {
		k := min(len(p), pieceSize)
		if w.err = w.take(p[:k]); w.err == nil {
			n += k
		}
		p = p[k:]
	}
	return n, w.err
}

func (w *contentWriter) take(p []byte) error {
	if int64(len(p)) > w.size-w.seen {
		return errSurplus
	}
	if err := w.check(p); err != nil {
		return err
	}
	switch w.framing {
	case frameDot:
		if err := w.stuff(p); err != nil {
			return err
		}
	case frameBlock:
		if err := w.block(p); err != nil {
			return err
		}
	default:
		w.f.buf = append(w.f.buf, p...)
	}
	w.seen += int64(len(p))
	w.prevCR, w.prevLF = p[len(p)-1] == '\r', p[len(p)-1] == '\n'
	return nil
}

// check refuses what RFC 5321 §2.3.8 forbids: bare CR and LF are read
// differently by different servers, which is how one message is smuggled
// inside another.
func (w *contentWriter) check(p []byte) error {
	if !w.eightBit && !ascii(p) {
		return errEightBit
	}
	crs := bytes.Count(p, []byte{'\r'})
	if p[len(p)-1] == '\r' {
		crs-- // the next piece must begin with LF
	}
	rest := p
	if w.prevCR {
		if p[0] != '\n' {
			return errBareCR
		}
		rest = p[1:]
	}
	for {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		if i == 0 || rest[i-1] != '\r' {
			return errBareLF
		}
		crs--
		rest = rest[i+1:]
	}
	if crs != 0 {
		return errBareCR
	}
	return nil
}

// stuff adds p with dots doubled at the start of lines (RFC 5321 §4.5.2).
func (w *contentWriter) stuff(p []byte) error {
	if err := w.room(len(p)); err != nil {
		return err
	}
	if w.prevLF && p[0] == '.' {
		w.f.buf = append(w.f.buf, '.')
	}
	for {
		i := bytes.Index(p, []byte("\n."))
		if i < 0 {
			w.f.buf = append(w.f.buf, p...)
			return nil
		}
		w.f.buf = append(w.f.buf, p[:i+2]...)
		// The first dot is in the buffer; the second stays at the start of p.
		p = p[i+1:]
	}
}

// block adds p, beginning BDAT blocks where they are due.
func (w *contentWriter) block(p []byte) error {
	done := w.seen
	for len(p) > 0 {
		if w.left == 0 {
			if err := w.newBlock(w.size - done); err != nil {
				return err
			}
		}
		k := int(min(int64(len(p)), w.left))
		if err := w.room(k); err != nil {
			return err
		}
		w.f.buf = append(w.f.buf, p[:k]...)
		w.left -= int64(k)
		done += int64(k)
		p = p[k:]
	}
	return nil
}

// newBlock begins the next BDAT block. remaining octets are to come.
func (w *contentWriter) newBlock(remaining int64) error {
	if w.lockMe && w.blocks > 0 {
		if err := w.flush(false); err != nil {
			return err
		}
		w.trips++
		r, err := w.c.next()
		if err != nil {
			return errCutOff
		}
		w.blocks--
		if !r.IsPositive() {
			w.refused = r
			return errStopped
		}
	} else if w.c.refusedBlock() {
		return errStopped
	}
	w.left = min(remaining, blockSize)
	w.blocks++
	if w.left == remaining {
		return w.f.bdat(w.c, w.left, true)
	}
	return w.f.bdat(w.c, w.left, false)
}

// bdat adds a BDAT command.
func (f *flight) bdat(c *Conn, n int64, last bool) error {
	var digits [20]byte
	size := strconv.AppendInt(digits[:0], n, 10)
	if last {
		return f.line(c, expectFinal, "BDAT ", string(size), " LAST")
	}
	return f.line(c, expectBlock, "BDAT ", string(size))
}

// refusedBlock says whether a negative reply has come in already.
func (c *Conn) refusedBlock() bool {
	in := &c.in
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, r := range in.replies[in.head:] {
		if !r.IsPositive() {
			return true
		}
	}
	return false
}

// room writes what was gathered if n more octets (and as many dots) would be
// too many.
func (w *contentWriter) room(n int) error {
	if len(w.f.buf)+n <= chunk {
		return nil
	}
	return w.flush(false)
}

// flush writes what was gathered.
func (w *contentWriter) flush(last bool) error {
	c := w.c
	if w.framing == frameDot {
		c.in.mu.Lock()
		c.in.open = !last
		early := len(c.in.replies) > c.in.head
		c.in.mu.Unlock()
		if early {
			c.die(errEarlyReply)
			return errCutOff
		}
	}
	c.expect(w.f.owed...)
	w.f.owed = w.f.owed[:0]
	b := w.f.buf
	n, err := c.write(b, c.d.patience[expectBlock])
	w.octets += int64(n)
	w.begun = w.begun || n > 0
	w.lastGone = last && n == len(b)
	w.f.buf = b[:0]
	if err != nil {
		c.writeFailed(err)
		return errCutOff
	}
	return nil
}

// complete says what is wrong with the content as a whole.
func (w *contentWriter) complete() error {
	switch {
	case w.seen < w.size:
		return errShort
	case w.size == 0:
		return errEmpty
	case !w.prevLF:
		return errNoCRLF
	}
	return nil
}

// contentFault makes an error of what the content did wrong: for good if it
// broke the rules, to be tried again if it could not be read.
func contentFault(err error) *Error {
	e := &Error{Phase: PhaseData, Class: ClassTransient, Err: fmt.Errorf("content could not be read: %w", err)}
	for _, fault := range []error{errBareCR, errBareLF, errNoCRLF, errEightBit, errSurplus, errShort, errEmpty, errNegative, errNoContent} {
		if errors.Is(err, fault) {
			e.Class, e.Err = ClassPermanent, fault
		}
	}
	return e
}
