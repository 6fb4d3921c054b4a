package mail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// part is one leaf of the message.
type part struct {
	field     string // its content's place in the message
	present   bool
	mediaType string
	filename  string
	contentID string
	inline    bool
	related   bool // stands beside the HTML
	encoding  transferEncoding
	data      []byte // the content, if it is in memory
	source    source // else
	ended     bool   // text: its last octets are a line end
}

// plan looks at the content and decides how each part is written.
func (c *composer) plan() error {
	m := c.m
	if err := c.planText(&c.text, "text", m.Text, m.TextFrom, c.limits.TextOctets); err != nil {
		return err
	}
	if err := c.planText(&c.html, "html", m.HTML, m.HTMLFrom, c.limits.HTMLOctets); err != nil {
		return err
	}
	if m.Calendar != nil {
		c.calendar = part{field: "calendar", present: true, data: m.Calendar.Data}
		c.planMemory(&c.calendar, countHigh(m.Calendar.Data))
	}
	if len(m.Attachments) > 0 || m.Calendar != nil && m.Calendar.Filename != "" {
		if err := c.planFiles(); err != nil {
			return err
		}
	}
	if !c.text.present && !c.html.present && !c.calendar.present && len(c.files) == 0 {
		c.text = part{field: "text", present: true, ended: true}
	}
	c.chooseSmall()
	return nil
}

// planText decides on a body.
func (c *composer) planText(p *part, field, s string, open Opener, limit int64) error {
	*p = part{field: field, present: s != "" || open != nil}
	switch {
	case s != "":
		high, valid := highUTF8(s)
		if !valid {
			return c.m.Validate(c.options.Limits) // it knows how to say that
		}
		p.data = octets(s)
		c.planMemory(p, high)
		return nil
	case open == nil:
		return nil
	}
	p.source = source{field: field, open: open}
	facts := textFacts{highDecides: !c.options.EightBit}
	var check utf8Check
	n, err := p.source.examine(limit, func(piece []byte) {
		facts.add(piece)
		check.add(piece)
	})
	switch {
	case err != nil:
		return Faults{asFault(err)}
	case n > limit:
		return Faults{*tooLarge(field, limit)}
	case !check.valid():
		return Faults{{Field: field, Code: CodeInvalidUTF8, Detail: field + " is not UTF-8; convert it from its charset"}}
	}
	p.source.raw = n
	c.decide(p, &facts)
	return c.sizeText(p, &facts)
}

// planMemory decides on a text that is in memory, with high octets over 127.
func (c *composer) planMemory(p *part, high int) {
	facts := textFacts{highDecides: !c.options.EightBit}
	large := len(p.data) > smallMessage
	if large || len(p.data) == 0 {
		facts.addHigh(p.data, high)
	} else {
		facts.addWhole(p.data, high)
	}
	c.decide(p, &facts)
	if large {
		data := p.data
		p.source = source{
			field: p.field, raw: int64(len(data)),
			open: func() (io.ReadCloser, error) { return bytesReader{bytes.NewReader(data)}, nil },
		}
		p.data = nil
		// Reading memory cannot fail.
		_ = c.sizeText(p, &facts)
	}
}

// decide chooses the encoding of a text.
func (c *composer) decide(p *part, facts *textFacts) {
	p.encoding = facts.choose(c.options.EightBit)
	p.ended = facts.ended && p.encoding != encodingBase64Text
	c.eightBit = c.eightBit || p.encoding == encoding8Bit
}

// sizeText finds the exact size of a streamed text. Only quoted-printable
// needs another pass: where it breaks lines depends on every octet.
func (c *composer) sizeText(p *part, facts *textFacts) error {
	s := &p.source
	s.encoding = p.encoding
	text := facts.octets + facts.breaks - facts.pairs
	switch p.encoding {
	case encodingBase64Text:
		s.size = base64Size(text)
	case encodingQuoted:
		var qp qpEncoder
		var out []byte
		n, err := s.examine(s.raw, func(piece []byte) {
			out = qp.append(out, piece)
			s.size += int64(qp.line)
			out = out[:copy(out, out[qp.line:])]
			qp.line = 0
		})
		if err != nil {
			return Faults{asFault(err)}
		}
		if n != s.raw {
			return Faults{asFault(s.errLength("other octets"))}
		}
		s.size += int64(len(qp.finish(out)))
	default:
		s.size = text
	}
	return nil
}

// planFiles decides on the attachments.
func (c *composer) planFiles() error {
	m := c.m
	c.files = make([]part, 0, len(m.Attachments)+1)
	var total int64
	for i := range m.Attachments {
		p, err := c.planFile(at("attachments", i)+".content", &m.Attachments[i])
		if err != nil {
			return err
		}
		if total += p.source.raw; total > c.limits.AttachmentsOctets {
			return Faults{*tooLarge("attachments", c.limits.AttachmentsOctets)}
		}
		c.files = append(c.files, p)
	}
	if cal := m.Calendar; cal != nil && cal.Filename != "" {
		// application/ics and not text/calendar: programs that show the
		// alternative would otherwise show the invitation twice.
		a := BytesAttachment(cal.Filename, cal.Data)
		a.MediaType = "application/ics"
		p, err := c.planFile("calendar", &a)
		if err != nil {
			return err
		}
		c.files = append(c.files, p)
	}
	return nil
}

// planFile decides on one attachment.
func (c *composer) planFile(field string, a *Attachment) (part, error) {
	p := part{
		field: field, present: true, mediaType: a.MediaType, filename: a.Filename, contentID: a.ContentID,
		encoding: encodingBase64,
		related:  a.ContentID != "" && c.html.present,
		source:   source{field: field, open: a.Open, raw: a.Size, encoding: encodingBase64},
	}
	p.inline = a.Inline || p.related
	if p.mediaType == "" {
		p.mediaType = octetStream
		if a.Filename != "" {
			p.mediaType = mediaTypeByName(a.Filename)
		}
	}
	if isEnclosed(p.mediaType) {
		return p, c.planEnclosed(&p)
	}
	if a.Size < 0 {
		n, err := p.source.examine(c.limits.AttachmentOctets, func([]byte) {})
		switch {
		case err != nil:
			return p, Faults{asFault(err)}
		case n > c.limits.AttachmentOctets:
			return p, Faults{*tooLarge(field, c.limits.AttachmentOctets)}
		}
		p.source.raw = n
	}
	p.source.size = base64Size(p.source.raw)
	return p, nil
}

// isEnclosed reports whether a media type may only be sent in 7bit or 8bit,
// RFC 2046 §5.2: message/rfc822 and its kin, but not message/global (RFC 6532
// §3.7).
func isEnclosed(mediaType string) bool {
	const prefix = "message/"
	return len(mediaType) > len(prefix) && strings.EqualFold(mediaType[:len(prefix)], prefix) &&
		!strings.HasPrefix(strings.ToLower(mediaType[len(prefix):]), "global")
}

// planEnclosed decides on an attached message, in one pass over it. What
// cannot go over the wire as it is, but for its line ends, is sent as a file
// of octets that programs open by its name.
func (c *composer) planEnclosed(p *part) error {
	s := &p.source
	var facts textFacts
	n, err := s.examine(c.limits.AttachmentOctets, facts.add)
	switch {
	case err != nil:
		return Faults{asFault(err)}
	case n > c.limits.AttachmentOctets:
		return Faults{*tooLarge(p.field, c.limits.AttachmentOctets)}
	case s.raw >= 0 && n != s.raw:
		return Faults{asFault(s.errLength("other octets"))}
	}
	s.raw = n
	clean := facts.longest <= hardLine && facts.nulAt == 0 && !facts.bareCR && !facts.cr
	switch {
	case clean && facts.high == 0:
		p.encoding = encoding7Bit
	case clean && c.options.EightBit:
		p.encoding = encoding8Bit
		c.eightBit = true
	default:
		p.mediaType = octetStream
		if !strings.EqualFold(filepath.Ext(p.filename), ".eml") {
			p.filename = strings.TrimSuffix(p.filename, ".") + ".eml"
			if p.filename == ".eml" {
				p.filename = "message.eml"
			}
		}
		s.size = base64Size(n)
		return nil
	}
	s.encoding = p.encoding
	s.size = n + facts.breaks - facts.pairs
	p.ended = facts.ended
	return nil
}

// chooseSmall decides whether the message is rendered into memory.
func (c *composer) chooseSmall() {
	total := int64(0)
	for _, p := range [...]*part{&c.text, &c.html, &c.calendar} {
		total += int64(len(p.data)) + p.source.raw
	}
	for i := range c.files {
		total += c.files[i].source.raw
	}
	c.small = total <= smallMessage
	// A guess that nearly always holds saves growing: the header and the
	// parts' own fields, and what encoding adds.
	const fields, perPart = 1 << 10, 512
	header := fields + perPart*len(c.files) + 64*(len(c.m.To)+len(c.m.Cc)) + len(c.m.Subject)
	if c.small {
		c.buf, c.lent = c.options.Buffers.get(header + int(total) + int(total)/3 + int(total)/16)
	} else {
		c.buf = make([]byte, 0, header)
	}
}

// tooLarge is the fault of content beyond its limit.
func tooLarge(field string, limit int64) *Fault {
	return &Fault{Field: field, Code: CodeTooLarge, Detail: fmt.Sprintf("content has more than the %d octets that are allowed", limit)}
}

// asFault gives an error of a source as the Fault that it is.
func asFault(err error) Fault {
	if f, ok := errors.AsType[Fault](err); ok {
		return f
	}
	return Fault{Code: CodeUnreadable, Detail: err.Error(), Err: err}
}
