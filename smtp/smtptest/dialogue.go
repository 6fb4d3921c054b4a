package smtptest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// dialogue is the server's side of a session: what only the goroutine that
// serves it touches.
type dialogue struct {
	*Session
	cfg *Config
	r   *bufio.Reader

	tlsActive bool
	greeted   bool              // EHLO or HELO was accepted
	esmtp     bool              // it was EHLO
	refused   bool              // the greeting was negative
	offered   map[string]string // by the last EHLO: keyword to parameters
	user      string
	tx        *transaction
	count     int // transactions begun
	errors    int
	waitPoint bool // the next read begins a flight of the client
	ended     bool // the session is over
	linger    bool // close in good order: the client shall see the last reply
	broken    bool // close with RST
}

// Reading in pieces of this size keeps a usual flight, and a line of AUTH,
// whole.
const readOctets = 16 << 10

func newDialogue(x *Session) *dialogue {
	d := &dialogue{Session: x, cfg: &x.srv.cfg}
	d.r = bufio.NewReaderSize(d, max(readOctets, d.cfg.MaxLine))
	return d
}

func (d *dialogue) run(implicitTLS, full bool) {
	if d.begin(implicitTLS, full) {
		for !d.ended {
			d.command()
		}
	}
	d.endTransaction()
	d.finish()
}

// begin goes as far as the greeting and reports whether commands may follow.
func (d *dialogue) begin(implicitTLS, full bool) bool {
	if a, scripted := d.srv.rule(d.Session, CommandConnect, d.remote(), false); scripted {
		d.logged(CommandConnect, "")
		given, _ := d.perform(a, nil)
		if given.Code >= 400 {
			d.ended, d.linger = true, true
		}
		if d.ended {
			return false
		}
	}
	if implicitTLS && !d.startTLS() {
		return false
	}
	d.logged(CommandGreeting, "")
	if full {
		d.reply(replyLine("421 4.3.2 too many connections"))
		d.ended, d.linger = true, true
		return false
	}
	v := verdict{
		reply:  SentReply{Code: 220, Lines: []string{d.cfg.Hostname + " ESMTP smtptest"}},
		settle: func(r SentReply) { d.refused = !r.Positive() },
	}
	a, scripted := d.srv.rule(d.Session, CommandGreeting, d.remote(), false)
	d.decide(v, a, scripted)
	return !d.ended
}

func (d *dialogue) remote() string {
	if a := d.raw.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}

// Read reads from the client for the buffered reader. Replies gather while
// there is input to work on and leave here, when there is none
// (RFC 2920 §3.2).
func (d *dialogue) Read(p []byte) (int, error) {
	if err := d.flush(); err != nil {
		return 0, err
	}
	if t := d.cfg.Timeout; t > 0 {
		if err := d.raw.SetReadDeadline(time.Now().Add(t)); err != nil {
			return 0, err
		}
	}
	fresh := d.waitPoint
	d.waitPoint = false
	if fresh && d.tx == nil {
		d.setIdle(true)
		defer d.setIdle(false)
	}
	if d.tx == nil && d.srv.isDraining() {
		d.goodbye()
	}
	select {
	case <-d.gone: // looked at after the deadline was set: see shutdown
		return 0, net.ErrClosed
	default:
	}
	n, err := d.conn.Read(p)
	if fresh && n > 0 {
		d.waited()
	}
	return n, err
}

// A lineFault says why a line is not even looked at.
type lineFault string

const (
	lineGood    lineFault = ""
	lineTooLong lineFault = "line too long"
	lineBareLF  lineFault = "line must end in CRLF"
	lineControl lineFault = "line holds a control character"
)

// readLine reads a line and gives it without its end. Of a line that is too
// long only the beginning is given.
func (d *dialogue) readLine(limit int) (string, lineFault, error) {
	d.waitPoint = d.r.Buffered() == 0
	defer func() { d.waitPoint = false }()
	piece, err := d.r.ReadSlice('\n')
	if len(piece) > limit || errors.Is(err, bufio.ErrBufferFull) {
		start := string(piece[:min(len(piece), 100)])
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = d.r.ReadSlice('\n')
		}
		return start, lineTooLong, err
	}
	if err != nil {
		return "", lineGood, err
	}
	line, crlf := strings.CutSuffix(string(piece), "\r\n")
	switch {
	case !crlf:
		d.note(LintBareLF, "a command line")
		return strings.TrimSuffix(line, "\n"), lineBareLF, nil
	case strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return line, lineControl, nil
	}
	return line, lineGood, nil
}

// command reads a command and answers it.
func (d *dialogue) command() {
	line, fault, err := d.readLine(max(d.cfg.MaxLine, authLineOctets))
	if err != nil {
		d.lost(err)
		return
	}
	if len(line)+2 > d.cfg.MaxLine && fault == lineGood && !authLine(line) {
		fault = lineTooLong
		line = line[:min(len(line), 100)]
	}
	if fault != lineGood {
		d.logged("", strings.ToValidUTF8(line, "?"))
		d.replyFault(d.say(500, "5.5.2", string(fault)))
		return
	}
	verb, arg, _ := strings.Cut(line, " ")
	verb, arg = strings.ToUpper(verb), strings.Trim(arg, " \t")
	d.checkPipelining(verb)
	d.logged(verb, loggedArg(verb, arg))
	a, scripted := d.srv.rule(d.Session, verb, arg, false)
	if verb == "BDAT" {
		d.bdat(arg, a, scripted)
		return
	}
	d.decide(d.judge(verb, arg), a, scripted)
}

// checkPipelining notes what should not have come yet.
func (d *dialogue) checkPipelining(verb string) {
	if d.r.Buffered() == 0 || verb == "BDAT" {
		return
	}
	switch verb {
	case "EHLO", "HELO", "STARTTLS", "AUTH", "DATA", "QUIT", "NOOP", "VRFY", "EXPN", "TURN":
		d.note(LintPipelinedPast, "something behind "+verb)
	default:
		if !d.offers("PIPELINING") {
			d.note(LintPipelining, "something behind "+verb)
		}
	}
}

// verdict is what the server would say to a command by itself.
type verdict struct {
	reply SentReply
	// judge, if not nil, makes the reply, and is only asked if no rule has one:
	// it has effects.
	judge func() SentReply
	// settle, if not nil, changes the state as the reply asks for, whether it is
	// ours or a rule's. It runs before the reply leaves, so that a client that
	// has the reply finds the records complete.
	settle func(SentReply)
	// after, if not nil, runs behind a positive reply.
	after func(SentReply)
	// run, if not nil, does all that follows in place of a reply.
	run func()
	// fault marks a line that is no command or not well formed.
	fault bool
}

// decide answers a command, as the rule says if there is one.
func (d *dialogue) decide(v verdict, a Action, scripted bool) {
	if scripted {
		given, proceed := d.perform(a, v.settle)
		if !proceed {
			if given.Positive() && v.after != nil && !d.ended {
				v.after(given)
			}
			return
		}
	}
	if d.ended {
		return
	}
	if v.run != nil {
		v.run()
		return
	}
	given := v.reply
	if v.judge != nil {
		given = v.judge()
	}
	if v.fault {
		d.replyFault(given)
		return
	}
	if v.settle != nil {
		v.settle(given)
	}
	d.reply(given)
	if given.Positive() && v.after != nil {
		v.after(given)
	}
}

// say makes a reply. The enhanced code is left out where the extension is not
// offered (RFC 2034 §4).
func (d *dialogue) say(code int, enhanced, text string) SentReply {
	if enhanced != "" && d.offers("ENHANCEDSTATUSCODES") {
		text = enhanced + " " + text
	}
	return SentReply{Code: code, Lines: []string{text}}
}

func (d *dialogue) offers(keyword string) bool {
	_, ok := d.offered[keyword]
	return ok
}

// reply queues a reply.
func (d *dialogue) reply(r SentReply) {
	d.answered(r, false)
	d.queue(r.wire())
}

// replyFault answers something that is not a command, and loses patience when
// there are too many of them.
func (d *dialogue) replyFault(r SentReply) {
	d.errors++
	if d.cfg.MaxErrors > 0 && d.errors > d.cfg.MaxErrors {
		r = d.say(421, "4.7.0", "too many errors")
		d.ended, d.linger = true, true
	}
	d.reply(r)
}

// note keeps a fault of the client with the session and the transaction.
func (d *dialogue) note(kind LintKind, detail string) {
	l := d.fault(kind, detail)
	if d.tx != nil && len(d.tx.Lint) < maxLint {
		d.tx.Lint = append(d.tx.Lint, l)
	}
}

// lost ends the session when reading failed.
func (d *dialogue) lost(err error) {
	d.ended = true
	select {
	case <-d.gone:
		d.linger = true // of use after goodbye, harmless after Close
		return
	default:
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		d.logged("", "")
		d.reply(d.say(421, "4.4.2", "timeout"))
		d.linger = true
	}
}

// A server that closes while input is unread makes TCP send RST, which may
// destroy a reply on its way. So it first says that it will write no more, and
// reads on for a moment.
const (
	lingerTime   = 500 * time.Millisecond
	lingerOctets = 1 << 20
)

// finish closes the connection.
func (d *dialogue) finish() {
	if tc, ok := d.raw.(*net.TCPConn); ok && d.broken {
		_ = tc.SetLinger(0) // with RST; a connection gone already needs none
		_ = tc.Close()
		return
	}
	err := d.flush()
	if d.linger && err == nil {
		if secure, ok := d.conn.(*tls.Conn); ok {
			_ = secure.CloseWrite() // the client may be gone: then there is nobody to tell
		}
		if tc, ok := d.raw.(*net.TCPConn); ok && tc.CloseWrite() == nil && tc.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
			_, _ = io.CopyN(io.Discard, tc, lingerOctets) // ends by the client's close, or the deadline
		}
	}
	_ = d.raw.Close()
}

// authLine reports a command for which RFC 4954 §4 allows more octets.
func authLine(line string) bool {
	return len(line) > 5 && strings.EqualFold(line[:5], "AUTH ")
}
