package dispatch

import "github.com/google/uuid"

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
	listed    bool   // stands in one of turns.lists
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
	due     [classes]int // flows that are due
	lists   [classes]lists[T]
	fresh   int    // flows that are due and that no claim was begun for yet
	claims  uint64 // claims begun
	pending int    // messages asked for by claims under way
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
		t.setDue(f, false)
	}
	t.waiting = [classes]int{}
	return items
}

// forget drops what is known of tenants that have nothing claimed, nothing due and nothing to pay back, so that a relay
// that is drained for months does not keep all who ever used it.
func (t *turns[T]) forget() {
	for class := range t.lists {
		t.lists[class].clean()
	}
	for k, f := range t.flows {
		if !f.due && !f.listed && !f.claiming && !f.ringed && f.len() == 0 {
			delete(t.flows, k)
		}
	}
}
