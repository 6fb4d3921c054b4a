package smtp

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"
)

// Bounds of what a server may say at once. Without them a hostile server
// fills the memory.
const (
	maxReplyOctets = 64 << 10
	maxReplyLines  = 100
	// RFC 5321 §4.5.3.1.5 says 512 for a reply line, RFC 4954 §4 says 12288
	// for a challenge.
	maxReplyLine = 12288
	// readBuffer holds the replies to a usual flight; it grows for the rest.
	readBuffer = 1 << 10
)

var (
	errReplySyntax = errors.New("the server sent something that is not an SMTP reply")
	errReplyLine   = errors.New("the server sent a reply line of more than 12288 octets")
	errReplyOctets = errors.New("the server sent a reply of more than 64 KiB")
	errReplyLines  = errors.New("the server sent a reply of more than 100 lines")
)

// parser cuts a stream of octets into replies (RFC 5321 §4.2.1). It holds at
// most one unfinished reply.
type parser struct {
	buf   []byte // read and not yet handed out, up to len
	next  int    // start of the line to look at
	code  int    // of the reply that is open; 0: none is
	start int    // where the open reply starts
	count int    // lines of the open reply
	lines []replyLine
}

// replyLine is one line in parser.buf; the text is [start, end).
type replyLine struct {
	start, end, code int
	last             bool
}

// space gives room to read into.
func (p *parser) space() []byte {
	if len(p.buf) == 0 && cap(p.buf) > 4*readBuffer {
		p.buf = nil // a session that idles keeps no big buffer
	}
	if cap(p.buf)-len(p.buf) < readBuffer/4 {
		grown := make([]byte, len(p.buf), max(readBuffer, 2*cap(p.buf)))
		copy(grown, p.buf)
		p.buf = grown
	}
	return p.buf[len(p.buf):cap(p.buf)]
}

// rest gives up the memory that is not in use.
func (p *parser) rest() {
	if len(p.buf) == 0 {
		p.buf, p.lines = nil, nil
	}
}

// replies takes n octets that were read into space and appends the replies
// they complete. After an error the parser must not be used again.
func (p *parser) replies(q []Reply, n int) ([]Reply, error) {
	p.buf = p.buf[:len(p.buf)+n]
	done, err := p.scan()
	if done > 0 {
		q = p.build(q, done)
		p.drop(done)
	}
	return q, err
}

// pending says how many octets belong to no reply yet.
func (p *parser) pending() int { return len(p.buf) }

// scan notes all complete lines and gives the end of the last complete reply.
func (p *parser) scan() (done int, err error) {
	for {
		// No line is longer than maxReplyLine, so looking again at the start
		// of an unfinished one costs little.
		i := bytes.IndexByte(p.buf[p.next:], '\n')
		if i < 0 {
			if len(p.buf)-p.next > maxReplyLine {
				return done, errReplyLine
			}
			if len(p.buf)-p.start > maxReplyOctets {
				return done, errReplyOctets
			}
			return done, nil
		}
		if i+1 > maxReplyLine {
			return done, errReplyLine
		}
		l, ok := parseLine(p.buf[p.next : p.next+i])
		if !ok || p.code != 0 && l.code != p.code {
			return done, errReplySyntax
		}
		l.start += p.next
		l.end += p.next
		p.next += i + 1
		p.count++
		if p.count > maxReplyLines {
			return done, errReplyLines
		}
		if p.next-p.start > maxReplyOctets {
			return done, errReplyOctets
		}
		p.lines = append(p.lines, l)
		p.code = l.code
		if l.last {
			p.code, p.count, p.start, done = 0, 0, p.next, p.next
		}
	}
}

// parseLine reads one line without its LF.
func parseLine(b []byte) (l replyLine, ok bool) {
	// Bare LF is let through: it cannot be mistaken for anything else here,
	// and old servers send it.
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	if len(b) < 3 || b[0] < '2' || b[0] > '5' || b[1] < '0' || b[1] > '9' || b[2] < '0' || b[2] > '9' {
		return l, false
	}
	l.code = int(b[0]-'0')*100 + int(b[1]-'0')*10 + int(b[2]-'0')
	l.end, l.last = len(b), true
	l.start = min(4, len(b))
	if len(b) > 3 {
		switch b[3] {
		case ' ':
		case '-':
			l.last = false
		default:
			return l, false
		}
	}
	return l, true
}

// build makes replies of the complete lines before done. All of their text
// shares one string and all of their lines one slice.
func (p *parser) build(q []Reply, done int) []Reply {
	first := p.lines[0].start
	text := string(p.buf[first:done])
	complete := 0
	for complete < len(p.lines) && p.lines[complete].start <= done && p.lines[complete].end <= done {
		complete++
	}
	lines := make([]string, complete)
	begin := 0
	for i, l := range p.lines[:complete] {
		lines[i] = printable(text[l.start-first : l.end-first])
		if !l.last {
			continue
		}
		r := Reply{Code: l.code, Lines: lines[begin : i+1 : i+1]}
		r.takeEnhanced()
		q = append(q, r)
		begin = i + 1
	}
	p.lines = p.lines[:copy(p.lines, p.lines[complete:])]
	return q
}

// drop forgets the octets before done.
func (p *parser) drop(done int) {
	p.buf = p.buf[:copy(p.buf, p.buf[done:])]
	p.next -= done
	p.start -= done
	for i := range p.lines {
		p.lines[i].start -= done
		p.lines[i].end -= done
	}
}

// takeEnhanced moves the enhanced code from the text to its field. It counts
// only if its class agrees with the reply code, which is never overridden
// (RFC 2034 §4).
func (r *Reply) takeEnhanced() {
	e, n := enhancedPrefix(r.Lines[0])
	if n == 0 || e[0] != r.Code/100 {
		return
	}
	r.Enhanced = e
	code := r.Lines[0][:n]
	for i, l := range r.Lines {
		if rest, ok := strings.CutPrefix(l, code); ok && (rest == "" || rest[0] == ' ' || rest[0] == '\t') {
			r.Lines[i] = strings.TrimLeft(rest, " \t")
		}
	}
}

// printable keeps what a server says from playing with terminals and logs.
func printable(s string) string {
	ascii := true
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			ascii = false
			break
		}
	}
	if ascii {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}
