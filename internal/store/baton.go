package store

import (
	"context"
	"slices"
	"sync"
)

// baton lets one goroutine at a time use something, in the order in which they asked. Whoever only waits with it, for
// news that may never come, lets itself be interrupted by the next.
type baton struct {
	mu        sync.Mutex
	busy      bool
	queue     []chan struct{} // closed when it is one's turn
	interrupt func()          // of the one whose turn it is; nil: it is not interrupted
}

// take waits for a turn, which give ends.
func (t *baton) take(ctx context.Context) error {
	t.mu.Lock()
	if !t.busy {
		t.busy = true
		t.mu.Unlock()
		return nil
	}
	mine := make(chan struct{})
	t.queue = append(t.queue, mine)
	if t.interrupt != nil {
		t.interrupt()
	}
	t.mu.Unlock()
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	i := slices.Index(t.queue, mine)
	if i >= 0 {
		t.queue = slices.Delete(t.queue, i, i+1)
	}
	t.mu.Unlock()
	if i < 0 { // it came just now
		t.give()
	}
	return ctx.Err()
}

// give ends a turn.
func (t *baton) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == 0 {
		t.busy = false
		return
	}
	close(t.queue[0]) // busy stays: the turn passes on
	t.queue = slices.Delete(t.queue, 0, 1)
}

// idle runs fn within a turn, with a context that ends as soon as somebody else wants one. It does not run fn if
// somebody does already.
func (t *baton) idle(ctx context.Context, fn func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.mu.Lock()
	wanted := len(t.queue) > 0
	t.interrupt = cancel
	t.mu.Unlock()
	if !wanted {
		fn(ctx)
	}
	t.mu.Lock()
	t.interrupt = nil
	t.mu.Unlock()
}
