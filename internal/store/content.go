package store

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/google/uuid"
)

const (
	// pieceSize is the greatest piece of content in one row.
	pieceSize = 256 << 10
	// piecesPerCommit bounds what one transaction of an upload carries to 1 MiB, so that it does not hold up others.
	piecesPerCommit = 4
	// uploadExpiry is how long content that no message refers to is kept.
	uploadExpiry = 24 * time.Hour
)

// ContentWriter writes a message's content in pieces, before the message is accepted. It holds at most 1 MiB of memory.
// After an error everything it does fails with the same error; Abort is needed then too.
type ContentWriter struct {
	// The context bounds each write, as that of an HTTP request does: io.Writer has none.
	ctx   context.Context
	t     Tenant
	id    uuid.UUID
	buf   []byte
	piece int
	size  int64
	err   error
	done  bool
}

// NewContent begins to write content. Each Write and Close obeys ctx. Either Close or Abort must be called; what
// neither reached (a crash) is swept after a day.
func (t Tenant) NewContent(ctx context.Context) *ContentWriter {
	return &ContentWriter{ctx: ctx, t: t, id: NewID()}
}

// Write takes p. The error wraps ErrUnavailable when the disk is full.
func (w *ContentWriter) Write(p []byte) (n int, err error) {
	if w.done && w.err == nil {
		w.err = io.ErrClosedPipe
	}
	for len(p) > 0 && w.err == nil {
		if w.buf == nil {
			w.buf = make([]byte, 0, pieceSize*piecesPerCommit)
		}
		k := min(len(p), cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, p[:k]...)
		p, n = p[k:], n+k
		if len(w.buf) == cap(w.buf) {
			w.err = w.flush(false)
		}
	}
	return n, w.err
}

// Close writes what is left and returns the content's id for NewMessage.ContentID and its length in bytes.
func (w *ContentWriter) Close() (id uuid.UUID, size int64, err error) {
	if w.done && w.err == nil {
		w.err = io.ErrClosedPipe
	}
	if w.err == nil {
		w.err = w.flush(true)
	}
	w.done, w.buf = true, nil
	return w.id, w.size, w.err
}

// Abort removes what was written. After Close it does so too: the content must not be used any more then.
func (w *ContentWriter) Abort() {
	w.done, w.buf = true, nil
	if w.piece == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), commitTimeout) // the request may have ended
	defer cancel()
	err := w.t.write(ctx, func(t tx) error { return dropUpload(ctx, t, w.t.id, w.id) })
	if err != nil {
		w.t.s.cfg.Logger.WarnContext(ctx, "content that is not needed could not be removed: it is swept after a day", "error", err)
	}
	w.piece = 0
}

// dropUpload removes content that no message refers to.
func dropUpload(ctx context.Context, t tx, tenant, id uuid.UUID) error {
	n, err := t.exec(ctx, "delete from uploads where tenant_id = $1 and id = $2", tenant, id)
	if err != nil || n == 0 { // a message refers to it
		return err
	}
	_, err = t.exec(ctx, "delete from contents where tenant_id = $1 and id = $2", tenant, id)
	return err
}

func (w *ContentWriter) flush(last bool) error {
	if err := w.t.s.room(w.ctx); err != nil {
		return err
	}
	now := w.t.s.now()
	piece := w.piece
	err := w.t.write(w.ctx, func(t tx) error {
		b := &batch{}
		piece = w.piece
		if piece == 0 {
			b.exec(nil, "insert into uploads (tenant_id, id, created_at) values ($1, $2, $3)", w.t.id, w.id, now)
		}
		var values [][]any
		for rest := w.buf; len(rest) > 0 || piece == 0; piece++ {
			k := min(len(rest), pieceSize)
			values = append(values, []any{w.id, int64(piece), rest[:k:k]})
			rest = rest[k:]
		}
		insertContents.add(b, t, w.t.id, values)
		if last {
			b.exec(nil, "update uploads set size = $3 where tenant_id = $1 and id = $2", w.t.id, w.id, w.size+int64(len(w.buf)))
		}
		return t.batch(w.ctx, b)
	})
	if err != nil {
		return err
	}
	w.piece = piece
	w.size += int64(len(w.buf))
	w.buf = w.buf[:0]
	return nil
}

// OpenContent reads content for delivery, a piece at a time: it holds at most 256 KiB of memory. Its length must be compared with
// Claimed.Size by the caller. The error is ErrContentGone if there is none.
func (s *Store) OpenContent(ctx context.Context, tenant, content uuid.UUID) (io.ReadCloser, error) {
	return openContent(ctx, tenant, content, func(fn func(tx) error) error {
		return s.asDelivery(ctx, readOnly, func(t tx) error {
			t.setTenant(tenant)
			return fn(t)
		})
	})
}

// contentReader reads a piece whenever the one before is used up.
type contentReader struct {
	ctx     context.Context
	run     func(func(tx) error) error
	tenant  uuid.UUID
	content uuid.UUID
	piece   int
	rest    []byte
	err     error
}

func openContent(ctx context.Context, tenant, content uuid.UUID, run func(func(tx) error) error) (io.ReadCloser, error) {
	r := &contentReader{ctx: ctx, run: run, tenant: tenant, content: content}
	r.next()
	if errors.Is(r.err, io.EOF) {
		return nil, ErrContentGone
	}
	if r.err != nil {
		return nil, r.err
	}
	return r, nil
}

func (r *contentReader) next() {
	r.rest = nil
	err := r.run(func(t tx) error {
		return t.row(r.ctx, "select data from contents where tenant_id = $1 and id = $2 and piece = $3", r.tenant, r.content, r.piece).Scan(&r.rest)
	})
	switch {
	case errors.Is(err, ErrNotFound):
		r.err = io.EOF
	case err != nil:
		r.err = err
	}
	r.piece++
}

// Read implements io.Reader.
func (r *contentReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err == nil {
			r.next()
		}
		if r.err != nil {
			return 0, r.err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Close ends the reading; nothing is held open.
func (r *contentReader) Close() error {
	r.err, r.rest = io.ErrClosedPipe, nil
	return nil
}
