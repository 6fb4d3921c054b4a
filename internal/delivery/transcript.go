package delivery

import (
	"fmt"
	"strings"
	"sync"

	"github.com/postrider/postrider/smtp"
)

const (
	// maxHead and maxTail bound a transcript to 16 KiB: how it began, and how it ended.
	maxHead = 12 << 10
	maxTail = 4<<10 - 64 // less the line that tells what is missing
	// usual is room for the dialogue of a message to one recipient.
	usual = 512
	// maxLine bounds a line of it: a reply's line may be long.
	maxLine = 1 << 10
	// maxOpenings bounds how many openings of unused connections are kept.
	maxOpenings = 64
)

// transcript gathers the dialogue of one attempt: a line each, "C: " the client's, "S: " the
// server's, "*: " remarks. Secrets are blotted out and content is summarised by package smtp. It
// is used by one goroutine at a time.
type transcript struct {
	head    []byte
	tail    []string
	size    int // of tail
	missing int // lines dropped between the two
}

func (t *transcript) add(line smtp.TraceLine) {
	text := cut(line.Text, maxLine)
	if size := len(line.Dir) + len(": \n") + len(text); len(t.tail) == 0 && len(t.head)+size <= maxHead {
		if t.head == nil {
			t.head = make([]byte, 0, usual)
		}
		t.head = append(t.head, line.Dir...)
		t.head = append(t.head, ": "...)
		t.head = append(t.head, text...)
		t.head = append(t.head, '\n')
		return
	}
	t.text(line.Dir + ": " + text + "\n")
}

// text adds a line that is one already.
func (t *transcript) text(line string) {
	if len(t.tail) == 0 && len(t.head)+len(line) <= maxHead {
		t.head = append(t.head, line...)
		return
	}
	t.tail = append(t.tail, line)
	t.size += len(line)
	for t.size > maxTail {
		t.size -= len(t.tail[0])
		t.tail = t.tail[1:]
		t.missing++
	}
}

// String is the transcript, at most 16 KiB.
func (t *transcript) String() string {
	if t.missing > 0 {
		t.head = fmt.Appendf(t.head, "*: %d lines left out\n", t.missing)
		t.missing = 0
	}
	for _, line := range t.tail {
		t.head = append(t.head, line...)
	}
	t.tail, t.size = nil, 0
	return string(t.head)
}

// cut shortens s to at most n octets, at the start of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}

// openings keeps the dialogue with which each connection of a pool was opened, for the attempt
// that is the first to use it, and that of the last one that could not be opened.
type openings struct {
	mu     sync.Mutex
	open   map[uint64]*transcript // by smtp.TraceLine.Conn, until the connection is used
	failed *transcript
}

// trace is the pool's smtp.Config.Trace. For a transaction it is called after the attempt's own.
func (o *openings) trace(line smtp.TraceLine) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.open[line.Conn]
	if t == nil {
		if line.Dir != "*" || !strings.HasPrefix(line.Text, "connected to ") || len(o.open) >= maxOpenings {
			return // it is in use: the attempt gathers what is said
		}
		t = &transcript{}
		if o.open == nil {
			o.open = map[uint64]*transcript{}
		}
		o.open[line.Conn] = t
	}
	t.add(line)
	if line.Dir == "*" && strings.HasPrefix(line.Text, "closed: ") {
		delete(o.open, line.Conn)
		o.failed = t
	}
}

// take gives the opening of a connection to whoever uses it first; "" after that.
func (o *openings) take(conn uint64) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.open[conn]
	if t == nil {
		return ""
	}
	delete(o.open, conn)
	return t.String()
}

// takeFailed gives the last opening that failed, once.
func (o *openings) takeFailed() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed == nil {
		return ""
	}
	t := o.failed
	o.failed = nil
	return t.String()
}

// attemptTrace gives the smtp.Envelope.Trace that writes an attempt's dialogue into t.
func (o *openings) attemptTrace(t *transcript) func(smtp.TraceLine) {
	var current uint64
	return func(line smtp.TraceLine) {
		if line.Conn != current {
			current = line.Conn
			if opening := o.take(current); opening != "" {
				for l := range strings.Lines(opening) {
					t.text(l)
				}
			}
		}
		t.add(line)
	}
}
