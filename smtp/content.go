package smtp

import (
	"bytes"
	"errors"
	"io"
)

// Content is the content of a message: header and body as they go over the
// wire, before dot-stuffing.
type Content interface {
	// Size is the exact number of octets that WriteTo writes.
	Size() int64
	// WriteTo writes the content: the same octets each time, only CRLF as
	// line end, the last line ended. Anything else is refused and nothing is
	// sent, or the connection is closed if sending had begun. WriteTo is
	// called before the write that can carry the last octet, and the last
	// octets are held back until it has returned.
	WriteTo(w io.Writer) (int64, error)
}

// Downgrader is content that can be re-encoded for a server without 8BITMIME
// or SMTPUTF8.
type Downgrader interface {
	// Downgrade gives the same message with 7-bit octets and an ASCII header
	// only, or an error where that cannot be done.
	Downgrade() (Content, error)
}

// Bytes is content held in memory. b must not change.
func Bytes(b []byte) Content { return bytesContent(b) }

type bytesContent []byte

func (b bytesContent) Size() int64 { return int64(len(b)) }

func (b bytesContent) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b)
	return int64(n), err
}

// Reader is content that is opened each time it is sent; it must yield
// exactly size octets.
func Reader(size int64, open func() (io.ReadCloser, error)) Content {
	return &readerContent{size: size, open: open}
}

type readerContent struct {
	size int64
	open func() (io.ReadCloser, error)
}

func (r *readerContent) Size() int64 { return r.size }

func (r *readerContent) WriteTo(w io.Writer) (n int64, err error) {
	rc, err := r.open()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	if r.size <= wholeLimit {
		var b bytes.Buffer
		// One octet more than announced shows a source that has too many.
		if _, err := b.ReadFrom(io.LimitReader(rc, r.size+1)); err != nil {
			return 0, err
		}
		return b.WriteTo(w)
	}
	// The wrapper keeps io.Copy from handing the whole of a bytes.Reader or
	// the like over at once.
	return io.CopyBuffer(w, struct{ io.Reader }{rc}, make([]byte, 32<<10))
}

// sizeOnly is content of which only the size is known.
type sizeOnly int64

func (s sizeOnly) Size() int64 { return int64(s) }

func (sizeOnly) WriteTo(io.Writer) (int64, error) { return 0, errNoContent }
