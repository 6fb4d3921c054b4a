package ratelimit

import (
	"container/heap"
	"sync"
)

// shard is the keys that share one lock.
type shard struct {
	mu      sync.Mutex
	buckets map[id]*bucket
	queue   queue
	_       [64]byte // keeps the locks of two shards out of one cache line
}

// id tells buckets apart.
type id struct{ policy, key string }

// bucket is the log of one key under one policy.
type bucket struct {
	log
	id       id
	reserved int64 // octets
	limit    int   // requests that reserved has room for
	span     int64 // the longest window seen, in microseconds
	due      int64 // when to look whether its window is over; that may be later
	index    int   // in the queue
}

// over is when nothing of the bucket is in the window any more.
func (b *bucket) over() int64 {
	if b.n == 0 {
		return 0
	}
	return b.newest() + b.span
}

// queue orders the buckets of a shard by due. A request moves only its bucket's end, not
// its due: whoever finds a bucket due looks at its end and puts it back. So the order costs
// one step a window and not one a request.
type queue []*bucket

// push adds a new bucket.
func (q *queue) push(b *bucket, p Policy) {
	b.span = micros(p.Window)
	b.due = b.over()
	heap.Push((*byDue)(q), b)
}

// update looks at b after a request was added or p has changed: its end is rarely earlier
// than its due.
func (q *queue) update(b *bucket, p Policy) {
	b.span = max(b.span, micros(p.Window))
	if over := b.over(); b.due == 0 || over < b.due {
		b.due = over
		heap.Fix((*byDue)(q), b.index)
	}
}

// fix puts the first bucket to its new place.
func (q *queue) fix() { heap.Fix((*byDue)(q), 0) }

// pop removes the first bucket.
func (q *queue) pop() { heap.Pop((*byDue)(q)) }

// byDue implements heap.Interface.
type byDue []*bucket

func (q byDue) Len() int           { return len(q) }
func (q byDue) Less(i, j int) bool { return q[i].due < q[j].due }

func (q byDue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *byDue) Push(x any) {
	b := x.(*bucket)
	b.index = len(*q)
	*q = append(*q, b)
}

func (q *byDue) Pop() any {
	last := len(*q) - 1
	b := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return b
}
