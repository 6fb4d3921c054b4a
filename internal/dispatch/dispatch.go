package dispatch

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
)

const (
	// lookAround is how often the whole spool is looked at for relays that have messages due. Announcements make sending quick,
	// this makes it certain.
	lookAround = time.Second
	// nextDueEvery is how often at most the store is asked for the next message that will be due.
	nextDueEvery = 5 * time.Millisecond
	// restFor is how long announcements for a relay are not heeded after a drain of it ended because nothing may be sent there.
	restFor = time.Second
)

// Dispatcher sends what is in the spool. Make it with New; Run does the work.
type Dispatcher struct {
	cfg     Config
	tokens  *tokens
	gate    *gate
	crowded atomic.Bool // relays wait because MaxRelays are being drained
	doubts  doubts
	strays  strays
	poke    chan struct{} // capacity 1: ask for the next due time again

	mu      sync.Mutex
	running bool // Run heeds announcements
	sends   context.Context
	stop    chan struct{} // closed when Run stops; nil before it runs
	drains  map[uuid.UUID]*drain
	ending  map[uuid.UUID]bool      // drains that end; true: messages were announced meanwhile
	resting map[uuid.UUID]time.Time // relays whose announcements are not heeded until then
	division
	counts counts
	group  sync.WaitGroup
}

// New checks the configuration, reporting all faults joined, and makes a Dispatcher. It claims and sends nothing before Run.
func New(cfg Config) (*Dispatcher, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &Dispatcher{
		cfg:     cfg,
		tokens:  newTokens(cfg.MaxConcurrent),
		gate:    newGate(),
		poke:    make(chan struct{}, 1),
		drains:  map[uuid.UUID]*drain{},
		ending:  map[uuid.UUID]bool{},
		resting: map[uuid.UUID]time.Time{},

		division: newDivision(),
	}
	cfg.Store.OnAccepted(d.announced)
	cfg.Peers.OnFreed(d.freed)
	return d, nil
}

// Run sends until ctx ends. Then it claims nothing more, gives back what it claimed and did not start, waits for what is being sent, cuts that off after
// Config.StopWithin, and returns nil when all is done. It runs once.
func (d *Dispatcher) Run(ctx context.Context) error {
	sends, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	defer cutOff()
	d.mu.Lock()
	if d.stop != nil {
		d.mu.Unlock()
		return errors.New("dispatch: Run was called before")
	}
	d.sends, d.stop, d.running = sends, make(chan struct{}), true
	d.mu.Unlock()

	gateCtx, closeGate := context.WithCancel(sends)
	var gate sync.WaitGroup
	gate.Go(func() { d.gate.run(gateCtx, d.ping, d.rouseAll) })

	d.watch(ctx)

	d.mu.Lock()
	d.running = false
	close(d.stop)
	d.mu.Unlock()
	timer := time.AfterFunc(d.cfg.StopWithin, func() {
		d.cfg.Logger.Warn("messages were still being sent when the time to stop was over; they are cut off", "after", d.cfg.StopWithin)
		cutOff()
	})
	d.group.Wait()
	timer.Stop()
	closeGate()
	gate.Wait()

	// What could not be given back by each drain, if the store is back by now.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWait)
	defer cancel()
	if n, err := d.cfg.Store.ReleaseClaims(last, d.cfg.Node); err != nil {
		d.cfg.Logger.Error("messages that this node holds could not be given back; the next start settles them", "error", err)
	} else if n > 0 {
		d.cfg.Logger.Info("gave back messages", "messages", n)
	}
	return nil
}

// watch wakes drains for messages that are due, until ctx ends.
func (d *Dispatcher) watch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var lookAt, askAt, askAgain, next, before time.Time // zero: now, not, whenever, unknown, never
	for {
		now := d.cfg.Now()
		if steppedBack(before, now) > 0 {
			lookAt, askAt, askAgain, next = now, time.Time{}, time.Time{}, time.Time{}
			d.setBack()
		}
		before = now
		lost, changed := d.cfg.Locks.Lost(), d.cfg.Peers.Changed()
		if !next.IsZero() && !now.Before(next) {
			lookAt, next = now, time.Time{}
		}
		if !now.Before(lookAt) {
			d.look(ctx, now)
			lookAt, askAt = now.Add(lookAround), now
			if d.rushed() {
				lookAt = now.Add(againAfter)
			}
		}
		if !askAt.IsZero() && !now.Before(askAt) {
			next = d.nextDue(ctx, now)
			end := d.cfg.Now()
			askAt, askAgain = time.Time{}, end.Add(max(nextDueEvery, lookShare*end.Sub(now)))
		}
		at := lookAt
		for _, t := range []time.Time{askAt, next} {
			if !t.IsZero() && t.Before(at) {
				at = t
			}
		}
		timer.Reset(min(max(0, at.Sub(d.cfg.Now())), lookAround))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-d.poke:
			askAt = askAgain
		case <-lost:
			d.lose()
		case <-changed:
			d.changed()
			lookAt = d.cfg.Now()
		}
	}
}

// ping says whether the store can be used and has taken all outcomes that it was given.
func (d *Dispatcher) ping(ctx context.Context) error {
	if d.cfg.Unrecorded() > 0 {
		return errUnrecorded
	}
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	return d.cfg.Store.Ping(ctx)
}

// look looks at the whole spool.
func (d *Dispatcher) look(ctx context.Context, now time.Time) {
	if d.gate.down.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	d.settle(ctx, now)
	// More than all nodes can drain, so that it shows when relays wait for others.
	due, err := d.cfg.Store.DueRelays(ctx, now, d.cfg.MaxRelays*max(1, d.cfg.Peers.Delivering())+1)
	if err != nil {
		d.trouble(ctx, "looking for messages that are due", err)
		return
	}
	foreign, err := d.cfg.Store.ForeignClaims(ctx, d.cfg.Node)
	if err != nil {
		d.trouble(ctx, "looking for messages that a node before us held", err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, until := range d.resting {
		if !now.Before(until) {
			delete(d.resting, id)
		}
	}
	for _, r := range due {
		d.saw(r.ID, now)
	}
	for _, id := range foreign {
		d.saw(id, now)
	}
	for id := range d.drains {
		d.saw(id, now)
	}
	d.forget(now)
	skip := d.skip()
	crowded := false
	for _, rests := range []bool{false, true} { // who has just given way comes last
		for _, r := range due {
			if _, is := d.resting[r.ID]; is == rests && !skip[r.ID] && !d.rouse(r.ID, r.Probe) {
				crowded = true
			}
		}
	}
	for _, id := range foreign {
		switch dr := d.drains[id]; {
		case dr != nil:
			dr.unsettled.Store(true) // claims that were under way when the relay became ours
			dr.rouse()
		case !skip[id]:
			d.rouse(id, false) // whoever takes the relay settles them
		}
	}
	d.crowded.Store(crowded)
	d.shed(now)
}

// nextDue is when the next message will be due that is not yet; zero if there is none or it cannot be known.
func (d *Dispatcher) nextDue(ctx context.Context, now time.Time) time.Time {
	if d.gate.down.Load() {
		return time.Time{}
	}
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	next, err := d.cfg.Store.NextDue(ctx)
	if err != nil {
		d.trouble(ctx, "asking when the next message is due", err)
		return time.Time{}
	}
	if !next.After(now) {
		return time.Time{} // the look that has just been, or the next, finds it
	}
	return next
}

// trouble takes an error of the store.
func (d *Dispatcher) trouble(ctx context.Context, what string, err error) {
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, store.ErrUnavailable):
		d.unavailable(err)
	default:
		d.cfg.Logger.Error("the store failed; trying again in a second", "doing", what, "error", err)
	}
}

// unavailable stops claiming everywhere until the store answers again.
func (d *Dispatcher) unavailable(err error) {
	if d.gate.shut(err) {
		d.cfg.Logger.Error("the store cannot be used: nothing is sent until it answers again", "error", err)
	}
}

// announced takes the announcement that messages were accepted. The store calls it after each commit: it must be quick.
func (d *Dispatcher) announced(relays []uuid.UUID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.running || d.gate.down.Load() {
		return
	}
	if len(relays) == 0 {
		d.deferred() // for later, perhaps before the next look
	}
	for _, id := range relays {
		if _, rests := d.resting[id]; !rests {
			d.rouse(id, false)
		}
	}
}

// deferred asks anew when the next message is due.
func (d *Dispatcher) deferred() {
	select {
	case d.poke <- struct{}{}:
	default:
	}
}

// rouse wakes the drain of a relay, or starts one. ok is false if there are too many. The caller holds mu.
func (d *Dispatcher) rouse(id uuid.UUID, probe bool) (ok bool) {
	if !d.running {
		return true
	}
	if _, ends := d.ending[id]; ends {
		d.ending[id] = true
		return true
	}
	if dr := d.drains[id]; dr != nil {
		dr.told.Store(true)
		dr.rouse()
		return true
	}
	if !d.takes(id, d.cfg.Now()) {
		return true
	}
	if len(d.drains) >= d.cfg.MaxRelays {
		return false
	}
	dr := newDrain(d, id, probe)
	d.drains[id] = dr
	d.opening++
	d.group.Go(func() { dr.run(d.sends, d.stop) })
	return true
}

// rouseAll wakes all drains: the store is back.
func (d *Dispatcher) rouseAll() {
	d.cfg.Logger.Info("the store answers again: sending goes on")
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, dr := range d.drains {
		dr.told.Store(true)
		dr.rouse()
	}
}

// lose takes the word that all rights are lost. The drains have heard it themselves.
func (d *Dispatcher) lose() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts.losses++
	d.cfg.Logger.Warn("the right to drain relays was lost: no message is started before it is taken again", "relays", len(d.drains))
}

// stopping says that Run is being stopped.
func (d *Dispatcher) stopping() bool { return isClosed(d.stop) }

// closes asks whether a drain may end. It may not if messages were announced that it has not looked for, unless it could not send them.
func (d *Dispatcher) closes(dr *drain, held bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !held && dr.told.Load() {
		return false
	}
	d.ending[dr.id] = false
	if held {
		d.resting[dr.id] = d.cfg.Now().Add(restFor)
	}
	return true
}

// ends takes the end of a drain.
func (d *Dispatcher) ends(dr *drain) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dr.foreign {
		d.refused(dr.id)
	} else if dr.leave.Load() != 0 {
		d.counts.letGo++
		// Whoever has less than its share has it first.
		d.free[dr.id] = d.cfg.Now().Add(2 * lookAround)
	}
	again, closed := d.ending[dr.id]
	delete(d.ending, dr.id)
	delete(d.drains, dr.id)
	if !closed {
		d.resting[dr.id] = d.cfg.Now().Add(restFor) // it could not begin
	}
	if _, rests := d.resting[dr.id]; again && !rests {
		d.rouse(dr.id, false)
	}
}

// each calls f for 0 to n-1, a few at the same time, and returns when all are done.
func each(parallel, n int, f func(i int)) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(parallel, n) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	group.Wait()
}
