package mail

import "sync"

// Buffers lends the memory that small messages are rendered into, so that a
// program that sends many does not leave each one's octets to the garbage
// collector. The zero value is ready; it is safe for concurrent use and must
// not be copied. See [ComposeOptions.Buffers] and [Composed.Release].
type Buffers struct{ pool sync.Pool }

// maxLent is the largest buffer that is kept: a small message with long fields.
const maxLent = 4 * smallMessage

// get gives an empty buffer for about n octets. nil b gives a new one.
func (b *Buffers) get(n int) []byte {
	if b != nil {
		if p, ok := b.pool.Get().(*[]byte); ok && cap(*p) >= n {
			return (*p)[:0]
		}
	}
	return make([]byte, 0, n)
}

// put takes a buffer back.
func (b *Buffers) put(p []byte) {
	if cap(p) <= maxLent {
		b.pool.Put(&p)
	}
}

// Release gives the message's memory back to the [Buffers] that it was composed
// with; without them it does nothing. Neither c nor a message made from it by
// [Composed.Prepend] or [Composed.Downgrade] may be used any more. It is called
// at most once, and not while a WriteTo runs.
func (c *Composed) Release() {
	b, lent := c.buffers, c.lent
	c.buffers, c.lent = nil, nil
	if b != nil {
		c.segments, c.one = nil, [1]segment{}
		b.put(lent)
	}
}
