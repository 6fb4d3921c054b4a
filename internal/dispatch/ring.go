package dispatch

// ring is the round of one class: flows in the order of their turns, linked in a circle. The zero value is empty.
type ring[T any] struct {
	at      *flow[T] // whose turn it is; nil: nobody's
	size    int
	granted bool // at has been given the credit of this turn
}

// join puts a flow at the end of the round: it is served after each of the others had a turn.
func (r *ring[T]) join(f *flow[T]) {
	r.size++
	if r.at == nil {
		f.prev, f.next = f, f
		r.at, r.granted = f, false
		return
	}
	f.prev, f.next = r.at.prev, r.at
	f.prev.next, f.next.prev = f, f
}

// leave takes the flow whose turn it is out of the round.
func (r *ring[T]) leave() {
	f := r.at
	r.size--
	f.ringed, f.credit = false, 0
	if r.size == 0 {
		r.at = nil
	} else {
		f.prev.next, f.next.prev = f.next, f.prev
		r.at = f.next
	}
	f.prev, f.next = nil, nil
	r.granted = false
}

// take takes the message whose turn it is; at least one flow must have one. What it does beyond a constant is paid for by the
// recipients of messages that were taken before.
func (r *ring[T]) take() T {
	for passed := 0; ; {
		f := r.at
		if !r.granted {
			f.credit += quantum
			r.granted = true
		}
		switch {
		case f.len() == 0 && f.credit >= 0:
			r.leave() // it has nothing to send and has paid for what it sent
			continue
		case f.len() > 0 && f.credit > 0:
			e := f.pop()
			f.credit -= e.cost
			if f.len() == 0 && f.credit >= 0 {
				r.leave()
			} else if f.credit <= 0 {
				r.at, r.granted = f.next, false
			}
			return e.item
		}
		r.at, r.granted = f.next, false
		if passed++; passed >= r.size {
			r.skip()
			passed = 0
		}
	}
}

// skip gives everybody the credit of as many rounds as would pass before anybody may send.
func (r *ring[T]) skip() {
	rounds := -1
	for f, i := r.at, 0; i < r.size; f, i = f.next, i+1 {
		if f.len() > 0 {
			if n := max(-f.credit, 0) / quantum; rounds < 0 || n < rounds {
				rounds = n
			}
		}
	}
	if rounds <= 0 {
		return
	}
	for f, i := r.at, 0; i < r.size; f, i = f.next, i+1 {
		f.credit += rounds * quantum
	}
}

// pop takes the flow's first message.
func (f *flow[T]) pop() entry[T] {
	e := f.queue[f.head]
	f.queue[f.head] = entry[T]{} // a message that has left is not kept in memory
	if f.head++; f.head == len(f.queue) {
		f.queue, f.head = f.queue[:0], 0
	}
	return e
}
