package dispatch

import (
	"context"
	"encoding/json"
	"time"

	"github.com/postrider/postrider/internal/store"
)

const (
	// probeEvery is how often a relay that refused the password is tried again: more often could lock the account.
	probeEvery = time.Hour
	// configWait is how long a relay is left alone whose settings do not work, unless they are changed.
	configWait = 5 * time.Minute
	// closeWait bounds how long the end of a drain waits for connections to say goodbye.
	closeWait = 10 * time.Second
)

// open takes the relay, settles what others left there, and begins where the last one ended. It says whether there is anything
// to drain.
func (dr *drain) open(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	s := dr.d.cfg.Store
	dr.right = dr.d.cfg.Locks.Lost()
	ok, err := dr.d.cfg.Locks.TryLock(ctx, dr.id)
	if err != nil && dr.held() {
		dr.failed("taking the relay", err) // else the session is lost, and everybody knows
	}
	if err != nil || !ok {
		dr.foreign = err == nil
		return false
	}
	// First, for from here on the node before us can save nothing: what it saved until then is what it may have sent.
	due, unknown, err := s.ResolveClaims(ctx, dr.id, dr.d.cfg.Node)
	if err != nil {
		dr.failed("settling messages that a node before us held", err)
		dr.unlock(ctx)
		return false
	}
	if due+unknown > 0 {
		dr.d.count(func(c *counts) { c.takeOvers++ })
		dr.log.Warn("settled messages that a node before us held", "due_again", due, "unknown", unknown)
	}
	if err := dr.load(ctx); err != nil {
		dr.failed("taking the relay", err)
		dr.unlock(ctx)
		return false
	}
	if dr.relay.Pause.Kind != store.PauseNone && (!dr.probe || dr.relay.Pause.Kind != store.PauseAuth) {
		dr.unlock(ctx)
		return false
	}
	dr.probe = dr.relay.Pause.Kind == store.PauseAuth
	dr.openLane(ctx)
	return true
}

// load reads the relay's row and goes on from its state.
func (dr *drain) load(ctx context.Context) error {
	relay, err := dr.d.cfg.Store.DeliveryRelay(ctx, dr.id)
	if err != nil {
		return err
	}
	now := dr.d.cfg.Now()
	dr.relay, dr.refreshed, dr.began = relay, now, now
	dr.log = dr.d.cfg.Logger.With("relay", dr.id, "host", relay.Host)
	dr.limits = newLimits(dr.settings())
	dr.limits.load(now, parseState[limitsState](relay.State.Counters))
	dr.slow.set(dr.settings().conns)
	dr.slow.load(now, relay.State.Window)
	dr.circuit.load(relay.State.Failures, relay.State.NotBefore)
	dr.downWhy = relay.State.Reason
	return nil
}

// settings are the relay's limits with what 0 means.
func (dr *drain) settings() relayLimits {
	l := relayLimits{
		conns:             dr.relay.Limits.MaxConns,
		messagesPerMinute: dr.relay.Limits.MessagesPerMinute,
		recipientsPerDay:  dr.relay.Limits.RecipientsPerDay,
	}
	if l.conns <= 0 {
		l.conns = dr.d.cfg.DefaultConns
	}
	return l
}

// openLane opens the lane, or makes it use the relay's present settings.
func (dr *drain) openLane(ctx context.Context) {
	row := dr.relay
	row.Limits.MaxConns = dr.settings().conns
	dr.lane = dr.d.cfg.Lane(ctx, row, dr.held)
}

// refresh reads the relay's row again from time to time.
func (dr *drain) refresh(ctx context.Context, now time.Time) {
	if dr.reading || dr.gone || dr.lost.Load() || now.Sub(dr.refreshed) < refreshEvery {
		return
	}
	dr.reading, dr.refreshed = true, now
	dr.askBeside(ctx, func(ctx context.Context) func() {
		relay, err := dr.d.cfg.Store.DeliveryRelay(ctx, dr.id)
		return func() {
			dr.reading = false
			if err != nil {
				dr.failed("reading the relay's settings", err)
				return
			}
			dr.changed(ctx, relay)
		}
	})
}

// changed takes the relay's row as it is now.
func (dr *drain) changed(ctx context.Context, relay store.DeliveryRelay) {
	if dr.pausing {
		return // it was read before the pause was written, or after: it is read again
	}
	before := dr.relay
	dr.relay = relay
	if relay.Pause.Kind != store.PauseAuth {
		dr.probe = false
	}
	if before.Pause.Kind != store.PauseNone && relay.Pause.Kind == store.PauseNone {
		dr.look = true
	}
	set := dr.settings()
	dr.limits.set(set)
	dr.slow.set(set.conns)
	dr.openLane(ctx) // it keeps its connections if nothing changed that they depend on
	if relay.UpdatedAt.Equal(before.UpdatedAt) {
		return
	}
	// What was learnt with the old settings no longer counts.
	dr.circuit, dr.heldUntil, dr.downWhy = circuit{}, time.Time{}, ""
	dr.look, dr.unsaved = true, true
}

// state is what is saved of the drain. last: nothing will be started before it is saved again.
func (dr *drain) state(now time.Time, last bool) store.RelayState {
	s := store.RelayState{Failures: dr.circuit.failures, Window: dr.slow.save(now)}
	switch {
	case dr.relay.Pause.Kind == store.PauseAuth: // the time of the probe stands with the pause
		s.Reason = dr.relay.Pause.Reason
	case dr.circuit.open():
		s.NotBefore, s.Reason = dr.circuit.until, dr.downWhy
	case dr.heldUntil.After(now):
		s.NotBefore, s.Reason = dr.heldUntil, dr.heldWhy
	case dr.slow.slowed(now):
		s.Reason = "the relay asked us to slow down"
	}
	if !dr.limits.none() {
		recipients := 1
		if dr.parked != nil {
			recipients = len(dr.parked.Recipients)
		}
		// Two numbers and lists of numbers: it cannot fail.
		s.Counters, _ = json.Marshal(dr.limits.save(now, recipients, last))
	}
	return s
}

// save writes the state if it has changed.
func (dr *drain) save(ctx context.Context, now time.Time) {
	if !dr.unsaved || dr.saving || dr.gone || dr.lost.Load() || now.Before(dr.trouble) || dr.d.gate.down.Load() {
		return
	}
	dr.unsaved, dr.saving = false, true
	state := dr.state(now, false)
	dr.askBeside(ctx, func(ctx context.Context) func() {
		err := dr.d.cfg.Store.SaveRelayState(ctx, dr.id, state, dr.d.cfg.Node)
		return func() {
			dr.saving = false
			if err != nil {
				dr.unsaved = true
				dr.failed("saving what the relay was sent", err)
				return
			}
			dr.limits.saved()
		}
	})
}

// write writes the state at the end, and waits for it.
func (dr *drain) write(ctx context.Context, last bool) {
	if dr.gone || dr.lost.Load() {
		return
	}
	state := dr.state(dr.d.cfg.Now(), last)
	if !state.NotBefore.IsZero() {
		// If somebody has changed the relay this moment, what held it was the old settings'.
		if row, err := dr.d.cfg.Store.DeliveryRelay(ctx, dr.id); err == nil && !row.UpdatedAt.Equal(dr.relay.UpdatedAt) {
			state = store.RelayState{Counters: state.Counters}
		}
	}
	if err := dr.d.cfg.Store.SaveRelayState(ctx, dr.id, state, dr.d.cfg.Node); err != nil {
		dr.log.Error("what the relay was sent could not be saved; its limits count the reserve as used", "error", err)
	}
}

// closeLane ends the relay's connections.
func (dr *drain) closeLane(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	if err := dr.lane.Close(ctx); err != nil {
		dr.log.Warn("connections were cut off while they ended", "error", err)
	}
}

func (dr *drain) unlock(ctx context.Context) {
	if isClosed(dr.right) {
		return // the session that had it is gone
	}
	if err := dr.d.cfg.Locks.Unlock(ctx, dr.id); err != nil {
		dr.log.Warn("the relay could not be given back", "error", err)
	}
}

// close ends the drain: connections first, so that the next one does not add to them.
func (dr *drain) close(ctx context.Context) {
	dr.beside.Wait()
	dr.share.idle()
	dr.closeLane(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWait)
	defer cancel()
	dr.write(ctx, true)
	dr.unlock(ctx)
	dr.d.ends(dr)
}

// settle settles what other nodes have claimed since the relay is ours: a claim that was under way when they lost the relay, of which they may
// never have heard.
func (dr *drain) settle(ctx context.Context) {
	if dr.settling || !dr.unsettled.Swap(false) || !dr.held() {
		return
	}
	dr.settling = true
	dr.askBeside(ctx, func(ctx context.Context) func() {
		due, unknown, err := dr.d.cfg.Store.ResolveClaims(ctx, dr.id, dr.d.cfg.Node)
		return func() {
			dr.settling = false
			dr.failed("settling messages that a node before us held", err)
			if due+unknown > 0 {
				dr.look = true
				dr.log.Warn("settled messages that a node before us held", "due_again", due, "unknown", unknown)
			}
		}
	})
}

// pauseAuth pauses the relay because it refused the password. Its messages wait, with no attempt counted.
func (dr *drain) pauseAuth(ctx context.Context, now time.Time, reason string) {
	if dr.pausing || dr.relay.Pause.Kind == store.PauseAuth && !dr.probe {
		return // the other messages under way were refused likewise
	}
	dr.pausing = true
	probeAt := now.Add(probeEvery)
	dr.askBeside(ctx, func(ctx context.Context) func() {
		err := dr.d.cfg.Store.PauseAuth(ctx, dr.id, reason, probeAt)
		return func() {
			dr.pausing = false
			if err != nil {
				dr.failed("pausing the relay, which refused the password", err)
			}
			if !dr.probe {
				dr.log.Warn("the relay refused the password and is paused", "reason", reason, "probe_in", probeEvery)
			}
			dr.probe = false
			dr.relay.Pause = store.Pause{Kind: store.PauseAuth, Reason: reason, At: now}
		}
	})
}

// resumeAuth ends the pause: the password was accepted.
func (dr *drain) resumeAuth(ctx context.Context) {
	if dr.pausing {
		return
	}
	dr.pausing = true
	dr.askBeside(ctx, func(ctx context.Context) func() {
		err := dr.d.cfg.Store.ResumeAuth(ctx, dr.id)
		return func() {
			dr.pausing = false
			if err != nil {
				dr.failed("resuming the relay", err)
				return
			}
			dr.log.Info("the relay accepts the password again and is resumed")
			dr.probe, dr.look = false, true
			dr.relay.Pause = store.Pause{}
		}
	})
}
