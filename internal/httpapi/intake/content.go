package intake

import (
	"fmt"
	"unicode/utf8"

	"github.com/postrider/postrider/mail"
)

// bodySink takes a text or HTML body: a short one into memory, a long one into the spool.
type bodySink struct {
	r       *reading
	limit   int64
	size    int64
	spooled bool
}

func (b *bodySink) put(p []byte) error {
	if b.size += int64(len(p)); b.size > b.limit {
		return nil
	}
	if !b.spooled {
		text := &b.r.text
		if len(text.p)+len(p) <= bodyMemory {
			text.p = append(text.p, p...)
			return nil
		}
		b.spooled = true
		if _, err := b.r.out.spool.Write(text.p); err != nil {
			return err
		}
	}
	_, err := b.r.out.spool.Write(p)
	return err
}

// body has read put the text of a body into a sink and puts it where it belongs. After read, scan.badText says
// what is wrong with its characters.
func (r *reading) body(name string, read func(sink) error) error {
	m, limit := &r.message.Message, r.decoder.limits.TextOctets
	if name == "html_body" {
		limit = r.decoder.limits.HTMLOctets
	}
	r.text.p = r.text.p[:0]
	b := bodySink{r: r, limit: limit}
	if err := read(&b); err != nil {
		return err
	}
	opener, _, err := r.out.spool.Piece()
	if err != nil {
		return err
	}
	switch {
	case r.scan.badText != "":
		r.badText()
	case b.size > limit:
		r.fault(mail.CodeTooLarge, "%s has %d octets; at most %d are allowed", name, b.size, limit)
	case b.spooled && name == "html_body":
		m.HTMLFrom = opener
	case b.spooled:
		m.TextFrom = opener
	case name == "html_body":
		m.HTML = string(r.text.p)
	default:
		m.Text = string(r.text.p)
	}
	return nil
}

// fileSink takes the content of an attachment into the spool, as long as it may grow.
type fileSink struct {
	r    *reading
	size int64
}

func (f *fileSink) put(p []byte) error {
	f.size += int64(len(p))
	f.r.attached += int64(len(p))
	if f.tooLarge() {
		return nil
	}
	_, err := f.r.out.spool.Write(p)
	return err
}

// tooLarge tells whether the content, or all together, are over their limits.
func (f *fileSink) tooLarge() bool {
	l := &f.r.decoder.limits
	return f.size > l.AttachmentOctets || f.r.attached > l.AttachmentsOctets
}

// done gives the content to an attachment, or notes that it is too large.
func (f *fileSink) done(a *mail.Attachment) (err error) {
	l := &f.r.decoder.limits
	if a.Open, a.Size, err = f.r.out.spool.Piece(); err != nil {
		return err
	}
	switch {
	case f.size > l.AttachmentOctets:
		f.r.fault(mail.CodeTooLarge, "attachment has %d octets; at most %d are allowed", f.size, l.AttachmentOctets)
	case f.r.attached > l.AttachmentsOctets:
		f.r.fault(mail.CodeTooLarge, "attachments have %d octets together up to here; at most %d are allowed", f.r.attached, l.AttachmentsOctets)
	}
	return nil
}

// attachment reads one attachment.
func (r *reading) attachment() error {
	var a mail.Attachment
	var seen uint
	given := false
	m := &r.message.Message
	if ok, err := r.want('{', "an object"); err != nil || !ok {
		m.Attachments = append(m.Attachments, a) // so that the others keep their places
		return err
	}
	err := r.object(func(name string) (bool, error) {
		var dst *string
		bit := uint(0)
		switch name {
		case "filename":
			dst = &a.Filename
		case "content_type":
			dst, bit = &a.MediaType, 1
		case "content_id":
			dst, bit = &a.ContentID, 2
		case "content":
			bit = 3
		case "inline":
			bit = 4
		default:
			return false, nil
		}
		first, err := r.once(&seen, bit)
		if err != nil || !first {
			return true, err
		}
		switch name {
		case "content":
			given = true
			return true, r.content(&a)
		case "inline":
			a.Inline, _, err = r.bool()
			return true, err
		}
		return true, r.textInto(dst, maxWord)
	})
	if err != nil {
		return err
	}
	if !given {
		r.path.push("content")
		r.fault(mail.CodeRequired, "attachment has no content; give its octets as base64")
		r.path.pop()
	}
	m.Attachments = append(m.Attachments, a)
	return nil
}

// content reads the content of an attachment in any shape that is allowed.
func (r *reading) content(a *mail.Attachment) error {
	c, err := r.scan.peek()
	if err != nil {
		return err
	}
	file := fileSink{r: r}
	switch {
	case c == '"':
		decoder := base64Sink{to: &file, out: r.base64}
		if err := r.scan.text(&decoder); err != nil {
			return err
		}
		r.base64 = decoder.out
		if r.scan.badText != "" {
			decoder.fault = "base64 text has " + r.scan.badText
		}
		if code, detail := decoder.finish(); code != "" {
			r.fault(code, "%s", detail)
		}
	case c == '[' && r.options.ArrayContent:
		if err := r.octets(&file); err != nil {
			return err
		}
	case c == '{' && r.options.ArrayContent:
		if err := r.nodeBuffer(&file); err != nil {
			return err
		}
	default:
		return r.wrongType(c, "a string of base64")
	}
	return file.done(a)
}

// nodeBuffer reads {"type":"Buffer","data":[…]}, which JSON.stringify makes of a Buffer of Node.js.
func (r *reading) nodeBuffer(file *fileSink) error {
	var seen uint
	return r.object(func(name string) (bool, error) {
		switch name {
		case "type":
			var is string
			first, err := r.once(&seen, 0)
			if err != nil || !first {
				return true, err
			}
			if err := r.textInto(&is, maxWord); err != nil {
				return true, err
			}
			if is != "Buffer" {
				r.fault(mail.CodeInvalidValue, "type of content is %s; it must be Buffer", show(is))
			}
			return true, nil
		case "data":
			first, err := r.once(&seen, 1)
			if err != nil || !first {
				return true, err
			}
			c, err := r.scan.peek()
			switch {
			case err != nil:
				return true, err
			case c != '[':
				return true, r.wrongType(c, "an array of numbers")
			}
			return true, r.octets(file)
		}
		return false, nil
	})
}

// octets reads an array of numbers from 0 to 255, each of which is one octet. Ten million of them are not unusual.
func (r *reading) octets(file *fileSink) error {
	if err := r.scan.enter(); err != nil {
		return err
	}
	block := r.text.p[:0]
	defer func() { r.text.p = block }()
	wrong := false
	for first := true; ; first = false {
		more, err := r.scan.member(']', first)
		if err != nil {
			return err
		}
		if !more {
			return file.put(block)
		}
		c, err := r.scan.peek()
		if err != nil {
			return err
		}
		n, ok := -1, false
		if '0' <= c && c <= '9' || c == '-' {
			text, err := r.scan.number()
			if err != nil {
				return err
			}
			n, ok = octet(text)
		} else if err := r.scan.skip(); err != nil {
			return err
		}
		if !ok {
			if !wrong {
				r.fault(mail.CodeInvalidValue, "content has a member that is no number from 0 to 255")
			}
			wrong = true
			continue
		}
		if block = append(block, byte(n)); len(block) == base64Block {
			if err := file.put(block); err != nil {
				return err
			}
			block = block[:0]
		}
	}
}

// octet reads the text of a number from 0 to 255.
func octet(text []byte) (n int, ok bool) {
	const digits = 3
	if len(text) > digits {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, n <= 0xff
}

// copyText reads text that is not JSON into to, in whole characters; scan.badText says if it is not UTF-8.
func (r *reading) copyText(read func(p []byte) (int, error), to sink) error {
	r.scan.badText = ""
	held := 0 // octets of a character whose rest is still to come
	for {
		n, err := read(r.copyBuffer()[held:])
		window := r.copyBuffer()[:held+n]
		ended := err != nil
		if held = 0; !ended {
			held = unfinished(window)
		}
		piece := window[:len(window)-held]
		if len(piece) > 0 {
			if !utf8.Valid(piece) {
				r.scan.badText = notUTF8
			} else if err := to.put(piece); err != nil {
				return err
			}
		}
		if ended {
			return endOfPart(err)
		}
		copy(r.copyBuffer(), window[len(window)-held:])
	}
}

// copyBuffer is the buffer of what is copied without being JSON. It is made when it is needed.
func (r *reading) copyBuffer() []byte {
	if r.block == nil {
		r.block = make([]byte, bufferOctets)
	}
	return r.block
}

// copyOctets reads octets of any kind into to.
func (r *reading) copyOctets(read func(p []byte) (int, error), to sink) error {
	for {
		n, err := read(r.copyBuffer())
		if n > 0 {
			if err := to.put(r.copyBuffer()[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return endOfPart(err)
		}
	}
}

// Pointer turns a field in the words of package mail, such as "attachments[0].media_type", into the JSON Pointer
// of the place in the body that it came from.
func (d *Decoded) Pointer(mailField string) string {
	return d.prefix + d.pointer(mailField)
}

// pointer does so for a body of one message.
func (d *Decoded) pointer(mailField string) string {
	if d.Request.Raw != nil || mailField == "" {
		return "" // the body is the message itself, and has no fields of ours
	}
	var p path
	for name := range splitField(mailField) {
		p.push(name)
	}
	switch p[0] {
	case "text", "html":
		p[0] += "_body"
	case "attachments":
		const member = 2
		if len(p) > member && p[member] == "media_type" {
			p[member] = "content_type"
		}
	case "headers":
		if i, ok := index(p); ok && d.headerObject && i < len(d.Request.Message.Header) {
			p = path{"headers", d.Request.Message.Header[i].Name}
		}
	}
	return p.String()
}

// String gives a fault as one line.
func (f Fault) String() string {
	place := f.Pointer
	if f.Header != "" {
		place = f.Header
	}
	return fmt.Sprintf("%s: %s (%s)", place, f.Detail, f.Code)
}
