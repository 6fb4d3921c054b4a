package smtp

import (
	"strconv"
	"strings"
	"time"
)

// blotted stands for a secret in the trace.
const blotted = "********"

func (c *Conn) traceLine(dir, text string) {
	if c.trace == nil {
		return
	}
	c.traceMu.Lock()
	defer c.traceMu.Unlock()
	c.trace(TraceLine{Conn: c.id, Time: time.Now(), Dir: dir, Text: text})
}

// traceReply shows a reply, but not the challenges of AUTH: together with the
// responses some can be attacked offline.
func (c *Conn) traceReply(e expectation, r Reply) {
	if c.trace == nil {
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
	if c.trace != nil {
		c.traceLine("C", "("+strconv.FormatInt(size, 10)+" octets of content)")
	}
}
