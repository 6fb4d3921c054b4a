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
		n, rerr := readBlock(r, b.in[:min(left+1, int64(len(b.in)))])
		left -= int64(n)
		switch {
		case left < 0:
			return written, s.errLength("more octets")
		case rerr == io.EOF && left > 0:
			return written, s.errLength("fewer octets")
		case rerr != nil && rerr != io.EOF:
			return written, s.fail(rerr)
		}
		out = enc.append(out, b.in[:n])
		if rerr == io.EOF {
			out = enc.finish(out)
		}
		final := len(out)
		if qp, ok := enc.(*qpEncoder); ok && rerr != io.EOF {
			final = qp.line // the line in work may still change
			qp.line = 0
		}
		if written+int64(final) > s.size || rerr == io.EOF && written+int64(final) < s.size {
			return written, s.errLength("other octets")
		}
		m, err := w.Write(out[:final])
		written += int64(m)
		if err != nil {
			return written, err
		}
		out = out[:copy(out, out[final:])]
		if rerr == io.EOF {
			return written, nil
		}
	}
}

// discard reads over the octets to be left out.
func (s *source) discard(r io.Reader, buf []byte) error {
	for left := s.skip; left > 0; {
		n, err := io.ReadFull(r, buf[:min(left, int64(len(buf)))])
		left -= int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return s.errLength("fewer octets")
		}
		if err != nil {
			return s.fail(err)
		}
	}
	return nil
}

// readBlock fills p as far as r gives octets. The error is io.EOF once r has
// ended, also together with octets.
func readBlock(r io.Reader, p []byte) (n int, err error) {
	n, err = io.ReadFull(r, p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
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
	buf := make([]byte, sourceBlock)
	for {
		m, rerr := readBlock(r, buf)
		n += int64(m)
		see(buf[:m])
		switch {
		case n > limit || rerr == io.EOF:
			return n, nil
		case rerr != nil:
			return n, s.fail(rerr)
		}
	}
}
