package dispatch

import (
	"cmp"
	"slices"

	"github.com/google/uuid"
)

// The classes of a message, in the order in which they are served; equal to the store's.
const (
	transactional = iota
	bulk
	classes
)

const (
	// bulkEvery is the guarantee to bulk: while bulk waits, of every bulkEvery messages that leave one is bulk. While
	// transactional waits too it is no more than one.
	bulkEvery = 10
	// quantum is what a tenant may send in its turn, in recipients. As small as can be: between messages that are in
	// memory a change of tenant costs nothing, and a tenant that joins waits for one turn of each of the others.
	quantum = 1
)

// flowKey names what takes turns: one tenant's messages of one class.
type flowKey struct {
	tenant uuid.UUID
	class  int
}

// flow is one tenant's messages of one class on one relay: those that are claimed and wait for their turn, and whether
// the store holds more.
type flow[T any] struct {
	flowKey
	queue  []entry[T]
	head   int
	credit int  // recipients it may send; negative after a message that cost more than a turn gives
	ringed bool // takes turns: has messages, or still pays for one
	prev   *flow[T]
	next   *flow[T]

	due       bool   // the store holds more that may be sent now
	claiming  bool   // a claim is under way
	claimedAt uint64 // number of its last claim; 0: none yet, so it is claimed first
}

type entry[T any] struct {
	item T
	cost int
}

func (f *flow[T]) len() int { return len(f.queue) - f.head }

// turns decides whose message of a relay leaves next and for whom the next ones are claimed.
//
// Within a class tenants take turns by deficit round robin. A message costs its recipients; it is sent when its turn
// comes even if it costs more than a turn gives, and its tenant then passes until that is paid back, also when
// it has nothing more to send meanwhile. So every tenant waits for at most one message of each of the others, and over time
// those who always wait send equally many recipients.
//
// Transactional goes before bulk, of all tenants; see bulkEvery for what bulk is promised.
//
// It is not safe for concurrent use: the goroutine that drains the relay owns it.
type turns[T any] struct {
	flows   map[flowKey]*flow[T]
	rings   [classes]ring[T]
	waiting [classes]int // messages in queues
	passed  int          // transactional messages that left since the last bulk one, while bulk waited
	claims  uint64       // claims begun
	pending int          // messages asked for by claims under way
}

func newTurns[T any]() *turns[T] {
	return &turns[T]{flows: map[flowKey]*flow[T]{}}
}

// flow finds or makes the flow of a key.
func (t *turns[T]) flow(k flowKey) *flow[T] {
	f := t.flows[k]
	if f == nil {
		f = &flow[T]{flowKey: k}
		t.flows[k] = f
	}
	return f
}

// buffered is how many messages are claimed and wait for their turn.
func (t *turns[T]) buffered() int { return t.waiting[transactional] + t.waiting[bulk] }

// push puts a claimed message behind those of its tenant and class. cost is its recipients; below 1 it is 1.
func (t *turns[T]) push(k flowKey, item T, cost int) {
	f := t.flow(k)
	if len(f.queue) == cap(f.queue) && 2*f.head >= len(f.queue) { // what has left makes room before the slice grows
		n := copy(f.queue, f.queue[f.head:])
		clear(f.queue[n:])
		f.queue, f.head = f.queue[:n], 0
	}
	f.queue = append(f.queue, entry[T]{item: item, cost: max(cost, 1)})
	t.waiting[k.class]++
	if !f.ringed {
		f.ringed = true
		t.rings[k.class].join(f)
	}
}

// next takes the message whose turn it is. ok is false if none waits.
func (t *turns[T]) next() (item T, ok bool) {
	class := transactional
	switch {
	case t.buffered() == 0:
		return item, false
	case t.waiting[transactional] == 0:
		class = bulk
	case t.waiting[bulk] > 0:
		if t.passed++; t.passed >= bulkEvery {
			class = bulk
		}
	}
	if class == bulk || t.waiting[bulk] == 0 {
		t.passed = 0
	}
	t.waiting[class]--
	return t.rings[class].take(), true
}

// drain takes all messages that wait, in no particular order: they go back to the store.
func (t *turns[T]) drain() []T {
	items := make([]T, 0, t.buffered())
	for _, f := range t.flows {
		for _, e := range f.queue[f.head:] {
			items = append(items, e.item)
		}
		f.queue, f.head = nil, 0
		f.due = false
	}
	t.waiting = [classes]int{}
	return items
}

// seen takes the store's answer to the question who has messages that are due.
func (t *turns[T]) seen(due []flowKey) {
	for _, f := range t.flows {
		f.due = false
	}
	for _, k := range due {
		t.flow(k).due = true
	}
}

// dueAny says whether the store holds messages that may be sent now, as far as is known.
func (t *turns[T]) dueAny() bool {
	for _, f := range t.flows {
		if f.due {
			return true
		}
	}
	return false
}

// minBatch is how many messages of a tenant are claimed at a time when many tenants share the buffer: with fewer, the cost
// of a claim weighs more than that of the messages.
const minBatch = 4

// plan says for whom to claim next and at most how many messages, so that about target messages are claimed and wait.
// The caller claims them and tells claimed. ok is false if nothing is to be claimed now.
//
// Tenants for whom nothing is claimed come first, and may go over the target, up to twice of it: what others have
// claimed must not shut out who comes later. Among them comes first who was claimed for longest ago. The others
// wait until half of their share is gone, so that claims are few and large.
func (t *turns[T]) plan(target int) (k flowKey, limit int, ok bool) {
	have := t.buffered() + t.pending
	if target <= 0 || have >= 2*target {
		return k, 0, false
	}
	var best *flow[T]
	var count [classes]int
	for _, f := range t.flows {
		if f.due {
			count[f.class]++
		}
	}
	// Bulk holds its part of the buffer, so that there is bulk to send when its turn comes.
	forBulk := max(1, target/bulkEvery)
	bulkFirst := count[bulk] > 0 && t.waiting[bulk] < forBulk
	order := func(f *flow[T]) int { // smaller is claimed sooner
		switch {
		case f.class == bulk && bulkFirst:
			return 0
		case f.class == transactional:
			return 1
		default:
			return 2
		}
	}
	share := func(f *flow[T]) int { return max(min(minBatch, target), target/count[f.class]) }
	for _, f := range t.flows {
		if !f.due || f.claiming || f.len() > share(f)/2 || f.len() > 0 && have >= target {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(order(f), order(best)), cmp.Compare(min(f.len(), 1), min(best.len(), 1)),
			cmp.Compare(f.claimedAt, best.claimedAt), slices.Compare(f.tenant[:], best.tenant[:])) < 0 {
			best = f
		}
	}
	if best == nil {
		return k, 0, false
	}
	limit = share(best) - best.len()
	if order(best) == 0 && count[transactional] > 0 {
		limit = min(limit, forBulk)
	}
	limit = max(1, min(limit, target-have))
	t.claims++
	t.pending += limit
	best.claiming, best.claimedAt = true, t.claims
	return best.flowKey, limit, true
}

// claimed ends a claim that plan proposed: limit is what was asked for, got how many came. Fewer than asked for means that the store holds
// no more of this tenant and class for now.
func (t *turns[T]) claimed(k flowKey, limit, got int) {
	f := t.flow(k)
	f.claiming = false
	t.pending -= limit
	if got < limit {
		f.due = false
	}
}

// forget drops what is known of tenants that have nothing claimed, nothing due and nothing to pay back, so that a relay
// that is drained for months does not keep all who ever used it.
func (t *turns[T]) forget() {
	for k, f := range t.flows {
		if !f.due && !f.claiming && !f.ringed && f.len() == 0 {
			delete(t.flows, k)
		}
	}
}
