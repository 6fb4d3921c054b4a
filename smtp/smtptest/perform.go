package smtptest

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// wire gives a reply as it is sent.
func (r SentReply) wire() string {
	var b strings.Builder
	code := strconv.Itoa(r.Code)
	for i, l := range r.Lines {
		b.WriteString(code)
		if i < len(r.Lines)-1 {
			b.WriteByte('-')
		} else {
			b.WriteByte(' ')
		}
		b.WriteString(l)
		b.WriteString("\r\n")
	}
	return b.String()
}

// replyLine makes a reply from text that is known to begin with a code.
func replyLine(line string) SentReply {
	r, _ := replyOf([]string{line})
	return r
}

// perform does what an action says. It gives the reply made, and reports whether
// the server shall handle the command by itself after all. settle, if not
// nil, is called once, before the first reply leaves.
func (d *dialogue) perform(a Action, settle func(SentReply)) (given SentReply, proceed bool) {
	settled, acted := false, false
	decided := func(r SentReply) {
		given = r
		d.answered(r, true)
		if !settled && settle != nil {
			settle(r)
		}
		settled = true
	}
	for _, s := range a.steps {
		if d.ended {
			break
		}
		acted = acted || s.kind != stepWait && s.kind != stepAfterRead
		switch s.kind {
		case stepProceed:
			return given, true
		case stepAtOctet:
			if d.tx != nil {
				d.tx.arm(s)
			}
			return given, true
		case stepReply:
			r, wire := replyOf(s.lines)
			decided(r)
			d.queue(wire)
		case stepPieces:
			whole := strings.Join(s.lines, "")
			r, _ := replyOf(splitReply(whole))
			decided(r)
			d.pieces(s, strings.HasSuffix(whole, "\r\n"))
		case stepAccept:
			decided(SentReply{Code: 250, Lines: []string{"accepted in silence"}})
			d.answered(SentReply{}, true) // nothing was written
		case stepWrite:
			d.queue(s.lines[0])
		case stepWait:
			d.pause(s.wait)
		case stepDrop:
			d.ended = true
		case stepHangUp:
			d.ended, d.linger = true, true
		case stepReset:
			d.ended, d.broken = true, true
			d.dead(d.flush())
		case stepSilence:
			d.dead(d.flush())
			d.silence()
		case stepStall:
			d.dead(d.flush())
			<-d.gone
			d.ended = true
		}
	}
	if !acted && !d.ended {
		return given, true // it only waited
	}
	if !settled && settle != nil {
		// A lost connection, silence or garbage accepted nothing.
		settle(SentReply{})
	}
	return given, false
}

// dead ends the session when a write failed: the client is gone.
func (d *dialogue) dead(err error) {
	if err != nil {
		d.ended = true
	}
}

// pause flushes and waits, unless the session ends first.
func (d *dialogue) pause(t time.Duration) {
	d.dead(d.flush())
	if t <= 0 || d.ended {
		return
	}
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.gone:
		d.ended = true
	}
}

// pieces writes a reply in several writes.
func (d *dialogue) pieces(s step, whole bool) {
	for i, p := range s.lines {
		if i > 0 {
			d.pause(s.wait)
		}
		if i == len(s.lines)-1 && !whole {
			p += "\r\n"
		}
		d.queue(p)
		d.dead(d.flush())
		if d.ended {
			return
		}
	}
}

// splitReply gives the lines of a reply in wire form.
func splitReply(wire string) []string {
	return strings.Split(strings.TrimSuffix(wire, "\r\n"), "\r\n")
}

// silence reads and forgets until the connection is gone. A timeout does not end
// it: the server is silent about that too.
func (d *dialogue) silence() {
	d.ended = true
	for {
		_, err := io.Copy(io.Discard, d.r)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		select {
		case <-d.gone:
			return
		default:
		}
	}
}
