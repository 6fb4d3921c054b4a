package dispatch

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
)

const (
	// atShare is how long a relay must have been free before a node takes it that has its share already: by then no other wanted it. A
	// little less than the time between two looks, so that the next look finds it.
	atShare = lookAround - lookAround/10
	// atCapacity is the same for a node that cannot send more at the same time: any other does it better.
	atCapacity = 3 * lookAround
	// seenFor is how long a relay counts as one that has work after it was last seen to have any: what is paced has nothing due
	// every now and then.
	seenFor = 5 * time.Second
	// overFor is in how many looks in a row a node must have had more than its share before it lets go of any, so that relays do not wander when
	// some come and go.
	overFor = 3
	// atOnce is the part of what a node has over its share that it lets go of at a look, at least one relay.
	atOnce = 10
	// leaveWithin is how long messages that are being sent may hold up the end of a drain for another node's sake; then it goes on.
	leaveWithin = 5 * time.Second
	// othersFirst is how long, after a relay that could not be reached from here may be tried again, that is left to the other nodes.
	othersFirst = 3 * lookAround
	// againAfter is how soon a look follows the one after a node went: its rights may have been freed a moment later.
	againAfter = 150 * time.Millisecond
	// maxAsked is how many relays that other nodes drain are asked for in one look.
	maxAsked = 200
)

// Locker gives the right to drain relays. A relay is drained by one node at a time.
type Locker interface {
	// TryLock takes the right if nobody has it; ok is false if another node does.
	TryLock(ctx context.Context, relay uuid.UUID) (ok bool, err error)
	// Unlock gives it back.
	Unlock(ctx context.Context, relay uuid.UUID) error
	// Lost is closed when all rights that were given so far are lost; after that it returns another channel.
	Lost() <-chan struct{}
	// Held says, without waiting for anybody, whether rights that were given and not lost can be relied on now: not when what holds them
	// has not been heard of for so long that another node may have taken them.
	Held() bool
}

// Peers tells of the nodes that drain the same relays.
type Peers interface {
	// Delivering is how many of them are at work, this one among them.
	Delivering() int
	// Changed is closed when one came or went; after that it returns another channel.
	Changed() <-chan struct{}
	// OnFreed has a function called when other nodes have let go of relays. It is only for speed.
	OnFreed(freed func(relays []uuid.UUID))
}

// oneNode is the Locker and the Peers of a node that is alone.
type oneNode struct{}

func (oneNode) TryLock(context.Context, uuid.UUID) (bool, error) { return true, nil }
func (oneNode) Unlock(context.Context, uuid.UUID) error          { return nil }
func (oneNode) Lost() <-chan struct{}                            { return nil }
func (oneNode) Held() bool                                       { return true }
func (oneNode) Delivering() int                                  { return 1 }
func (oneNode) Changed() <-chan struct{}                         { return nil }
func (oneNode) OnFreed(func([]uuid.UUID))                        {}

// division is which of the relays are this node's business while others drain relays too. A node takes a free relay at once as long as it
// has fewer than its share, and otherwise if nobody else took it for a while; a node that has more than its share, since another
// has joined, lets go of some. The lock alone makes sure that one node drains a relay; this only says who asks for it.
//
// Guarded by Dispatcher.mu.
type division struct {
	seen  map[uuid.UUID]time.Time // when a relay was last seen to have work, whoever drains it
	free  map[uuid.UUID]time.Time // since when a relay that we did not take may be free
	asked map[uuid.UUID]time.Time // relays of other nodes: when we last asked for them
	away  map[uuid.UUID]time.Time // relays that could not be reached from here: until when others try first
	over  int                     // looks in a row that found more drains than our share
	rush  int                     // looks for what a node that went has left behind

	opening int // drains that ask for their relay at the moment
}

func newDivision() division {
	return division{seen: map[uuid.UUID]time.Time{}, free: map[uuid.UUID]time.Time{}, asked: map[uuid.UUID]time.Time{}, away: map[uuid.UUID]time.Time{}}
}

// saw notes that a relay has work.
func (v *division) saw(id uuid.UUID, now time.Time) { v.seen[id] = now }

// forget drops what is no longer so.
func (v *division) forget(now time.Time) {
	for id, at := range v.seen {
		if now.Sub(at) >= seenFor {
			delete(v.seen, id)
			delete(v.free, id)
			delete(v.asked, id)
		}
	}
	maps.DeleteFunc(v.away, func(_ uuid.UUID, until time.Time) bool { return !now.Before(until) })
	for _, list := range []map[uuid.UUID]time.Time{v.free, v.asked} {
		for id := range list {
			if _, is := v.seen[id]; !is {
				delete(list, id)
			}
		}
	}
}

// share is how many relays this node should drain, of those that have work.
func (d *Dispatcher) share() int {
	n := max(1, d.cfg.Peers.Delivering())
	return (len(d.seen) + n - 1) / n
}

// takes says whether this node asks for the right to a relay that it does not drain. The caller holds mu.
func (d *Dispatcher) takes(id uuid.UUID, now time.Time) bool {
	if !d.cfg.Locks.Held() {
		return false // the look after it is back finds what is due
	}
	if d.cfg.Peers.Delivering() <= 1 {
		return true
	}
	v := &d.division
	v.saw(id, now)
	if now.Before(v.away[id]) {
		return false // the look after it finds what nobody else has taken
	}
	patience := time.Duration(0)
	switch {
	case d.tokens.none():
		patience = atCapacity
	case v.rush == 0 && len(d.drains) >= d.share(), len(d.drains)-v.opening >= d.share():
		patience = atShare
	}
	since, known := v.free[id]
	if !known {
		v.free[id], since = now, now
	}
	return now.Sub(since) >= patience
}

// refused notes that another node drains a relay. The caller holds mu.
func (d *Dispatcher) refused(id uuid.UUID) {
	now := d.cfg.Now()
	d.asked[id], d.free[id] = now, now
}

// freed takes the word that other nodes have let go of relays.
func (d *Dispatcher) freed(relays []uuid.UUID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.cfg.Now()
	for _, id := range relays {
		delete(d.resting, id)
		delete(d.asked, id)
		d.free[id] = now
		if d.running && !d.gate.down.Load() {
			d.rouse(id, false)
		}
	}
}

// changed takes the word that a node came or went. Which relays were its is not known: all are asked for, and more at the same time than
// our share, since most will be refused.
func (d *Dispatcher) changed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.asked {
		delete(d.resting, id)
	}
	clear(d.asked)
	clear(d.free)
	d.over, d.rush = 0, 2
}

// unreached takes the word that a drain cannot reach its relay, and waits until a time before it tries again. If other nodes deliver, the next one to try
// is one of them: it may be our own line that is down.
func (d *Dispatcher) unreached(dr *drain, until time.Time) {
	if d.cfg.Peers.Delivering() <= 1 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.away[dr.id] = until.Add(othersFirst)
	dr.leave.Store(d.cfg.Now().Add(leaveWithin).UnixMilli())
}

// skip are the relays of other nodes that are not asked for in this look, since there are so many; who waited longest is asked for next.
func (v *division) skip() map[uuid.UUID]bool {
	if len(v.asked) <= maxAsked {
		return nil
	}
	ids := slices.SortedFunc(maps.Keys(v.asked), func(a, b uuid.UUID) int { return v.asked[a].Compare(v.asked[b]) })
	skip := make(map[uuid.UUID]bool, len(ids)-maxAsked)
	for _, id := range ids[maxAsked:] {
		skip[id] = true
	}
	return skip
}

// rushed ends a look. It says whether the next one is to follow soon.
func (d *Dispatcher) rushed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rush > 0 {
		d.rush--
	}
	return d.rush > 0
}

// opened notes that a drain has asked for its relay.
func (d *Dispatcher) opened() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opening--
}

// shed lets go of relays that are over our share. The caller holds mu.
func (d *Dispatcher) shed(now time.Time) {
	v := &d.division
	over := len(d.drains) - v.opening - d.share()
	if d.cfg.Peers.Delivering() <= 1 || over <= 0 {
		v.over = 0
		return
	}
	if v.over++; v.over < overFor {
		return
	}
	type candidate struct {
		*drain
		sending int
	}
	var free []candidate
	for _, dr := range d.drains {
		switch {
		case dr.leave.Load() != 0:
			over--
		case now.UnixMilli()-dr.since.Load() >= turnOfRelay.Milliseconds():
			dr.view.mu.Lock()
			free = append(free, candidate{dr, dr.view.s.Sending})
			dr.view.mu.Unlock()
		}
	}
	// Those first that have least to finish.
	slices.SortFunc(free, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.sending, b.sending), slices.Compare(a.id[:], b.id[:]))
	})
	for _, dr := range free[:min(len(free), max(0, over), max(1, over/atOnce))] {
		dr.leave.Store(now.Add(leaveWithin).UnixMilli())
		dr.rouse()
	}
}
