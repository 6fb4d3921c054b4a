package smtptest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"strconv"
	"strings"
)

// sink takes the content of one transaction.
type sink struct {
	limit  int64 // octets to keep
	kept   []byte
	hash   hash.Hash // nil while everything is kept
	size   int64
	lint   *contentLint
	w      io.WriteCloser // of Config.Content; nil: none
	err    error
	closed bool
}

// write takes content. It always takes all: a sink that failed remembers the
// error for the end.
func (k *sink) write(p []byte) {
	if k.lint != nil {
		k.lint.check(p, k.size)
	}
	k.size += int64(len(p))
	room := max(k.limit-int64(len(k.kept)), 0)
	if k.hash == nil && int64(len(p)) > room {
		k.hash = sha256.New()
		k.hash.Write(k.kept)
	}
	k.kept = append(k.kept, p[:min(int64(len(p)), room)]...)
	if k.hash != nil {
		k.hash.Write(p)
	}
	if k.w != nil && k.err == nil {
		_, k.err = k.w.Write(p)
	}
}

// sum gives the hash of all octets if not all were kept.
func (k *sink) sum() (sum [sha256.Size]byte) {
	if k.hash != nil {
		k.hash.Sum(sum[:0])
	}
	return sum
}

// commit closes the writer of Config.Content, once, and gives its error, or that
// of an earlier write.
func (k *sink) commit() error {
	if k.err == nil && k.w != nil && !k.closed {
		k.closed = true
		k.err = k.w.Close()
	}
	return k.err
}

var errIncomplete = errors.New("smtptest: the content was not accepted")

// abort tells the writer of Config.Content, unless it was closed, that nothing
// comes of the message.
func (k *sink) abort() {
	if k.w == nil || k.closed {
		return
	}
	k.closed = true
	if c, ok := k.w.(interface{ CloseWithError(err error) error }); ok {
		_ = c.CloseWithError(errIncomplete) // it is told, its answer changes nothing
	}
}

// contentLint finds faults in content, whatever pieces it comes in. Each kind is
// noted once a message.
type contentLint struct {
	note     func(LintKind, string)
	eightBit bool
	line     int64 // octets since the last CRLF or bare LF
	last     byte
	noted    map[LintKind]bool
}

const lineOctets = 998 // RFC 5321 §4.5.3.1.6, without CRLF

func (c *contentLint) found(kind LintKind, at int64) {
	if !c.noted[kind] {
		c.noted[kind] = true
		c.note(kind, "at octet "+strconv.FormatInt(at, 10))
	}
}

// check looks at the next octets; before is the number of those before them.
func (c *contentLint) check(p []byte, before int64) {
	for len(p) > 0 {
		if c.last == '\r' && p[0] != '\n' {
			c.found(LintBareCR, before-1)
		}
		end := bytes.IndexByte(p, '\n')
		piece := p
		if end >= 0 {
			piece = p[:end]
		}
		c.piece(piece, before)
		if end < 0 {
			return
		}
		if c.last != '\r' {
			c.found(LintBareLF, before+int64(end))
		} else {
			c.line--
		}
		if c.line > lineOctets {
			c.found(LintLongLine, before+int64(end)-c.line)
		}
		c.line, c.last = 0, '\n'
		p, before = p[end+1:], before+int64(end)+1
	}
}

// piece looks at octets without LF.
func (c *contentLint) piece(p []byte, before int64) {
	if len(p) == 0 {
		return
	}
	if i := bytes.IndexByte(p, '\r'); i >= 0 && i < len(p)-1 {
		c.found(LintBareCR, before+int64(i))
	}
	if i := bytes.IndexByte(p, 0); i >= 0 {
		c.found(LintNUL, before+int64(i))
	}
	if !c.eightBit && !c.noted[LintEightBit] {
		for i, b := range p {
			if b >= 0x80 {
				c.found(LintEightBit, before+int64(i))
				break
			}
		}
	}
	c.line += int64(len(p))
	c.last = p[len(p)-1]
}

// finish looks at the end of the content.
func (c *contentLint) finish(size int64) {
	if c.last == '\r' {
		c.found(LintBareCR, size-1)
	}
	if c.line > lineOctets {
		c.found(LintLongLine, size-c.line)
	}
	if size > 0 && (c.line > 0 || c.last != '\n') {
		c.found(LintNoFinalCRLF, size)
	}
}

// startContent makes the transaction ready for content.
func (d *dialogue) startContent(command string) {
	if d.tx == nil {
		d.beginTransaction(Path{}) // a rule lets content come without MAIL
	}
	t := d.tx
	t.Command = command
	t.sink = &sink{limit: max(d.cfg.MaxContent, 0)}
	if !t.binary {
		t.sink.lint = &contentLint{note: d.note, eightBit: t.eightBit, noted: map[LintKind]bool{}}
	}
	if d.cfg.Content != nil {
		t.sink.w, t.sink.err = d.cfg.Content(d.Session, t.clone().Envelope)
	}
	if a, scripted := d.srv.rule(d.Session, CommandContent, t.script(), true); scripted {
		d.perform(a, nil)
	}
	d.fire()
}

// script is the argument that rules for CommandContent match.
func (t *transaction) script() string {
	var b strings.Builder
	b.WriteString("<" + t.MailFrom.Address + ">")
	for _, p := range t.RcptTo {
		b.WriteString(" <" + p.Address + ">")
	}
	return b.String()
}

// fire does what was armed for this octet.
func (d *dialogue) fire() {
	t := d.tx
	if t.armed == nil || t.Size < t.armed.octet {
		return
	}
	then := t.armed.then
	t.armed = nil
	d.perform(then, func(r SentReply) {
		if r.Code != 0 || len(r.Lines) > 0 {
			t.Reply, t.answered = r, true
		}
	})
	d.dead(d.flush())
}

// feed takes content octets, stopping where a rule wants to act.
func (d *dialogue) feed(p []byte) {
	t := d.tx
	for len(p) > 0 && !d.ended {
		n := int64(len(p))
		if t.armed != nil {
			n = min(n, t.armed.octet-t.Size)
		}
		t.sink.write(p[:n])
		t.Size += n
		d.octets.Add(n)
		p = p[n:]
		d.fire()
	}
}

// endContent answers content that has arrived in full.
func (d *dialogue) endContent() {
	t := d.tx
	t.Complete = true
	if t.sink.lint != nil {
		t.sink.lint.finish(t.Size)
	}
	d.logged(CommandContent, "")
	if t.answered {
		d.answered(t.Reply, true)
		d.closeTransaction(t.Reply)
		return
	}
	a, scripted := d.srv.rule(d.Session, CommandContent, t.script(), false)
	d.decide(verdict{judge: d.contentReply, settle: d.closeTransaction}, a, scripted)
}

// contentReply is what the server says to content by itself.
func (d *dialogue) contentReply() SentReply {
	t := d.tx
	switch {
	case t.accepted == 0:
		return d.say(554, "5.5.1", "no valid recipients")
	case d.cfg.MaxSize > 0 && t.Size > d.cfg.MaxSize:
		return d.say(552, "5.3.4", "message too large")
	}
	err := t.sink.commit()
	var given *ReplyError
	switch {
	case err == nil:
		return d.say(250, "2.0.0", "accepted, session "+strconv.Itoa(t.Session)+" message "+strconv.Itoa(t.Number))
	case errors.As(err, &given):
		if r := replyLine(given.Reply); r.Code >= 400 {
			return r
		}
	}
	return d.say(451, "4.3.0", "cannot store the message now")
}
