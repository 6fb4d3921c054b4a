package chaos_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"
)

// tooLate is when a takeover that is still to come is worth a look, after the time that the fault lasts.
const tooLate = 5 * time.Second

// takeover is how long the relays of a broken node wait until another one sends for them.
type takeover struct {
	from  string
	begun time.Time
	open  map[string]bool // the relays that wait
	took  []time.Duration
}

// watch begins to look at what becomes of a node's relays: those that it was the last to send for.
func (r *receiver) watch(node string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = &takeover{from: node, begun: time.Now(), open: map[string]bool{}}
	for relay, by := range r.drains {
		if by == node {
			r.over.open[relay] = true
		}
	}
}

// sent notes that a node has sent for a relay.
func (o *takeover) sent(relay, node string) {
	if o == nil || !o.open[relay] || node == o.from {
		return
	}
	delete(o.open, relay)
	o.took = append(o.took, time.Since(o.begun))
}

// waiting are the relays that still wait.
func (r *receiver) waiting() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.over.open))
}

// takenOver waits until other nodes have sent for all relays of the broken one, where they must, and notes how long that took.
func (w *world) takenOver(t *testing.T, f fault, alone bool, got *figures) {
	t.Helper()
	if f.takenOver && alone {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		late := time.AfterFunc(tooLate, func() { t.Logf("%s: not taken over yet; sessions of PostgreSQL:\n%s", f.name, w.pg.Sessions()) })
		defer late.Stop()
		for waiting := w.receiver.waiting(); len(waiting) > 0; waiting = w.receiver.waiting() {
			if !pause(ctx, 5*time.Millisecond) {
				t.Fatalf("%s: not all relays of the node are drained by another within %v: %v\n%s", f.name, patience, waiting, w.tails())
			}
		}
	}
	w.receiver.mu.Lock()
	defer w.receiver.mu.Unlock()
	o := w.receiver.over
	w.receiver.over = nil
	if alone {
		got.takeover[f.name] = append(got.takeover[f.name], o.took...)
	}
}
