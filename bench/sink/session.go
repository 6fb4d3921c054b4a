package sink

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"net"
	"strconv"
	"strings"
	"time"
)

// session is one client connection. It has one goroutine and needs no lock.
type session struct {
	srv      *Server
	conn     net.Conn // the TLS layer once there is one
	r        *bufio.Reader
	w        *bufio.Writer
	secure   bool
	mail     bool // MAIL was accepted
	eightBit bool // … with BODY=8BITMIME
	rcpts    int64
	chunks   *content // BDAT content so far
	replied  bool     // something was flushed since we last waited for input
}

func (s *Server) session(c net.Conn, implicit bool) {
	t := &session{srv: s, conn: c}
	if implicit && !t.handshake() {
		return
	}
	t.w = bufio.NewWriterSize(t.conn, 4096)
	t.r = bufio.NewReaderSize(t, readBuffer)
	t.reply("220 sink ESMTP")
	for t.command() {
	}
	_ = t.w.Flush() // the last reply; the client may be gone already
}

// handshake puts TLS on the connection. The two flights of TLS 1.3 cost the
// client one round trip before it may speak.
func (t *session) handshake() bool {
	c := tls.Server(t.conn, t.srv.tls)
	if err := c.Handshake(); err != nil {
		return false
	}
	t.srv.count.turns.Add(1)
	t.srv.count.handshakes.Add(1)
	if c.ConnectionState().DidResume {
		t.srv.count.resumed.Add(1)
	}
	t.conn, t.secure = c, true
	return true
}

// Read is what the buffered reader calls when it has nothing left: the moment
// to send the replies. Each wait after a reply is a round trip that the client
// paid for.
func (t *session) Read(p []byte) (int, error) {
	if t.w.Buffered() > 0 {
		if err := t.w.Flush(); err != nil {
			return 0, err
		}
		t.replied = true
	}
	if t.replied {
		t.srv.count.turns.Add(1)
		t.replied = false
	}
	return t.conn.Read(p)
}

// reply queues a line. A write error stays in the buffered writer and shows at
// the next flush, so it is not looked at here.
func (t *session) reply(line string) {
	_, _ = t.w.WriteString(line)
	_, _ = t.w.WriteString("\r\n")
}

// code queues a reply with an enhanced status code (RFC 2034), where offered.
func (t *session) code(code, enhanced, text string) {
	if t.srv.omit["ENHANCEDSTATUSCODES"] {
		t.reply(code + " " + text)
		return
	}
	t.reply(code + " " + enhanced + " " + text)
}

// command reads and answers one command; false ends the session.
func (t *session) command() bool {
	buffered := t.r.Buffered()
	line, err := t.r.ReadSlice('\n')
	if err != nil {
		return false
	}
	n := &t.srv.count
	n.commands.Add(1)
	if buffered > 0 {
		n.pipelined.Add(1)
	}
	verb, arg, _ := strings.Cut(string(bytes.TrimRight(line, "\r\n")), " ")
	switch strings.ToUpper(verb) {
	case "EHLO":
		t.ehlo()
	case "HELO":
		t.reset()
		t.reply("250 sink")
	case "STARTTLS":
		return t.startTLS()
	case "AUTH":
		return t.auth(arg)
	case "MAIL":
		t.reset()
		t.mail = true
		t.eightBit = strings.Contains(strings.ToUpper(arg), "BODY=8BITMIME")
		t.code("250", "2.1.0", "ok")
	case "RCPT":
		if !t.mail {
			t.code("503", "5.5.1", "MAIL first")
			break
		}
		t.rcpts++
		t.code("250", "2.1.5", "ok")
	case "DATA":
		return t.data()
	case "BDAT":
		return t.bdat(arg)
	case "RSET":
		n.rset.Add(1)
		t.reset()
		t.code("250", "2.0.0", "ok")
	case "NOOP":
		n.noop.Add(1)
		t.code("250", "2.0.0", "ok")
	case "QUIT":
		t.code("221", "2.0.0", "bye")
		return false
	default:
		t.code("500", "5.5.2", "unknown command")
	}
	return true
}

func (t *session) reset() { t.mail, t.eightBit, t.rcpts, t.chunks = false, false, 0, nil }

func (t *session) ehlo() {
	t.reset()
	lines := []string{"sink"}
	for _, e := range []string{
		"PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE " + strconv.Itoa(maxSize),
		"CHUNKING", "ENHANCEDSTATUSCODES", "DSN", "STARTTLS", "AUTH PLAIN LOGIN",
	} {
		keyword, _, _ := strings.Cut(e, " ")
		if t.srv.omit[keyword] || keyword == "STARTTLS" && t.secure {
			continue
		}
		lines = append(lines, e)
	}
	for _, l := range lines[:len(lines)-1] {
		t.reply("250-" + l)
	}
	t.reply("250 " + lines[len(lines)-1])
}

func (t *session) startTLS() bool {
	if t.srv.omit["STARTTLS"] || t.secure {
		t.code("503", "5.5.1", "not now")
		return true
	}
	t.code("220", "2.0.0", "go ahead")
	// Anything sent after STARTTLS in the same group is plaintext injected
	// before the handshake (RFC 3207 §6).
	if t.w.Flush() != nil || t.r.Buffered() > 0 {
		return false
	}
	t.srv.count.turns.Add(1)
	t.replied = false
	if !t.handshake() {
		return false
	}
	t.w.Reset(t.conn)
	t.r.Reset(t)
	return true
}

func (t *session) data() bool {
	if t.rcpts == 0 {
		t.code("554", "5.5.1", "no valid recipients")
		return true
	}
	t.srv.count.data.Add(1)
	t.reply("354 go on")
	c := newContent()
	if c.readDotted(t.r) != nil {
		return false
	}
	t.accept(c)
	return true
}

func (t *session) bdat(arg string) bool {
	size, last, _ := strings.Cut(arg, " ")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil || n < 0 {
		// The length of what follows is not known: the stream is lost.
		t.code("501", "5.5.4", "syntax")
		return false
	}
	t.srv.count.bdat.Add(1)
	if t.chunks == nil {
		t.chunks = newContent()
	}
	if t.chunks.readN(t.r, n) != nil {
		return false
	}
	switch {
	case t.rcpts == 0:
		t.chunks = nil
		t.code("554", "5.5.1", "no valid recipients")
	case !strings.EqualFold(strings.TrimSpace(last), "LAST"):
		t.code("250", "2.0.0", "chunk ok")
	default:
		c := t.chunks
		c.finish()
		t.accept(c)
	}
	return true
}

// accept counts a content that came whole and answers 250.
func (t *session) accept(c *content) {
	if d := t.srv.cfg.Think; d > 0 {
		time.Sleep(d) //nolint:forbidigo // the wait is what was asked for
	}
	n := &t.srv.count
	n.messages.Add(1)
	n.bytes.Add(c.bytes)
	n.rcptTo.Add(t.rcpts)
	if c.bareLF {
		n.bareLF.Add(1)
	}
	if c.longLine {
		n.longLine.Add(1)
	}
	if c.eightBit && !t.eightBit {
		n.undeclared.Add(1)
	}
	if c.id == "" {
		n.noID.Add(1)
	} else {
		t.srv.ids.add(c.id)
	}
	t.reset()
	t.code("250", "2.0.0", "queued")
}
