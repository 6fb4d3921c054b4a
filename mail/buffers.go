package mail

import (
	"sync"
	"sync/atomic"
)

// Buffers lends the memory that small messages are rendered into, so that a
// program that sends many does not leave each one's octets to the garbage
// collector. The zero value is ready; it is safe for concurrent use and must
// not be copied. See [ComposeOptions.Buffers] and [Composed.Release].
type Buffers struct {
	pool sync.Pool
	kept atomic.Int64 // about how many lie in pool; it loses some at times and does not tell
}

// maxKept is how many buffers are kept for later: when many messages wait for their
// servers at the same time, their memory is not needed when they are done.
const maxKept = 32

// maxLent is the largest buffer that is kept: a small message with long fields.
const maxLent = 4 * smallMessage

// get gives an empty buffer for about n octets, and what to give it back with.
// nil b gives a new one and nil.
func (b *Buffers) get(n int) (buf []byte, lent *[]byte) {
	if b == nil {
		return make([]byte, 0, n), nil
	}
	lent, ok := b.pool.Get().(*[]byte)
	if ok {
		b.kept.Add(-1)
	} else {
		b.kept.Store(0)
		lent = new([]byte)
	}
	if cap(*lent) < n {
		*lent = make([]byte, 0, n)
	}
	return (*lent)[:0], lent
}

// put takes a buffer back; p is what became of it.
func (b *Buffers) put(lent *[]byte, p []byte) {
	if cap(p) <= maxLent && b.kept.Load() < maxKept {
		b.kept.Add(1)
		*lent = p
		b.pool.Put(lent)
	}
}

// Release gives the message's memory back to the [Buffers] that it was composed
// with; without them it does nothing. Neither c nor a message made from it by
// [Composed.Prepend] or [Composed.Downgrade] may be used any more. It is called
// at most once, and not while a WriteTo runs.
func (c *Composed) Release() {
	b, lent, buf := c.buffers, c.lent, c.one[0].literal
	c.buffers, c.lent = nil, nil
	if b != nil && lent != nil {
		c.segments, c.one = nil, [1]segment{}
		b.put(lent, buf)
	}
}
