package httpapi

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// readPiece is how much a client must send in each further second, once its first ReadTimeout is over: 64 KiB/s, less
// than the slowest link that mail is written on, and enough that nobody can hold a connection open with drops.
const readPiece = 64 << 10

// body bounds a request's body in size and in time.
type body struct {
	io.ReadCloser // an http.MaxBytesReader
	rec           *record
	deadline      time.Time
	read          int64 // since the deadline was moved last
	done          bool
}

// limitBody puts a body of at most limit octets in front of r's, which must arrive at readPiece a second after a
// first timeout. It answers false if the request says itself that it is larger.
func limitBody(rec *record, r *http.Request, limit int64, timeout time.Duration) bool {
	if r.ContentLength > limit {
		return false
	}
	if r.Body == nil || r.Body == http.NoBody {
		return true
	}
	b := &body{ReadCloser: http.MaxBytesReader(rec.ResponseWriter, r.Body, limit), rec: rec, deadline: rec.start.Add(timeout)}
	b.setDeadline(b.deadline)
	r.Body = b
	return true
}

// Read counts, moves the deadline for what has arrived, and lifts it at the end: while the handler works the
// connection is watched for the client going away, and a deadline that passes then would look like that.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.read += int64(n); b.read >= readPiece && !b.done {
		b.deadline = b.deadline.Add(time.Duration(b.read) * time.Second / readPiece)
		b.read = 0
		b.setDeadline(b.deadline)
	}
	if errors.Is(err, io.EOF) && !b.done {
		b.done = true
		b.setDeadline(time.Time{})
	}
	return n, err
}

// setDeadline does nothing where there are no deadlines, as in a test.
func (b *body) setDeadline(t time.Time) {
	if b.rec.control != nil {
		_ = b.rec.control.SetReadDeadline(t)
	}
}
