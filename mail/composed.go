package mail

import (
	"io"
	"slices"
)

// smallMessage is the number of octets of content up to which a message is
// rendered into memory at composition. It is what one round trip carries to a
// relay, and less than what a pass over streamed content needs for buffers.
const smallMessage = 64 << 10

// Composed is a message whose octets are fixed, with its boundaries,
// Message-ID and Date: each WriteTo gives the same. It is immutable and safe
// for concurrent use. Make one with [Message.Compose] or [ComposeRaw].
type Composed struct {
	segments  []segment
	one       [1]segment // where segments of a small message are
	size      int64
	messageID string
	envelope  Envelope
	again     *recomposition // nil: Downgrade cannot compose anew
	signed    bool           // Prepend was used
	buffers   *Buffers       // where Release gives lent back; nil: nowhere
	lent      *[]byte
}

// segment is a piece of a composed message: octets in memory, or a source.
type segment struct {
	literal []byte
	source  *source
}

// size is the number of octets that the segment is written as.
func (s *segment) size() int64 {
	if s.source != nil {
		return s.source.size
	}
	return int64(len(s.literal))
}

// Size is the exact number of octets that WriteTo writes.
func (c *Composed) Size() int64 { return c.size }

// MessageID is the header field Message-ID with its angle brackets.
func (c *Composed) MessageID() string { return c.messageID }

// WriteTo writes the message: CRLF line ends only, the last octets are CRLF.
// Content up to 64 KiB is one Write. Larger content is read from its Opener
// and encoded on the way, with some 100 KiB of buffers whatever its size. An
// error of w comes back as it is; one of a source, also when it gives other
// octets than at composition, is a [Fault] that names the field, and then the
// message is incomplete and must not be taken for sent.
func (c *Composed) WriteTo(w io.Writer) (int64, error) {
	var written int64
	var buffers passBuffers
	for i := range c.segments {
		if s := c.segments[i].source; s != nil {
			n, err := s.writeTo(w, &buffers)
			written += n
			if err != nil {
				return written, err
			}
			continue
		}
		n, err := w.Write(c.segments[i].literal)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// Prepend gives the same message with a header field on top, such as a
// DKIM-Signature or a trace field; c stays as it is. field is the whole field,
// folded, with its CRLF. Nothing is checked: this is for programs that made
// the field, not for input. The new message cannot be downgraded any more,
// since its octets may be signed.
func (c *Composed) Prepend(field []byte) *Composed {
	d := *c
	d.signed = true
	d.again = nil
	d.buffers, d.lent = nil, nil // they stay c's to give back
	d.size += int64(len(field))
	if len(c.segments) == 1 && c.segments[0].source == nil {
		// One piece stays one piece, so that it is one Write.
		d.one[0].literal = slices.Concat(field, c.segments[0].literal)
		d.segments = d.one[:]
		return &d
	}
	d.segments = slices.Concat([]segment{{literal: slices.Clone(field)}}, c.segments)
	return &d
}
