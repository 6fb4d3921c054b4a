package dispatch

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/store"
)

// longHold is from when on a wait for a limit is written to the relay's row, where everybody can see it, and messages are
// not kept in hand for it.
const longHold = 5 * time.Second

// slots is how many messages may be sent at the same time now.
func (dr *drain) slots(now time.Time) int {
	n := dr.slow.slots(now)
	if dr.probe {
		n = 1
	}
	return n
}

// earliest says when the next message may start, and what holds it until then.
func (dr *drain) earliest(now time.Time) (at time.Time, why string) {
	recipients := 1
	if dr.parked != nil {
		recipients = len(dr.parked.Recipients)
	}
	at, why = dr.limits.startAt(now, recipients)
	if t := dr.lastStart.Add(dr.slow.gap(now)); t.After(at) {
		at, why = t, "the relay asked us to slow down"
	}
	return at, why
}

// start starts as many messages as may be.
func (dr *drain) start(ctx context.Context, now time.Time) {
	dr.starved = false
	for dr.flying < dr.slots(now) && dr.recording < maxRecording && !dr.news.full() && dr.turns.buffered()+dr.parkedLen() > 0 && dr.circuit.pass(now, 1) > 0 {
		if at, why := dr.earliest(now); at.After(now) {
			if at.Sub(now) >= longHold {
				dr.holdUntil(at, why)
			}
			return
		}
		if !dr.held() {
			return // the next step gives back what is left
		}
		if !dr.share.take() {
			dr.starved = true
			return
		}
		m := dr.parked
		if dr.parked = nil; m == nil {
			next, _ := dr.turns.next()
			m = &next
		}
		// Only now it is known to how many it goes.
		recipients := len(m.Recipients)
		if at, _ := dr.limits.startAt(now, recipients); at.After(now) || !dr.limits.reserved(recipients) {
			dr.parked = m
			dr.share.give(1)
			if !at.After(now) {
				dr.unsaved = true // it starts as soon as the saved state covers it
				return
			}
			continue
		}
		dr.limits.start(now, recipients)
		dr.circuit.start()
		dr.lastStart = now
		dr.flying++
		dr.news.started()
		lane := dr.lane
		dr.beside.Go(func() {
			told := false
			over := func(v delivery.Verdict) {
				told = true
				dr.results <- result{started: now, recipients: recipients, verdict: v}
			}
			v, err := lane.Deliver(ctx, *m, over)
			if !told {
				over(v)
			}
			dr.results <- result{recorded: true, err: err}
		})
	}
	if dr.limits.low() {
		dr.unsaved = true
	}
}

// holdUntil holds the relay for a time that is worth telling.
func (dr *drain) holdUntil(at time.Time, why string) {
	dr.heldUntil, dr.heldWhy = at, why
	dr.unsaved = true
}

func (dr *drain) parkedLen() int {
	if dr.parked != nil {
		return 1
	}
	return 0
}

// took takes what a message came to.
func (dr *drain) took(ctx context.Context, r result) {
	if r.recorded {
		dr.recording--
		if r.err != nil && !errors.Is(r.err, store.ErrNotMine) {
			dr.d.unavailable(r.err)
		}
		return
	}
	now, v := dr.d.cfg.Now(), r.verdict
	dr.flying--
	dr.recording++
	dr.share.give(1)
	dr.pace.ended(now)
	// A relay that refuses the password has been dialled, but has not seen the message.
	dr.limits.done(now, r.recipients, !v.Released && !v.RelayDown && !v.Kept)
	answered := v.AuthRefused || v.ConfigRefused
	switch {
	case v.Kept || v.Released && !answered:
		dr.circuit.untried()
	case dr.circuit.done(now, r.started, v.RelayDown, random()):
		dr.unsaved = true
		if dr.circuit.open() {
			dr.downWhy = "the relay cannot be reached: " + v.Reason
			dr.log.Warn("the relay cannot be reached; its messages wait", "until", dr.circuit.until, "reason", v.Reason)
			dr.d.unreached(dr, dr.circuit.until)
		} else {
			dr.downWhy = ""
			dr.log.Info("the relay can be reached again")
		}
	}
	if v.RelayDown {
		dr.unsaved = true
	}
	if until := now.Add(v.RetryAfter); until.After(now) && until.After(dr.heldUntil) {
		// Its connections are not even tried before: messages would come back untried, one after the other.
		dr.heldUntil, dr.heldWhy = until, cmp.Or(dr.downWhy, "the relay could not be reached a moment ago")
	}
	if v.SlowDown && dr.slow.slow(now, r.started) {
		dr.unsaved = true
		dr.log.Info("the relay asked us to slow down", "level", dr.slow.now(now), "reason", v.Reason)
	}
	switch {
	case v.AuthRefused:
		dr.pauseAuth(ctx, now, v.Reason)
	case v.ConfigRefused && !dr.heldUntil.After(now.Add(configWait/2)):
		dr.holdUntil(now.Add(configWait), "the relay's settings do not work: "+v.Reason)
		dr.log.Error("the relay's settings do not work; its messages wait", "until", dr.heldUntil, "reason", v.Reason)
	}
	if dr.probe && !v.AuthRefused && !v.Kept { // one that was kept has tried nothing: the next one does
		if v.Released || v.RelayDown {
			dr.pauseAuth(ctx, now, dr.relay.Pause.Reason) // it could not be tried; the next probe will
		} else {
			dr.resumeAuth(ctx)
		}
	}
	if v.Deferred+v.Unknown > 0 || v.Released {
		dr.d.deferred()
	}
}

// ask asks the store whose messages are due, and claims for those who are in turn.
func (dr *drain) ask(ctx context.Context, now time.Time) {
	idle := dr.turns.buffered() == 0 && !dr.turns.dueAny()
	if dr.look && !dr.looking && (idle || dr.urgent(now) || !now.Before(dr.lookAgain)) {
		dr.look, dr.looking = false, true
		dr.news.ask()
		dr.askBeside(ctx, func(ctx context.Context) func() {
			due, err := dr.d.cfg.Store.DueTenants(ctx, dr.id, now)
			end := dr.d.cfg.Now()
			return func() {
				// Where there are very many tenants the question takes long: it may not take most of the time.
				dr.looked, dr.lookTook = end, end.Sub(now)
				dr.lookAgain = end.Add(max(lookEvery, lookShare*dr.lookTook))
				dr.seen(due, err)
			}
		})
	}
	if !dr.turns.dueAny() {
		return
	}
	if at, why := dr.earliest(now); at.Sub(now) >= longHold {
		dr.holdUntil(at, why)
		return
	}
	target := dr.target(now)
	for dr.claims < maxClaims || dr.claims < 2*maxClaims && dr.turns.fresh > 0 { // who comes new does not wait for others' claims
		k, limit, ok := dr.turns.plan(target)
		if !ok {
			return
		}
		dr.claims++
		dr.askBeside(ctx, func(ctx context.Context) func() {
			req := store.ClaimRequest{
				Relay: dr.id, Tenant: k.tenant, Class: store.Class(k.class), Limit: limit, Node: dr.d.cfg.Node, Now: dr.d.cfg.Now(),
			}
			got, err := dr.d.cfg.Store.Claim(ctx, req)
			if err != nil {
				dr.d.doubts.add(req, dr.d.cfg.Now())
			}
			return func() { dr.claimed(k, limit, got, err) }
		})
		if dr.single() {
			return
		}
	}
}

// urgent says that the store must be asked now, since something was announced.
func (dr *drain) urgent(now time.Time) bool {
	at := dr.news.askAt(dr.looked, dr.lookTook)
	return !at.IsZero() && !now.Before(at)
}

// single says that one message at a time is to be sent: a probe.
func (dr *drain) single() bool { return dr.probe || dr.circuit.single() }

// target is how many messages should be claimed and wait for their turn.
func (dr *drain) target(now time.Time) int {
	if dr.single() {
		if dr.flying+dr.turns.buffered()+dr.parkedLen()+dr.claims > 0 {
			return 0
		}
		return 1
	}
	slots := dr.slots(now)
	if dr.starved {
		slots = min(slots, dr.flying+1)
	}
	target := dr.limits.room(now, horizon, dr.pace.ahead(slots))
	if at, _ := dr.earliest(now); at.Sub(now) >= horizon {
		target = 0
	}
	return target
}

// seen takes the answer to whose messages are due.
func (dr *drain) seen(due []store.DueTenant, err error) {
	dr.looking = false
	if err != nil {
		dr.look, dr.news = true, news{}
		dr.failed("looking for messages that are due", err)
		return
	}
	keys := make([]flowKey, 0, len(due))
	for _, t := range due {
		keys = append(keys, flowKey{tenant: t.Tenant, class: min(int(t.Class), classes-1)})
	}
	dr.turns.seen(keys)
	dr.news.answered(dr.look || dr.told.Load())
	if len(due) == 0 {
		dr.turns.forget()
		dr.d.deferred() // what was announced may be for later
	}
}

// claimed takes the messages that were claimed.
func (dr *drain) claimed(k flowKey, limit int, got []store.Claimed, err error) {
	dr.claims--
	dr.news.claimed()
	dr.turns.claimed(k, limit, len(got))
	if !dr.turns.dueAny() {
		dr.d.deferred() // what is due next may have stood behind these
	}
	if err != nil {
		dr.look = true
		dr.failed("claiming messages", err)
	}
	for _, m := range got {
		dr.turns.push(k, m, len(m.Recipients))
		dr.pace.claimed(len(m.Content) + 1024) // rows, envelope and bookkeeping besides
	}
}

// giveBack returns what is claimed and was not started. What cannot be returned is tried again with each look.
func (dr *drain) giveBack(ctx context.Context, now time.Time) {
	if now.Before(dr.backAt) && ctx.Err() == nil {
		return // the store could not take them a moment ago
	}
	back := dr.turns.drain()
	if dr.parked != nil {
		back = append(back, *dr.parked)
		dr.parked = nil
	}
	dr.look = true // once it may send again
	if len(back) == 0 || now.Before(dr.backAt) {
		return // at the end of a stop whoever has the relay next settles them
	}
	dr.askBeside(ctx, func(ctx context.Context) func() {
		kept, err := dr.d.release(ctx, back)
		return func() {
			if err != nil {
				dr.failed("giving back messages that were claimed", err)
				dr.backAt = dr.d.cfg.Now().Add(troubleWait)
			}
			// They are never sent from here again: the store may have taken them although it did not say so, and given them out a second time.
			dr.d.strays.add(kept)
		}
	})
}

// release makes messages due again, with no attempt counted, and returns those for which that failed.
func (d *Dispatcher) release(ctx context.Context, back []store.Claimed) (kept []store.Claimed, err error) {
	errs := make([]error, len(back))
	each(8, len(back), func(i int) {
		errs[i] = d.cfg.Store.Record(ctx, store.Outcome{Node: d.cfg.Node, MessageID: back[i].MessageID, TenantID: back[i].TenantID, Release: true, ClaimedAt: back[i].ClaimedAt})
	})
	for i, e := range errs {
		if e != nil && !errors.Is(e, store.ErrNotMine) {
			kept, err = append(kept, back[i]), e
		}
	}
	return kept, err
}
