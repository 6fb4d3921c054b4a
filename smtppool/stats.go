package smtppool

import "time"

// Reason says why a connection was closed.
type Reason string

// The reasons, as they appear in statistics and logs.
const (
	ReasonIdle         Reason = "idle"          // unused for MaxIdleTime
	ReasonAge          Reason = "age"           // MaxAge reached
	ReasonMessages     Reason = "messages"      // MaxMessages reached
	ReasonServerClosed Reason = "server_closed" // the server ended it while it was idle: EOF, 421, garbage
	ReasonBroken       Reason = "broken"        // it failed, was interrupted or was closed while borrowed
	ReasonPoolClosed   Reason = "pool_closed"   // Close, with QUIT
	ReasonForced       Reason = "forced"        // borrowed when Close ran out of time
)

// reasons lists every Reason; the place of each is its index in counts.closed.
func reasons() [reasonCount]Reason {
	return [reasonCount]Reason{
		ReasonIdle, ReasonAge, ReasonMessages, ReasonServerClosed, ReasonBroken, ReasonPoolClosed, ReasonForced,
	}
}

const reasonCount = 7

func (r Reason) index() int {
	for i, other := range reasons() {
		if r == other {
			return i
		}
	}
	return 0 // not reached: retire is called with the constants only
}

// counts are a pool's numbers, guarded by Pool.mu.
type counts struct {
	inUse, dialing                       int
	dialled, dialFailures, reused, moved int64
	closed                               [reasonCount]int64
	waited                               time.Duration
}

// Stats is a snapshot of a pool, or the sum over a Set. Numbers of connections are of this moment, the others since
// the pool was made.
type Stats struct {
	MaxConns int `json:"max_conns"` // the cap
	Open     int `json:"open"`      // established: in use, idle, and on their way out
	Idle     int `json:"idle"`      // open and not borrowed
	InUse    int `json:"in_use"`    // borrowed
	Dialing  int `json:"dialing"`   // being opened: up to the end of authentication
	Waiting  int `json:"waiting"`   // callers that wait for a connection

	Dialled       int64            `json:"dialled"`        // sessions opened
	DialFailures  int64            `json:"dial_failures"`  // sessions that could not be opened
	Reused        int64            `json:"reused"`         // borrowings of a session that had served before
	Moved         int64            `json:"moved"`          // messages moved silently to a fresh connection
	Closed        map[Reason]int64 `json:"closed"`         // sessions closed, by reason; absent: none
	WaitedSeconds float64          `json:"waited_seconds"` // sum over all callers that had to wait, those waiting now excluded

	NextDial  time.Time `json:"next_dial,omitzero"`   // while no dial is allowed after a failure: when it is; else zero
	DialError string    `json:"dial_error,omitempty"` // the last failure, until a dial succeeds; "" if none
}

// Stats returns the pool's numbers.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{
		MaxConns: p.cfg.MaxConns,
		Open:     len(p.members), Idle: len(p.idle), InUse: p.counts.inUse,
		Dialing: p.counts.dialing, Waiting: p.waiters.Len(),
		Dialled: p.counts.dialled, DialFailures: p.counts.dialFailures, Reused: p.counts.reused, Moved: p.counts.moved,
		Closed:        map[Reason]int64{},
		WaitedSeconds: p.counts.waited.Seconds(),
	}
	for i, reason := range reasons() {
		if n := p.counts.closed[i]; n > 0 {
			s.Closed[reason] = n
		}
	}
	if p.dialErr != nil {
		s.DialError = p.dialErr.Error()
		if time.Now().Before(p.retryAt) {
			s.NextDial = p.retryAt
		}
	}
	return s
}

// add sums two snapshots; of two pauses the one that ends first is kept.
func (s Stats) add(other Stats) Stats {
	s.MaxConns += other.MaxConns
	s.Open += other.Open
	s.Idle += other.Idle
	s.InUse += other.InUse
	s.Dialing += other.Dialing
	s.Waiting += other.Waiting
	s.Dialled += other.Dialled
	s.DialFailures += other.DialFailures
	s.Reused += other.Reused
	s.Moved += other.Moved
	closed := make(map[Reason]int64, len(s.Closed))
	for _, m := range []map[Reason]int64{s.Closed, other.Closed} {
		for reason, n := range m {
			closed[reason] += n
		}
	}
	s.Closed = closed
	s.WaitedSeconds += other.WaitedSeconds
	if s.NextDial.IsZero() || !other.NextDial.IsZero() && other.NextDial.Before(s.NextDial) {
		s.NextDial = other.NextDial
	}
	if s.DialError == "" {
		s.DialError = other.DialError
	}
	return s
}
