package sink

import (
	"context"
	"sync"
	"sync/atomic"
)

// Stats is what the server has seen since its start or the last Reset.
type Stats struct {
	Conns       int64 `json:"conns"`        // connections accepted
	MaxOpen     int64 `json:"max_open"`     // most connections open at one time
	Handshakes  int64 `json:"handshakes"`   // TLS handshakes completed
	Resumed     int64 `json:"resumed"`      // of them, TLS sessions resumed
	AuthOK      int64 `json:"auth_ok"`      // AUTH commands answered 235
	AuthRefused int64 `json:"auth_refused"` // AUTH commands answered 535
	Messages    int64 `json:"messages"`     // contents answered 250
	Bytes       int64 `json:"bytes"`        // bytes of these contents, dot-stuffing removed
	RcptTo      int64 `json:"rcpt_to"`      // forward-paths of these messages
	Data        int64 `json:"data"`         // DATA commands
	Bdat        int64 `json:"bdat"`         // BDAT commands
	Noop        int64 `json:"noop"`         // NOOP commands
	Rset        int64 `json:"rset"`         // RSET commands
	Commands    int64 `json:"commands"`     // all commands
	Pipelined   int64 `json:"pipelined"`    // commands that were here before the previous one was answered
	Turns       int64 `json:"turns"`        // times that the client waited for our answer: its round trips
	UniqueIDs   int64 `json:"unique_ids"`   // different X-Bench-Id fields seen
	DupIDs      int64 `json:"dup_ids"`      // messages whose X-Bench-Id had been seen before
	NoID        int64 `json:"no_id"`        // messages without one
	BareLF      int64 `json:"bare_lf"`      // messages with a line that does not end in CRLF
	LongLine    int64 `json:"long_line"`    // messages with a line over 998 octets (RFC 5322 §2.1.1)
	Undeclared  int64 `json:"undeclared"`   // messages with 8-bit octets sent without BODY=8BITMIME (RFC 6152)
}

type counters struct {
	conns, maxOpen, handshakes, resumed, authOK, authRefused       atomic.Int64
	messages, bytes, rcptTo, data, bdat, noop, rset                atomic.Int64
	commands, pipelined, turns, noID, bareLF, longLine, undeclared atomic.Int64
}

// idSet remembers the X-Bench-Id of every message, to find lost and doubled ones.
type idSet struct {
	mu   sync.Mutex
	seen map[string]struct{}
	dups int64
	wait map[string]chan struct{} // closed when the id is seen
}

// arrived gives a channel that is closed once id has been seen.
func (s *idSet) arrived(id string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.wait[id]
	if !ok {
		c = make(chan struct{})
		if s.wait == nil {
			s.wait = map[string]chan struct{}{}
		}
		s.wait[id] = c
		if _, ok := s.seen[id]; ok {
			close(c)
		}
	}
	return c
}

func (s *idSet) add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]struct{}{}
	}
	if _, ok := s.seen[id]; ok {
		s.dups++
		return
	}
	s.seen[id] = struct{}{}
	if c, ok := s.wait[id]; ok {
		close(c)
	}
}

// raise sets v to n if n is larger.
func raise(v *atomic.Int64, n int64) {
	for {
		old := v.Load()
		if n <= old || v.CompareAndSwap(old, n) {
			return
		}
	}
}

// Stats returns the counts so far. While sessions run the counts belong to
// slightly different moments.
func (s *Server) Stats() Stats {
	c := &s.count
	s.ids.mu.Lock()
	unique, dups := int64(len(s.ids.seen)), s.ids.dups
	s.ids.mu.Unlock()
	return Stats{
		Conns: c.conns.Load(), MaxOpen: c.maxOpen.Load(), Handshakes: c.handshakes.Load(), Resumed: c.resumed.Load(),
		AuthOK: c.authOK.Load(), AuthRefused: c.authRefused.Load(),
		Messages: c.messages.Load(), Bytes: c.bytes.Load(), RcptTo: c.rcptTo.Load(),
		Data: c.data.Load(), Bdat: c.bdat.Load(), Noop: c.noop.Load(), Rset: c.rset.Load(),
		Commands: c.commands.Load(), Pipelined: c.pipelined.Load(), Turns: c.turns.Load(),
		UniqueIDs: unique, DupIDs: dups, NoID: c.noID.Load(),
		BareLF: c.bareLF.Load(), LongLine: c.longLine.Load(), Undeclared: c.undeclared.Load(),
	}
}

// Wait returns when a message with this X-Bench-Id has been answered 250, or with the
// context's error.
func (s *Server) Wait(ctx context.Context, id string) error {
	select {
	case <-s.ids.arrived(id):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Reset sets all counts to zero, except that connections still open count for MaxOpen.
func (s *Server) Reset() {
	c := &s.count
	for _, v := range []*atomic.Int64{
		&c.conns, &c.maxOpen, &c.handshakes, &c.resumed, &c.authOK, &c.authRefused,
		&c.messages, &c.bytes, &c.rcptTo, &c.data, &c.bdat, &c.noop, &c.rset,
		&c.commands, &c.pipelined, &c.turns, &c.noID, &c.bareLF, &c.longLine, &c.undeclared,
	} {
		v.Store(0)
	}
	s.ids.mu.Lock()
	s.ids.seen, s.ids.dups, s.ids.wait = nil, 0, nil
	s.ids.mu.Unlock()
	s.mu.Lock()
	c.maxOpen.Store(int64(len(s.open)))
	s.mu.Unlock()
}
