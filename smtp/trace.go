package smtp

import (
	"strconv"
	"strings"
	"time"
)

// blotted stands for a secret in the trace.
const blotted = "********"

// tracing says whether anybody wants to know.
func (c *Conn) tracing() bool { return c.trace != nil || c.envTrace.Load() != nil }

func (c *Conn) traceLine(dir, text string) {
	if !c.tracing() {
		return
	}
	c.traceMu.Lock()
	defer c.traceMu.Unlock()
	line := TraceLine{Conn: c.id, Time: time.Now(), Dir: dir, Text: text}
	if f := c.envTrace.Load(); f != nil {
		(*f)(line)
	}
	if c.trace != nil {
		c.trace(line)
	}
}

// traceEnvelope begins (or with nil, ends) the trace of one transaction.
func (c *Conn) traceEnvelope(f func(TraceLine)) {
	if f != nil {
		own := f // f itself stays off the heap where there is none
		c.envTrace.Store(&own)
		return
	}
	if c.envTrace.Load() != nil {
		c.traceMu.Lock() // a call in progress ends before
		defer c.traceMu.Unlock()
		c.envTrace.Store(nil)
	}
}

// traceReply shows a reply, but not the challenges of AUTH: together with the
// responses some can be attacked offline.
func (c *Conn) traceReply(e expectation, r Reply) {
	if !c.tracing() {
		return
	}
	for i, l := range r.Lines {
		sep := "-"
		if i == len(r.Lines)-1 {
			sep = " "
		}
		if e == expectAuth && r.Code == 334 && l != "" {
			l = blotted
		}
		if !r.Enhanced.IsZero() {
			l = strings.TrimSpace(r.Enhanced.String() + " " + l)
		}
		c.traceLine("S", strconv.Itoa(r.Code)+sep+l)
	}
}

// traceContent summarises content.
func (c *Conn) traceContent(size int64) {
	if c.tracing() {
		c.traceLine("C", "("+strconv.FormatInt(size, 10)+" octets of content)")
	}
}
