package dispatch

import (
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Stats is what a Dispatcher does at a moment.
type Stats struct {
	// Relays are those that are being drained, in the order of their ids.
	Relays []RelayStats
	// StoreDown is the error because of which nothing is claimed; empty: the store can be used.
	StoreDown string
	// Free is how many of Config.MaxConcurrent are free.
	Free int
	// TakeOvers counts relays that were taken with messages which a node before us held, LetGo those that were left to nodes with fewer, and
	// Losses how often the rights to all were lost; since the start.
	TakeOvers, LetGo, Losses int
}

// counts are what Stats tells of the time since the start.
type counts struct{ takeOvers, letGo, losses int }

// count changes the counts.
func (d *Dispatcher) count(change func(*counts)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(&d.counts)
}

// RelayStats is what the drain of one relay does at a moment.
type RelayStats struct {
	Relay uuid.UUID
	Host  string
	// Sending is how many messages are being sent, Claimed how many are claimed and wait for their turn.
	Sending, Claimed int
	// Slots is how many may be sent at the same time now: less than the limit while the relay asks us to slow down.
	Slots int
	// PerSecond is how many messages a second it takes, measured over the last moments.
	PerSecond float64
	// CircuitOpen says that the relay could not be reached; Until is when it is tried again.
	CircuitOpen bool
	// Held says why nothing is started now, and Until when that ends if that is known; empty: messages may start.
	Held  string
	Until time.Time
}

// view is what a drain shows of itself.
type view struct {
	mu sync.Mutex
	s  RelayStats
}

// publish shows what the drain does now.
func (dr *drain) publish(now time.Time) {
	s := RelayStats{
		Relay: dr.id, Host: dr.relay.Host,
		Sending: dr.flying, Claimed: dr.turns.buffered() + dr.parkedLen(), Slots: dr.slots(now), PerSecond: dr.pace.rate,
		CircuitOpen: dr.circuit.open(), Held: dr.hold(now, dr.d.stopping()),
	}
	switch {
	case s.CircuitOpen:
		s.Until = dr.circuit.until
	case now.Before(dr.heldUntil):
		s.Until = dr.heldUntil
	case s.Held == "" && (dr.turns.dueAny() || s.Claimed > 0):
		if at, why := dr.earliest(now); at.After(now) {
			s.Held, s.Until = why, at
		}
	}
	dr.view.mu.Lock()
	dr.view.s = s
	dr.view.mu.Unlock()
}

// Stats returns what the Dispatcher does now.
func (d *Dispatcher) Stats() Stats {
	d.mu.Lock()
	drains := make([]*drain, 0, len(d.drains))
	for _, dr := range d.drains {
		drains = append(drains, dr)
	}
	s := Stats{TakeOvers: d.counts.takeOvers, LetGo: d.counts.letGo, Losses: d.counts.losses}
	d.mu.Unlock()
	s.StoreDown = d.gate.why()
	d.tokens.mu.Lock()
	s.Free = d.tokens.free
	d.tokens.mu.Unlock()
	for _, dr := range drains {
		dr.view.mu.Lock()
		s.Relays = append(s.Relays, dr.view.s)
		dr.view.mu.Unlock()
	}
	slices.SortFunc(s.Relays, func(a, b RelayStats) int { return slices.Compare(a.Relay[:], b.Relay[:]) })
	return s
}
