package httpapi

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
)

// record is what is known of one request. The outermost handler makes it; the inner ones fill it in, and the log line
// and the metrics are written from it. It is used by the request's goroutine only.
type record struct {
	http.ResponseWriter
	control *http.ResponseController // of the server's own writer

	id        string
	start     time.Time
	addr      netip.Addr // the client's, behind known proxies
	agent     string     // its User-Agent, shortened
	route     string     // the pattern that matched, "" if none did
	operation string     // its id, "" if none did
	principal auth.Principal
	reason    auth.Reason // of the last refusal, "" if there was none
	code      string      // of the problem document that was the answer
	cause     error       // of a 5xx, for the log

	status   int
	bytes    int64
	writeErr error // the client went away, or read too slowly
	written  int64 // since the write deadline was set last
	timeout  time.Duration
}

type recordKey struct{}

// recordOf returns the record of the request that ctx belongs to; outside of a request an empty one.
func recordOf(ctx context.Context) *record {
	if rec, ok := ctx.Value(recordKey{}).(*record); ok {
		return rec
	}
	return &record{}
}

// Unwrap lets http.ResponseController find the server's writer.
func (rec *record) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

// WriteHeader notes the status. From here on the client must read: slowly is allowed, not at all is not.
func (rec *record) WriteHeader(status int) {
	if rec.status == 0 && status >= 200 {
		rec.status = status
		rec.extendWrite()
	}
	rec.ResponseWriter.WriteHeader(status)
}

// writePiece is how much a client must read within the time allowed for an answer.
const writePiece = 256 << 10

// Write notes the size.
func (rec *record) Write(p []byte) (int, error) {
	if rec.status == 0 {
		rec.WriteHeader(http.StatusOK)
	}
	if rec.written >= writePiece {
		rec.extendWrite()
	}
	n, err := rec.ResponseWriter.Write(p)
	rec.bytes += int64(n)
	rec.written += int64(n)
	if err != nil && rec.writeErr == nil {
		rec.writeErr = err
	}
	return n, err
}

// ReadFrom keeps the server's way of copying files out of the way: every octet passes Write, and so the deadline.
func (rec *record) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{rec}, r)
}

// extendWrite gives the client the whole time again. A writer that knows no deadlines, as in a test, has none.
func (rec *record) extendWrite() {
	rec.written = 0
	if rec.control != nil && rec.timeout > 0 {
		_ = rec.control.SetWriteDeadline(time.Now().Add(rec.timeout))
	}
}

// requestID takes the id that a proxy or the caller gave a request if it can be logged as it is, or makes one.
func requestID(header http.Header) string {
	const longest = 64
	if given := header["X-Request-Id"]; len(given) == 1 && given[0] != "" && len(given[0]) <= longest && !strings.ContainsFunc(given[0], notInID) {
		return given[0]
	}
	id, err := uuid.NewV7()
	if err != nil { // the system has no random octets: the id is for finding a line, not for keeping a secret
		return "none"
	}
	return id.String()
}

func notInID(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_' && r != '.'
}
