package dispatch

import (
	"context"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/store"
)

// doubtFor is how long after a failed claim the store is asked a second time what it took: a server may end a commit after
// its client has given up.
const doubtFor = time.Minute

// doubts are claims that failed. The store may have committed them all the same, and then holds messages for this node of
// which no drain knows: nobody would ever send them. Safe for concurrent use.
type doubts struct {
	mu   sync.Mutex
	list []doubt
}

type doubt struct {
	req    store.ClaimRequest
	failed time.Time
	asked  bool // once; the second time is the last
}

func (d *doubts) add(req store.ClaimRequest, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, doubt{req: req, failed: now})
}

// take takes those that the store should be asked about now.
func (d *doubts) take(now time.Time) []doubt {
	d.mu.Lock()
	defer d.mu.Unlock()
	var due, rest []doubt
	for _, one := range d.list {
		if !one.asked || now.Sub(one.failed) >= doubtFor {
			due = append(due, one)
		} else {
			rest = append(rest, one)
		}
	}
	d.list = rest
	return due
}

// keep takes back those that are to be asked about once more.
func (d *doubts) keep(list []doubt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, list...)
}

// settle gives back what failed claims have taken.
func (d *Dispatcher) settle(ctx context.Context, now time.Time) {
	var keep []doubt
	due := d.doubts.take(now)
	for i, one := range due {
		n, err := d.cfg.Store.Unclaim(ctx, one.req)
		if err != nil {
			keep = append(keep, due[i:]...)
			d.trouble(ctx, "giving back what a claim that failed may have taken", err)
			break
		}
		if n > 0 {
			d.cfg.Logger.Warn("gave back messages of a claim that had failed", "relay", one.req.Relay, "messages", n)
		}
		if !one.asked && now.Sub(one.failed) < doubtFor {
			one.asked = true
			keep = append(keep, one)
		}
	}
	d.doubts.keep(keep)
	if stray := d.strays.take(); len(stray) > 0 {
		kept, err := d.release(ctx, stray)
		d.strays.add(kept)
		if err != nil {
			d.trouble(ctx, "giving back messages of relays that were lost", err)
		}
	}
}

// strays are claimed messages that drains could not give back. Safe for concurrent use.
type strays struct {
	mu   sync.Mutex
	list []store.Claimed
}

func (s *strays) add(list []store.Claimed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, list...)
}

func (s *strays) take() []store.Claimed {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.list
	s.list = nil
	return list
}
