package mail

// body writes the fields of the first part, the body, and the last CRLF.
func (c *composer) body() error {
	if err := c.mixed(); err != nil {
		return err
	}
	if !c.endsLine() {
		c.buf = append(c.buf, "\r\n"...)
	}
	return nil
}

// endsLine reports whether what was written last is a line end.
func (c *composer) endsLine() bool {
	if len(c.buf) > c.cut {
		return c.buf[len(c.buf)-1] == '\n'
	}
	// The last thing was a source; only a lone part gets here.
	for _, p := range [...]*part{&c.text, &c.html, &c.calendar} {
		if p.present {
			return p.ended
		}
	}
	return false
}

// mixed writes the outermost level: the bodies, then the attachments.
func (c *composer) mixed() error {
	rest := 0
	for i := range c.files {
		if !c.files[i].related {
			rest++
		}
	}
	if rest == 0 {
		return c.related()
	}
	c.multipart("mixed", 'm', "")
	if c.text.present || c.html.present || c.calendar.present {
		c.delimiter('m')
		if err := c.related(); err != nil {
			return err
		}
	}
	for i := range c.files {
		if p := &c.files[i]; !p.related {
			c.delimiter('m')
			if err := c.file(p); err != nil {
				return err
			}
		}
	}
	c.close('m')
	return nil
}

// related writes the bodies and the companions of the HTML, RFC 2387.
func (c *composer) related() error {
	some := false
	for i := range c.files {
		some = some || c.files[i].related
	}
	if !some {
		return c.alternative()
	}
	root := "text/html"
	if c.bodies() > 1 {
		root = "multipart/alternative"
	}
	c.multipart("related", 'r', root)
	c.delimiter('r')
	if err := c.alternative(); err != nil {
		return err
	}
	for i := range c.files {
		if p := &c.files[i]; p.related {
			c.delimiter('r')
			if err := c.file(p); err != nil {
				return err
			}
		}
	}
	c.close('r')
	return nil
}

// bodies is the number of alternatives.
func (c *composer) bodies() (n int) {
	for _, p := range [...]*part{&c.text, &c.html, &c.calendar} {
		if p.present {
			n++
		}
	}
	return n
}

// alternative writes the bodies, plainest first, RFC 2046 §5.1.4.
func (c *composer) alternative() error {
	several := c.bodies() > 1
	if several {
		c.multipart("alternative", 'a', "")
	}
	for _, p := range [...]*part{&c.text, &c.html, &c.calendar} {
		if !p.present {
			continue
		}
		if several {
			c.delimiter('a')
		}
		switch p {
		case &c.text:
			c.fixed("Content-Type", "text/plain; charset=utf-8")
		case &c.html:
			c.fixed("Content-Type", "text/html; charset=utf-8")
		default:
			c.begin("Content-Type")
			c.token("", "text/calendar", "")
			c.parameter("charset", "utf-8")
			c.parameter("method", c.m.Calendar.Method)
			c.end()
		}
		c.fixed("Content-Transfer-Encoding", p.encoding.String())
		c.buf = append(c.buf, "\r\n"...)
		if err := c.write(p); err != nil {
			return err
		}
	}
	if several {
		c.close('a')
	}
	return nil
}

// file writes an attachment or a companion.
func (c *composer) file(p *part) error {
	c.mediaType(p.mediaType, p.filename)
	c.fixed("Content-Transfer-Encoding", p.encoding.String())
	if p.contentID != "" {
		c.begin("Content-ID")
		c.token("<", p.contentID, ">")
		c.end()
	}
	if p.inline {
		c.disposition("inline", p.filename)
	} else {
		c.disposition("attachment", p.filename)
	}
	c.buf = append(c.buf, "\r\n"...)
	return c.write(p)
}

// multipart writes the fields of a level and the empty line after them; root
// is the type of a related level's first part.
func (c *composer) multipart(kind string, level byte, root string) {
	c.begin("Content-Type")
	c.token("multipart/", kind, "")
	if root != "" {
		c.parameter("type", root)
	}
	c.buf = append(c.buf, ';')
	c.fold()
	c.buf = append(c.buf, ` boundary="`...)
	c.boundary(level)
	c.buf = append(c.buf, '"')
	c.end()
	if c.eightBit {
		// RFC 2045 §6.4: a level says 8bit if a part in it does. That this
		// level may not be the one with the 8-bit part does no harm.
		c.fixed("Content-Transfer-Encoding", encoding8Bit.String())
	}
	c.buf = append(c.buf, "\r\n"...)
}

// boundary appends the boundary of a level. "=_" cannot stand in
// quoted-printable or base64 (RFC 2045 §6.7); in other text the randomness
// does it. All boundaries of a message have one length, so that none is the
// beginning of another.
func (c *composer) boundary(level byte) {
	c.buf = append(c.buf, "=_"...)
	c.buf = append(c.buf, level, '_')
	c.buf = appendBase32(c.buf, c.nonce[idOctets:])
}

// delimiter begins a part of a level. The CRLF before it belongs to the
// delimiter, not to the part that ends there (RFC 2046 §5.1.1).
func (c *composer) delimiter(level byte) {
	if c.inPart {
		c.buf = append(c.buf, "\r\n"...)
	}
	c.inPart = false
	c.buf = append(c.buf, "--"...)
	c.boundary(level)
	c.buf = append(c.buf, "\r\n"...)
}

// close ends a level.
func (c *composer) close(level byte) {
	c.buf = append(c.buf, "\r\n--"...)
	c.boundary(level)
	c.buf = append(c.buf, "--"...)
}

// write writes the content of a part: into the buffer, or as a segment of its
// own that is read again at each pass.
func (c *composer) write(p *part) error {
	c.inPart = true
	switch {
	case p.source.open == nil:
		c.encode(p.encoding, p.data)
	case c.small:
		return c.copySource(&p.source)
	default:
		c.cutSegment()
		s := p.source
		c.segments = append(c.segments, segment{source: &s})
	}
	return nil
}

// encode appends encoded octets that are in memory.
func (c *composer) encode(e transferEncoding, data []byte) {
	switch e {
	case encodingQuoted:
		qp := qpEncoder{line: len(c.buf)}
		c.buf = qp.finish(qp.append(c.buf, data))
	case encodingBase64Text:
		var b base64Text
		c.buf = b.finish(b.append(c.buf, data))
	default:
		var l lineEnds
		c.buf = l.append(c.buf, data)
	}
}

// copySource renders a source into the buffer.
func (c *composer) copySource(s *source) error {
	// A variable of its own, so that the composer need not be on the heap.
	w := bufferWriter(c.buf)
	_, err := s.writeTo(&w, &c.content)
	c.buf = w
	if err != nil {
		return Faults{asFault(err)}
	}
	return nil
}

// bufferWriter appends to a slice.
type bufferWriter []byte

// Write appends p.
func (b *bufferWriter) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// cutSegment closes the octets in memory before a source, or at the end.
// Later growth of the buffer leaves them where they are: they are never
// written again.
func (c *composer) cutSegment() {
	if len(c.buf) > c.cut {
		c.segments = append(c.segments, segment{literal: c.buf[c.cut:len(c.buf):len(c.buf)]})
		c.cut = len(c.buf)
	}
}
