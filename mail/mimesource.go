package mail

import (
	"errors"
	"fmt"
	"io"
)

// sourceBlock is how many octets of a source are read at once: whole lines of
// base64, and with the two buffers behind it within a core's own cache.
const sourceBlock = base64Block * lineOctets

// source is content that is opened and encoded at each pass.
type source struct {
	field    string // the content's place in the message, for errors
	open     Opener
	encoding transferEncoding
	skip     int64 // octets to leave out at the beginning
	raw      int64 // octets that must come then
	size     int64 // octets that they are written as
}

// errLength is the fault of a source that gives other octets than before.
func (s *source) errLength(what string) error {
	return Fault{
		Field: s.field, Code: CodeUnreadable,
		Detail: fmt.Sprintf("content gave %s than the %d octets counted before; it must give the same octets each time", what, s.raw),
	}
}

// fail names the field of an error met while reading.
func (s *source) fail(err error) error {
	if fault, ok := errors.AsType[Fault](err); ok && fault.Field == "" {
		fault.Field = s.field
		return fault
	}
	return Fault{Field: s.field, Code: CodeUnreadable, Detail: fmt.Sprintf("content cannot be read: %v", err), Err: err}
}

// passBuffers are the buffers of one pass over a message. Each pass has its
// own, so that passes may run at the same time.
type passBuffers struct{ in, out []byte }

// writeTo writes the encoded content. No octet is written that was not
// announced: a source with more or fewer octets than before is an error.
func (s *source) writeTo(w io.Writer, b *passBuffers) (written int64, err error) {
	r, err := s.open()
	if err != nil {
		return 0, s.fail(err)
	}
	defer func() {
		if cerr := r.Close(); cerr != nil && err == nil {
			err = s.fail(cerr)
		}
	}()
	if need := min(s.raw+1, sourceBlock); int64(len(b.in)) < need {
		b.in = make([]byte, need)
	}
	if err := s.discard(r, b.in); err != nil {
		return 0, err
	}
	enc := newEncoder(s.encoding)
	out := b.out[:0]
	defer func() { b.out = out[:0] }()
	for left := s.raw; ; {
		n, ended, err := readBlock(r, b.in[:min(left+1, int64(len(b.in)))])
		left -= int64(n)
		switch {
		case err != nil:
			return written, s.fail(err)
		case left < 0:
			return written, s.errLength("more octets")
		case ended && left > 0:
			return written, s.errLength("fewer octets")
		}
		out = enc.append(out, b.in[:n])
		if ended {
			out = enc.finish(out)
		}
		final := len(out)
		if qp, ok := enc.(*qpEncoder); ok && !ended {
			final = qp.line // the line in work may still change
			qp.line = 0
		}
		if written+int64(final) > s.size || ended && written+int64(final) < s.size {
			return written, s.errLength("other octets")
		}
		m, err := w.Write(out[:final])
		written += int64(m)
		if err != nil {
			return written, err
		}
		out = out[:copy(out, out[final:])]
		if ended {
			return written, nil
		}
	}
}

// discard reads over the octets to be left out.
func (s *source) discard(r io.Reader, buf []byte) error {
	for left := s.skip; left > 0; {
		n, ended, err := readBlock(r, buf[:min(left, int64(len(buf)))])
		left -= int64(n)
		switch {
		case err != nil:
			return s.fail(err)
		case ended && left > 0:
			return s.errLength("fewer octets")
		}
	}
	return nil
}

// maxEmptyReads is how often a reader may give nothing and no error before it
// is taken for broken, as in package bufio.
const maxEmptyReads = 100

// readBlock fills p as far as r gives octets. ended says that r has no more; it
// may come together with octets. Unlike io.ReadFull it tells the end from an
// io.ErrUnexpectedEOF of r's own, as of a compressed file that is cut off.
func readBlock(r io.Reader, p []byte) (n int, ended bool, err error) {
	for empty := 0; n < len(p); {
		m, err := r.Read(p[n:])
		n += m
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
		if m > 0 {
			empty = 0
		} else if empty++; empty == maxEmptyReads {
			return n, false, io.ErrNoProgress
		}
	}
	return n, false, nil
}

// examine makes one pass over the source and hands on its octets, at most
// limit and one more. It gives their number.
func (s *source) examine(limit int64, see func(p []byte)) (n int64, err error) {
	r, err := s.open()
	if err != nil {
		return 0, s.fail(err)
	}
	defer func() {
		if cerr := r.Close(); cerr != nil && err == nil {
			err = s.fail(cerr)
		}
	}()
	const first = 4 << 10 // enough for most texts and raw messages
	buf := make([]byte, first)
	for {
		m, ended, err := readBlock(r, buf)
		n += int64(m)
		see(buf[:m])
		if len(buf) == first {
			buf = nil
		}
		switch {
		case err != nil:
			return n, s.fail(err)
		case n > limit || ended:
			return n, nil
		case buf == nil:
			buf = make([]byte, sourceBlock)
		}
	}
}
