package smtppool

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/postrider/postrider/smtp"
)

// Pool lends sessions with one relay as one user. Safe for concurrent use. Make it with New, end it with Close.
type Pool struct {
	dialer *smtp.Dialer
	cfg    Config

	// dialing ends dials when the pool closes; forced ends everything else when Close runs out of time.
	dialCtx, forceCtx       context.Context
	cancelDials, cancelRest context.CancelFunc
	done                    chan struct{} // closed when the pool is closed and nothing of it runs any more

	mu      sync.Mutex // guards all below; never held during I/O, a callback or a log call
	members []*member  // established connections, those that are closing too
	idle    []*member  // the one used last at the end
	waiters list.List  // of *waiter, in the order of service
	closed  bool
	// pending counts what must end before done: members, dials, an armed timer.
	pending int

	timer   *time.Timer // one for the whole pool; see expire.go
	timerAt time.Time   // when it fires; zero: not armed

	proven   bool      // a connection lives and the last dial to end succeeded: several at once may be tried
	failures int       // incidents in a row
	failedAt time.Time // of the last incident
	retryAt  time.Time // no dial before this
	dialErr  error     // why
	lastUsed time.Time // last borrowing or return, for Set

	counts counts
}

// New checks the configuration, reporting all faults joined, and makes a Pool. It does not connect: the first
// borrower does. The dialer must not be used for another user's sessions in the same pool, which it cannot be,
// since it holds the credentials.
func New(d *smtp.Dialer, cfg Config) (*Pool, error) {
	err := cfg.Validate()
	if d == nil {
		err = errors.Join(errors.New("smtppool: the dialer is nil; make one with smtp.NewDialer"), err)
	}
	if err != nil {
		return nil, err
	}
	p := &Pool{dialer: d, cfg: cfg.withDefaults(), done: make(chan struct{}), lastUsed: time.Now()}
	p.forceCtx, p.cancelRest = context.WithCancel(context.Background())
	p.dialCtx, p.cancelDials = context.WithCancel(p.forceCtx)
	return p, nil
}

// Get borrows a session: an idle one, the one used last first, or else the first that is released or dialled.
// Waiters are served in the order in which they came. The caller must Release it.
//
// Errors: ErrClosed; the failure of a dial as a *BackoffError around an *smtp.Error, at once, when nothing else
// could serve the caller; an *smtp.Error around ctx's error when ctx ends first. A dial goes on when its waiter
// leaves, and serves the next.
func (p *Pool) Get(ctx context.Context) (*Conn, error) {
	m, err := p.borrow(ctx, nil)
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: m.conn, pool: p, member: m, reused: m.lent > 1}, nil
}

// borrow is Get without the wrapper. With old, a dead connection that the caller still holds, it takes that one back
// and insists on a connection dialled from now on, because others that were idle as long are likely as dead.
func (p *Pool) borrow(ctx context.Context, old *member) (*member, error) {
	now := time.Now()
	p.mu.Lock()
	p.lastUsed = now
	err := ctx.Err()
	if p.closed {
		err = ErrClosed
	} else if err != nil {
		err = gaveUp(err)
	}
	if err != nil {
		if old != nil {
			p.giveBack(old, now)
		}
		p.mu.Unlock()
		return nil, err
	}
	if old == nil {
		// Whoever waits for any connection waits only while none is idle, so this overtakes nobody.
		if m := p.takeIdle(now); m != nil {
			p.lend(m)
			p.mu.Unlock()
			return m, nil
		}
	}
	w := p.enqueue(now, old != nil)
	if old != nil {
		// After enqueueing, so that the place which becomes free is dialled anew for this caller.
		p.giveBack(old, now)
	} else {
		p.settle(now)
	}
	p.mu.Unlock()

	select {
	case served := <-w.result:
		return served.member, served.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now = time.Now()
	if w.element != nil {
		p.dequeue(w, now)
		return nil, gaveUp(ctx.Err())
	}
	// Served in the same moment: whoever comes next shall have the connection.
	if served := <-w.result; served.member != nil {
		p.giveBack(served.member, now)
	}
	return nil, gaveUp(ctx.Err())
}

// gaveUp is the error for a caller whose context ended while it waited. Nothing was sent.
func gaveUp(err error) error {
	return &smtp.Error{Phase: smtp.PhaseDial, Class: smtp.ClassTransient, Err: fmt.Errorf("waiting for a connection: %w", err)}
}

// Close ends the pool: borrowers that wait get ErrClosed, dials are interrupted, idle sessions get QUIT (RFC 5321
// §4.1.1.10), borrowed ones until they are released. When ctx ends first, borrowed ones are closed under their
// borrowers, and an error that wraps ctx's says how many. When Close returns, no goroutine of the pool runs, except
// those of a smtp.Config.Dial that ignores its context, for which Close waits. Calling it again waits likewise.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	p.shut(time.Now())
	p.mu.Unlock()

	select {
	case <-p.done:
		p.cancelRest()
		return nil
	default:
	}
	select {
	case <-p.done:
		p.cancelRest()
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	forced := 0
	for _, m := range p.members {
		if m.state == inUse {
			p.counts.inUse--
			p.retire(m, ReasonForced, false)
			forced++
		}
	}
	p.mu.Unlock()
	p.cancelRest() // interrupts QUITs that wait for their reply
	<-p.done
	if forced == 0 {
		return nil // only farewells were cut short
	}
	return fmt.Errorf("smtppool: %d borrowed connections were closed by force: %w", forced, ctx.Err())
}

// shut begins the end; the second time it does nothing.
func (p *Pool) shut(now time.Time) {
	if p.closed {
		return
	}
	p.closed = true
	for p.waiters.Len() > 0 {
		p.answer(p.first(), served{err: ErrClosed}, now)
	}
	p.cancelDials()
	for _, m := range p.idle {
		p.retire(m, ReasonPoolClosed, true)
	}
	p.idle = nil
	if !p.timerAt.IsZero() && p.timer.Stop() {
		p.timerAt = time.Time{}
		p.pending--
	}
	p.finish()
}

// finish announces the end once nothing of a closed pool is left.
func (p *Pool) finish() {
	if p.closed && p.pending == 0 {
		select {
		case <-p.done:
		default:
			close(p.done)
		}
	}
}

// closeIfUnused closes a pool that has no connection, dial or waiter and was not used since the given time.
func (p *Pool) closeIfUnused(since, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return true
	}
	if len(p.members) > 0 || p.counts.dialing > 0 || p.waiters.Len() > 0 || p.lastUsed.After(since) {
		return false
	}
	p.shut(now)
	p.cancelRest()
	return true
}
