package dispatch

import (
	"cmp"
	"slices"
)

// minBatch is how many messages of a tenant are claimed at a time when many tenants share the buffer: with fewer, the cost
// of a claim weighs more than that of the messages.
const minBatch = 4

// lists are the flows of a class that are due, and some that no longer are. A choice looks at the first few of
// them: before it finds one that has nothing claimed it passes only over those that have, which the target bounds.
type lists[T any] struct {
	fresh   []*flow[T] // no claim was begun for them yet, in the order in which they came
	regular []*flow[T] // in the order of their last claims
}

// add lists a flow.
func (l *lists[T]) add(f *flow[T]) {
	f.listed = true
	if f.claimedAt == 0 {
		l.fresh = append(l.fresh, f)
		return
	}
	i, _ := slices.BinarySearchFunc(l.regular, f.claimedAt, func(f *flow[T], at uint64) int { return cmp.Compare(f.claimedAt, at) })
	l.regular = slices.Insert(l.regular, i, f)
}

// clean drops flows that are not due.
func (l *lists[T]) clean() {
	over := func(f *flow[T]) bool {
		f.listed = f.due
		return !f.due
	}
	l.fresh = slices.DeleteFunc(l.fresh, over)
	l.regular = slices.DeleteFunc(l.regular, over)
}

// pick finds whom to claim for: who came new; then who has nothing claimed, the one first that was claimed for longest ago; then who has no more
// than half a share left. nil: nobody.
func (l *lists[T]) pick(share int, onlyFresh bool) *flow[T] {
	for _, f := range l.fresh {
		if f.due && !f.claiming {
			return f
		}
	}
	if onlyFresh {
		return nil
	}
	var fed *flow[T]
	for _, f := range l.regular {
		switch {
		case !f.due || f.claiming:
		case f.len() == 0:
			return f
		case fed == nil && f.len() <= share/2:
			fed = f
		}
	}
	return fed
}

// move puts a flow to the end: a claim for it begins, with the number at.
func (l *lists[T]) move(f *flow[T], at uint64) {
	from := &l.regular
	if f.claimedAt == 0 {
		from = &l.fresh
	}
	switch i := slices.Index(*from, f); i {
	case 0:
		(*from)[0] = nil
		*from = (*from)[1:]
	default:
		*from = slices.Delete(*from, i, i+1)
	}
	f.claimedAt = at
	l.regular = append(l.regular, f)
}

// setDue notes whether the store holds messages of a flow.
func (t *turns[T]) setDue(f *flow[T], due bool) {
	if f.due == due {
		return
	}
	f.due = due
	change := -1
	if due {
		change = 1
		if !f.listed {
			t.lists[f.class].add(f)
		}
	}
	t.due[f.class] += change
	if f.claimedAt == 0 {
		t.fresh += change
	}
}

// seen takes the store's answer to the question who has messages that are due.
func (t *turns[T]) seen(due []flowKey) {
	for class := range t.lists {
		for _, list := range [][]*flow[T]{t.lists[class].fresh, t.lists[class].regular} {
			for _, f := range list {
				t.setDue(f, false)
			}
		}
	}
	for _, k := range due {
		t.setDue(t.flow(k), true)
	}
	for class := range t.lists {
		t.lists[class].clean()
	}
}

// dueAny says whether the store holds messages that may be sent now, as far as is known.
func (t *turns[T]) dueAny() bool { return t.due[transactional]+t.due[bulk] > 0 }

// plan says for whom to claim next and at most how many messages, so that about target messages are claimed and wait.
// The caller claims them and tells claimed. ok is false if nothing is to be claimed now.
//
// Tenants for whom nothing is claimed come first, and among them who was claimed for longest ago. The others wait until half of their share is
// gone, so that claims are few and large. A tenant that comes new may go over the target, up to twice of it: it does not
// even wait for room.
func (t *turns[T]) plan(target int) (k flowKey, limit int, ok bool) {
	have := t.buffered() + t.pending
	room := target - have
	onlyFresh := room < max(1, min(minBatch, target/4))
	if target <= 0 || have >= 2*target || !t.dueAny() || onlyFresh && t.fresh == 0 {
		return k, 0, false
	}
	share := func(class int) int { return max(min(minBatch, target), target/max(1, t.due[class])) }
	// Bulk holds its part of the buffer, so that there is bulk to send when its turn comes.
	order, forBulk := [classes]int{transactional, bulk}, max(1, target/bulkEvery)
	if t.waiting[bulk] < forBulk {
		order = [classes]int{bulk, transactional}
	}
	for _, class := range order {
		f := t.lists[class].pick(share(class), onlyFresh)
		if f == nil {
			continue
		}
		limit = share(class) - f.len()
		if class == bulk && t.due[transactional] > 0 {
			limit = min(limit, forBulk)
		}
		limit = max(1, min(limit, room))
		if f.claimedAt == 0 {
			t.fresh--
		}
		t.claims++
		t.pending += limit
		f.claiming = true
		t.lists[class].move(f, t.claims)
		return f.flowKey, limit, true
	}
	return k, 0, false
}

// claimed ends a claim that plan proposed: limit is what was asked for, got how many came. Fewer than asked for means that the store holds
// no more of this tenant and class for now.
func (t *turns[T]) claimed(k flowKey, limit, got int) {
	f := t.flow(k)
	f.claiming = false
	t.pending -= limit
	if got < limit {
		t.setDue(f, false)
	}
}
