package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// maxGroup bounds how much one commit carries, in weights of units (a message, an outcome), so that it ends soon
	// and what a failure repeats stays small.
	maxGroup = 512
	// maxGroupBytes bounds the content in one commit.
	maxGroupBytes = 16 << 20
	// commitTimeout ends a commit that a database server does not finish.
	commitTimeout = 30 * time.Second
)

// errClosed says that the store is closed.
var errClosed = errors.New("store: closed")

// unit is what a committer writes: one caller's accept, mark or outcome.
type unit interface {
	// weight is what the unit adds to a group: rows, and bytes of content.
	weight() (rows, size int)
	// prepare takes back what an apply that failed has left in the unit.
	prepare()
}

// waiting is a unit in the queue.
type waiting struct {
	unit unit
	err  error         // read after done
	done chan struct{} // closed when the unit is committed, or has failed
	// taken says that a writer has it: from then on its caller learns what truly became of it. Guarded by
	// committer.mu.
	taken bool
}

// committer makes one transaction of what many callers want written. Its writer takes what gathered while the commit
// before ran: with one caller a group is one unit and costs no wait, with many it grows by itself. There is no timer.
type committer struct {
	// begin runs fn in a transaction; apply writes units in it. A unit's own refusal (a quota) is kept in the unit; an
	// error from apply means that the transaction cannot go on.
	begin func(ctx context.Context, fn func(tx) error) error
	apply func(ctx context.Context, t tx, group []unit) error
	// timeout bounds each transaction. 0: none, which spares SQLite's driver a goroutine for each statement.
	timeout time.Duration
	// committed is told of each group that is in the database. It must not block.
	committed func(group []unit)
	// observed is told of each transaction, whatever came of it. It must not block.
	observed func(group []*waiting, took time.Duration, err error)

	mu      sync.Mutex
	queue   []*waiting
	closed  bool
	wake    chan struct{}
	writers sync.WaitGroup
}

// start runs n writers until stop.
func (c *committer) start(n int) {
	c.wake = make(chan struct{}, 1)
	for range n {
		c.writers.Go(c.write)
	}
}

// stop lets the writers finish what is queued and waits for them. Nothing is taken any more.
func (c *committer) stop() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.signal()
	c.writers.Wait()
}

func (c *committer) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// do queues u and waits until it is in the database. When ctx ends first, u is withdrawn if no writer has it yet;
// otherwise do waits on and reports what became of it, since a commit cannot be taken back.
func (c *committer) do(ctx context.Context, u unit) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &waiting{unit: u, done: make(chan struct{})}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return errClosed
	}
	c.queue = append(c.queue, w)
	c.mu.Unlock()
	c.signal()
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
	}
	if c.withdraw(w) {
		return ctx.Err()
	}
	<-w.done
	return w.err
}

func (c *committer) withdraw(w *waiting) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.taken {
		return false
	}
	if i := slices.Index(c.queue, w); i >= 0 {
		c.queue = slices.Delete(c.queue, i, i+1)
	}
	return true
}

// take returns what one commit carries, and whether the writer should go on.
func (c *committer) take() (group []*waiting, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rows, size := 0, 0
	for _, w := range c.queue {
		r, s := w.unit.weight()
		if len(group) > 0 && (rows+r > maxGroup || size+s > maxGroupBytes) {
			break
		}
		rows, size = rows+r, size+s
		w.taken = true
		group = append(group, w)
	}
	c.queue = slices.Delete(c.queue, 0, len(group)) // also clears what it no longer holds
	if len(c.queue) > 0 || c.closed {
		c.signal() // for the other writers, or for this one's next turn
	}
	return group, len(group) > 0 || !c.closed
}

func (c *committer) write() {
	for {
		group, more := c.take()
		if len(group) > 0 {
			c.commit(group)
			continue
		}
		if !more {
			return
		}
		<-c.wake
	}
}

// commit writes a group in one transaction. If that fails for a reason that may lie in one unit, they are written again,
// each behind a savepoint of its own, so that the bad one fails alone.
func (c *committer) commit(group []*waiting) {
	// The callers' contexts do not reach into a transaction that others share.
	ctx := context.Background()
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	begun := time.Now()
	err := c.together(ctx, group)
	if err != nil && len(group) > 1 && !hopeless(ctx, err) {
		err = c.apart(ctx, group)
	}
	if err != nil && ctx.Err() != nil {
		err = unavailable(err)
	}
	if c.observed != nil {
		c.observed(group, time.Since(begun), err)
	}
	if err == nil && c.committed != nil {
		done := make([]unit, 0, len(group))
		for _, w := range group {
			if w.err == nil {
				done = append(done, w.unit)
			}
		}
		c.committed(done)
	}
	for _, w := range group {
		if err != nil {
			w.err = err
		}
		close(w.done)
	}
}

func (c *committer) together(ctx context.Context, group []*waiting) error {
	units := make([]unit, len(group))
	return c.begin(ctx, func(t tx) error {
		for i, w := range group {
			w.unit.prepare()
			units[i] = w.unit
		}
		return c.apply(ctx, t, units)
	})
}

// apart writes each unit behind a savepoint, in one transaction still.
func (c *committer) apart(ctx context.Context, group []*waiting) error {
	return c.begin(ctx, func(t tx) error {
		for _, w := range group {
			w.unit.prepare()
			w.err = nil
			if _, err := t.exec(ctx, "savepoint unit"); err != nil {
				return err
			}
			err := c.apply(ctx, t, []unit{w.unit})
			end := "release savepoint unit"
			if err != nil {
				if hopeless(ctx, err) || errors.Is(err, errAgain) {
					return err
				}
				w.err = err
				end = "rollback to savepoint unit"
			}
			if _, err := t.exec(ctx, end); err != nil {
				return err
			}
		}
		return nil
	})
}

// hopeless says of an error that it is not one unit's, so that the others would meet it too.
func hopeless(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, ErrUnavailable) && !errors.Is(err, errLocked)
}
