package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/store"
)

const (
	// lookEvery is how often at most a drain that has messages in hand asks the store whose are due: the announcements of a busy intake
	// come more often.
	lookEvery = 10 * time.Millisecond
	// lookShare is how many times as long as such a question took nothing is asked, there and for the next due time.
	lookShare = 4
	// refreshEvery is how often a drain reads its relay's row again, for settings that were changed and for pauses.
	refreshEvery = time.Second
	// maxClaims is how many claims are under way at the same time, of different tenants.
	maxClaims = 4
	// troubleWait is how long a drain leaves the store alone after a question failed.
	troubleWait = time.Second
	// turnOfRelay is how long a relay is drained before it gives way, when more relays have messages due than are drained at the
	// same time.
	turnOfRelay = 10 * time.Second
	// maxRecording bounds the outcomes of a relay that are being recorded at the same time. When the store is slower than the relay, the store
	// sets the pace.
	maxRecording = 512
	// storeWait bounds one question to the store.
	storeWait = 30 * time.Second
)

// drain empties one relay's part of the spool. Its goroutine owns all fields but those named below; what asks the store runs beside it and
// hands back a function for it to run.
type drain struct {
	d   *Dispatcher
	id  uuid.UUID
	log *slog.Logger

	// Other goroutines use these.
	wake chan struct{} // capacity 1: something of the following, or a token
	told atomic.Bool   // messages were accepted, or are due
	lost atomic.Bool   // another node has the relay: nothing may be started
	view view

	unsettled atomic.Bool  // other nodes claimed messages of the relay although it is ours
	leave     atomic.Int64 // let go of the relay for another node; at that time, in ms since 1970, give up letting go; 0: keep it
	since     atomic.Int64 // when the drain began or last refused to end, in ms since 1970

	right   <-chan struct{} // closed when the right to drain the relay is lost; set once, by open
	foreign bool            // another node drains it, so this drain could not begin; set by open

	relay   store.DeliveryRelay
	lane    Lane
	turns   *turns[store.Claimed]
	parked  *store.Claimed // its turn has come, but not its time
	limits  *limits
	slow    slowdown
	circuit circuit
	pace    pace
	share   *share

	results chan result
	answers chan func()
	beside  sync.WaitGroup // questions to the store and sends

	flying    int // messages being sent
	recording int // messages that were sent, whose outcome is being recorded
	asking    int // questions under way
	claims    int // of those, claims
	lastStart time.Time

	news      news
	look      bool // ask whose messages are due
	looking   bool
	lookAgain time.Time // not before that, unless nothing is in hand or something was announced
	looked    time.Time // when the last question ended
	lookTook  time.Duration
	refreshed time.Time
	reading   bool // the row is being read
	saving    bool
	settling  bool
	unsaved   bool // the saved state is not what is true now
	heldUntil time.Time
	heldWhy   string
	downWhy   string    // why the circuit opened
	backAt    time.Time // when to try again to give messages back
	starved   bool      // another message could be sent had the node a token

	probe    bool // the relay is paused because it refused the password: one message tries whether it still does
	gone     bool // the relay was deleted
	closing  bool // the dispatcher has been told that this drain ends
	pausing  bool // the pause is being written
	began    time.Time
	trouble  time.Time
	idleFrom time.Time
	stepped  time.Time // the last step
}

// result is what one message came to: first its verdict, then that it was recorded.
type result struct {
	started    time.Time
	recipients int
	verdict    delivery.Verdict
	recorded   bool
	err        error
}

func newDrain(d *Dispatcher, relay uuid.UUID, probe bool) *drain {
	dr := &drain{
		d: d, id: relay, probe: probe, look: true,
		log:     d.cfg.Logger.With("relay", relay),
		wake:    make(chan struct{}, 1),
		turns:   newTurns[store.Claimed](),
		results: make(chan result, 64),
		answers: make(chan func(), 8),
	}
	dr.since.Store(d.cfg.Now().UnixMilli())
	dr.share = d.tokens.join(dr.wake)
	dr.view.s.Relay = relay
	return dr
}

// rouse wakes the drain.
func (dr *drain) rouse() {
	select {
	case dr.wake <- struct{}{}:
	default:
	}
}

// run drains the relay until it has been idle for a while, may not be sent to, or stop is closed. ctx ends when sends are to be cut off.
func (dr *drain) run(ctx context.Context, stop <-chan struct{}) {
	ok := dr.open(ctx)
	dr.d.opened()
	if !ok {
		dr.d.ends(dr)
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	right := dr.right
	for {
		stopping := isClosed(stop)
		now := dr.d.cfg.Now()
		next := dr.step(ctx, now, stopping)
		dr.publish(now)
		if dr.closing {
			break
		}
		stopC := stop
		if stopping {
			stopC = nil
		}
		timer.Reset(max(0, next.Sub(now)))
		select {
		case r := <-dr.results:
			dr.took(ctx, r)
		case f := <-dr.answers:
			dr.asking--
			f()
		case <-dr.wake:
		case <-timer.C:
		case <-stopC:
		case <-right:
			right = nil
		}
		dr.gather(ctx)
	}
	dr.close(ctx)
}

// gather takes what else has come meanwhile, so that one step answers all of it.
func (dr *drain) gather(ctx context.Context) {
	for {
		select {
		case r := <-dr.results:
			dr.took(ctx, r)
		case f := <-dr.answers:
			dr.asking--
			f()
		default:
			return
		}
	}
}

// step does all that can be done now and says when there is more to do if nothing happens meanwhile.
func (dr *drain) step(ctx context.Context, now time.Time, stopping bool) time.Time {
	dr.setBack(steppedBack(dr.stepped, now), now)
	dr.stepped = now
	if dr.told.Swap(false) {
		dr.look = true
		dr.news.came(now)
	}
	if dr.d.cfg.Unrecorded() > 0 {
		dr.d.unavailable(errUnrecorded)
	}
	hold := dr.hold(now, stopping)
	if hold == "" && !dr.d.gate.down.Load() {
		dr.start(ctx, now)
		dr.ask(ctx, now)
		dr.news.claims(dr.claims)
	} else {
		dr.news = news{} // a hold ends with a look
		dr.starved = false
		if hold != "" {
			dr.giveBack(ctx, now)
		}
	}
	dr.settle(ctx)
	if dr.flying == 0 && dr.turns.buffered() == 0 && dr.parked == nil {
		dr.share.idle()
	}
	dr.refresh(ctx, now)
	dr.save(ctx, now)
	return dr.next(now, hold)
}

// hold says why nothing may be sent for longer than it is right to keep messages from others; empty if it may. What
// the relay's row says to everybody else (NotBefore, Pause) follows from it.
func (dr *drain) hold(now time.Time, stopping bool) string {
	switch {
	case !dr.held():
		return "another node may have taken over"
	case dr.leaving(now):
		return "another node takes over"
	case stopping:
		return "this node is being stopped"
	case dr.gone:
		return "the relay was deleted"
	case dr.pausing || dr.relay.Pause.Kind != store.PauseNone && !dr.probe:
		return "the relay is paused"
	case dr.d.crowded.Load() && now.Sub(dr.began) > turnOfRelay:
		return "other relays wait for their turn"
	case now.Before(dr.heldUntil):
		return dr.heldWhy
	case dr.circuit.open() && dr.circuit.pass(now, 1) == 0 && !dr.circuit.probing:
		return "the relay cannot be reached"
	case now.Before(dr.trouble):
		return "the store is in trouble"
	}
	return ""
}

// held says whether the relay is still this node's. Other goroutines ask too.
func (dr *drain) held() bool {
	return !dr.lost.Load() && !isClosed(dr.right) && dr.d.cfg.Locks.Held()
}

// leaving says whether the drain ends so that another node can take the relay. While messages that are being sent hold that up for long it goes on,
// since the others would wait for them.
func (dr *drain) leaving(now time.Time) bool {
	until := dr.leave.Load()
	if until != 0 && now.UnixMilli() > until && dr.flying > 0 {
		dr.since.Store(now.UnixMilli())
		dr.leave.Store(0)
		return false
	}
	return until != 0
}

// isClosed says whether a channel is closed; nobody sends on it.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// next says when the next step is due, and tells the dispatcher when this drain ends.
func (dr *drain) next(now time.Time, hold string) time.Time {
	busy := dr.flying+dr.recording+dr.claims+dr.turns.buffered()+dr.parkedLen() > 0 || dr.looking || dr.pausing
	at := now.Add(refreshEvery)
	soonest := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	if busy || dr.look && hold == "" {
		dr.idleFrom = time.Time{}
	} else if dr.idleFrom.IsZero() {
		dr.idleFrom = now
	}
	linger := dr.d.cfg.Linger
	if dr.d.crowded.Load() {
		linger = 0
	}
	ending := dr.ending(now, hold)
	if !busy && dr.asking == 0 && (ending || !dr.idleFrom.IsZero() && now.Sub(dr.idleFrom) >= linger) {
		dr.closing = dr.d.closes(dr, ending)
		if !dr.closing {
			return now // messages were announced this moment
		}
	}
	if !dr.idleFrom.IsZero() {
		soonest(dr.idleFrom.Add(linger))
	}
	if dr.look && !dr.looking && hold == "" && !dr.d.gate.down.Load() { // it wakes us when it opens
		soonest(dr.lookAgain)
		if at := dr.news.askAt(dr.looked, dr.lookTook); !at.IsZero() {
			soonest(at)
		}
	}
	if hold != "" {
		for _, t := range []time.Time{dr.heldUntil, dr.circuit.until, dr.trouble, dr.backAt} {
			if t.After(now) {
				soonest(t)
			}
		}
		return at
	}
	if dr.turns.buffered() > 0 || dr.parked != nil || dr.turns.dueAny() {
		if t, _ := dr.earliest(now); t.After(now) {
			soonest(t)
		}
	}
	return at
}

// ending says that there is nothing to wait for: who may go on later begins anew.
func (dr *drain) ending(now time.Time, hold string) bool {
	return hold != "" && !now.Before(dr.trouble) && !now.Before(dr.heldUntil) && (!dr.circuit.open() || dr.d.stopping()) ||
		!dr.held() || dr.leave.Load() != 0 || dr.gone || dr.d.stopping()
}

// askBeside asks the store something beside the drain's goroutine, which then runs what it returns.
func (dr *drain) askBeside(ctx context.Context, ask func(ctx context.Context) func()) {
	dr.asking++
	dr.beside.Go(func() {
		// What is asked is known to be needed: a stop does not cut it off in the middle.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWait)
		defer cancel()
		dr.answers <- ask(ctx)
	})
}

// failed takes an error of the store: what of it shuts the gate, and what only keeps this drain away for a moment.
func (dr *drain) failed(what string, err error) {
	if err == nil {
		return
	}
	if errors.Is(err, store.ErrNotFound) {
		dr.gone = true
		return
	}
	if errors.Is(err, store.ErrNotMine) {
		dr.lost.Store(true)
		dr.log.Warn("another node has taken the relay over", "noticed_when", what)
		return
	}
	if errors.Is(err, store.ErrUnavailable) {
		dr.d.unavailable(err)
		return
	}
	dr.trouble = dr.d.cfg.Now().Add(troubleWait)
	dr.log.Error("the store failed; trying again in a second", "doing", what, "error", err)
}

var errUnrecorded = errors.New("what came of messages cannot be recorded")

// random is in [0,1).
func random() float64 { return rand.Float64() }
