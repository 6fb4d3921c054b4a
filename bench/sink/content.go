package sink

import (
	"bufio"
	"bytes"
	"errors"
)

// content looks at a message as it passes: the header for the id, the lines
// for faults. It keeps nothing of the message but an unfinished line.
type content struct {
	bytes    int64
	id       string
	inHeader bool
	eightBit bool
	bareLF   bool
	longLine bool
	partial  []byte // the start of a line whose end has not come yet
}

// idField is the header field by which messages are told apart.
const idField = "X-Bench-Id:"

// maxLine is the longest line allowed, with CRLF (RFC 5322 §2.1.1).
const maxLine = 1000

func newContent() *content { return &content{inHeader: true} }

// line takes one line with its end.
func (c *content) line(l []byte) {
	c.bytes += int64(len(l))
	if c.inHeader {
		switch {
		case len(l) <= 2 && (l[0] == '\r' || l[0] == '\n'):
			c.inHeader = false
		case c.id == "" && len(l) > len(idField) && bytes.EqualFold(l[:len(idField)], []byte(idField)):
			c.id = string(bytes.TrimSpace(l[len(idField):]))
		}
	}
	if len(l) > maxLine {
		c.longLine = true
	}
	if len(l) < 2 || l[len(l)-2] != '\r' {
		c.bareLF = true
	}
	if !c.eightBit {
		for _, b := range l {
			if b >= 0x80 {
				c.eightBit = true
				break
			}
		}
	}
}

// chunk takes any bytes and splits them into lines.
func (c *content) chunk(b []byte) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			c.partial = append(c.partial, b...)
			return
		}
		if len(c.partial) > 0 {
			c.partial = append(c.partial, b[:i+1]...)
			c.line(c.partial)
			c.partial = c.partial[:0]
		} else {
			c.line(b[:i+1])
		}
		b = b[i+1:]
	}
}

// finish takes what is left of content that did not end with a line end.
func (c *content) finish() {
	if len(c.partial) > 0 {
		c.line(c.partial)
		c.bareLF = true
	}
}

// readDotted reads what follows DATA up to the lone dot (RFC 5321 §4.5.2).
func (c *content) readDotted(r *bufio.Reader) error {
	var long []byte // a line larger than the buffer
	for {
		l, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, l...)
			continue
		}
		if err != nil {
			return err
		}
		if long != nil {
			l, long = append(long, l...), nil
		}
		if l[0] == '.' {
			if len(l) == 3 && l[1] == '\r' {
				return nil
			}
			l = l[1:]
		}
		c.line(l)
	}
}

// readN reads a chunk of n bytes (RFC 3030 §2), without copying it out of the
// reader's buffer.
func (c *content) readN(r *bufio.Reader, n int64) error {
	for n > 0 {
		if _, err := r.Peek(1); err != nil {
			return err
		}
		k := min(n, int64(r.Buffered()))
		b, err := r.Peek(int(k))
		if err != nil {
			return err
		}
		c.chunk(b)
		if _, err := r.Discard(int(k)); err != nil {
			return err
		}
		n -= k
	}
	return nil
}
