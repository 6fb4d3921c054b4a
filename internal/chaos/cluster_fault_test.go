package chaos_test

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/relaytest"
)

// The faults of one node among several.
const (
	killNode          = "node killed"
	stopNode          = "node stopped for longer than any timeout"
	cutNodeDatabase   = "node cut off from PostgreSQL"
	stallNodeDatabase = "node's connections to PostgreSQL stalled for long"
	pauseNodeDatabase = "node's connections to PostgreSQL stalled for a while"
	cutNodeRelay      = "node cut off from the relays"
	refuseNodeRelay   = "node's connections to the relays refused"
	stallNodeRelay    = "relays heard by a node no more: replies stalled, then cut"
	jumpClock         = "clock of a node jumps"
	replaceNode       = "node leaves in order, another joins"
	failOver          = "PostgreSQL killed, standby promoted"

	partNode = "node"
)

const (
	// stalled is longer than anything that the service waits for to find out that a node stands still: the limit of its heartbeat is 15 s.
	stalled = 18 * time.Second
	// stalledMore is how much longer at most.
	stalledMore = 7 * time.Second
)

func faultsOfCluster() []fault {
	in := []string{cluster}
	return []fault{
		{name: killNode, part: partNode, in: in, lasts: 50 * time.Millisecond, takenOver: true, strike: func(t *testing.T, b blow) func() {
			b.n.kill(t)
			return func() { b.n.start(t) }
		}},
		{name: stopNode, part: partNode, in: in, lasts: stalled, spread: stalledMore, takenOver: true, strike: stop},
		{name: cutNodeDatabase, part: partNode, in: in, lasts: 500 * time.Millisecond, takenOver: true, strike: cutFromDatabase},
		{name: stallNodeDatabase, part: partNode, in: in, lasts: stalled, spread: stalledMore, takenOver: true, strike: stallFromDatabase},
		{name: pauseNodeDatabase, part: partNode, in: in, lasts: 500 * time.Millisecond, spread: 6 * time.Second, strike: stallFromDatabase},
		{name: cutNodeRelay, part: partNode, in: in, lasts: time.Second, strike: cutFromRelay},
		{name: refuseNodeRelay, part: partNode, in: in, lasts: time.Second, takenOver: true, strike: func(t *testing.T, b blow) func() {
			b.n.line.Retarget(relaytest.FreeAddress(t)) // where nobody listens
			b.n.line.Cut()
			return func() { b.n.line.Retarget(b.receiver.cfg.Addr) }
		}},
		{name: stallNodeRelay, part: partNode, in: in, lasts: 300 * time.Millisecond, strike: stallFromRelay},
		{name: jumpClock, part: partNode, in: in, lasts: time.Second, strike: func(t *testing.T, b blow) func() {
			b.n.clock.set(t, []time.Duration{-24 * time.Hour, -time.Hour, time.Hour, 24 * time.Hour}[b.r.IntN(4)])
			return func() { b.n.clock.set(t, 0) } // a jump again
		}},
		{name: replaceNode, part: partNode, in: in, lasts: 50 * time.Millisecond, takenOver: true, strike: func(t *testing.T, b blow) func() {
			for _, spare := range b.nodes {
				if !spare.runs() {
					spare.start(t)
					spare.ready(t)
					break
				}
			}
			b.receiver.watch(b.n.name) // not while the other one starts
			b.n.stop(t)
			return func() {}
		}},
		{name: failOver, part: partDatabase, in: in, lasts: 100 * time.Millisecond, strike: func(t *testing.T, b blow) func() {
			b.pg.Kill(t)
			return func() { b.failOver(t) }
		}},
	}
}

// failOver has the standby of a killed primary take over, and makes that its standby.
func (w *world) failOver(t *testing.T) {
	t.Helper()
	w.pg, w.standby = w.standby, w.pg
	for _, n := range w.nodes {
		if len(n.pgLines) == 1 { // the others know both addresses and look for the one that takes changes
			n.pgLines[0].Retarget(w.pg.Addr)
		}
	}
	w.pg.Promote(t)
	w.standby.Follow(t, w.pg)
	w.pg.Synchronous(t, true)
}
