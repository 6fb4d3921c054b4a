package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// modelRecipient is what the model knows of a recipient.
type modelRecipient struct {
	state store.RecipientState
	again bool
}

func (r modelRecipient) open() bool {
	return r.state == store.Queued || r.state == store.Deferred || r.again
}

// modelMessage is a message as the rules of the spool have it.
type modelMessage struct {
	id            uuid.UUID
	hold          bool
	recipients    []modelRecipient
	due           time.Time
	attempts      int
	claim         *store.Claimed // the claim that stands
	marked        bool
	unknownBefore bool
}

func (m *modelMessage) open() bool { return slices.ContainsFunc(m.recipients, modelRecipient.open) }

// spoolModel runs the spool beside a model that is a plain list.
type spoolModel struct {
	t        *rapid.T
	test     *testing.T
	w        *world
	messages []*modelMessage
	// old are claims that no longer stand, with the node that had them.
	old []oldClaim
}

type oldClaim struct {
	m     *modelMessage
	claim store.Claimed
	node  uuid.UUID
}

// TestSpoolModel does things to the spool in any order, and compares all of it with the model after each.
func TestSpoolModel(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		round := 0
		rapid.Check(t, func(rt *rapid.T) {
			round++ // a tenant of its own: what rounds before left is not seen
			fresh := *w
			tenant, admin := newTenant(t, w.Store, fmt.Sprintf("round-%d", round))
			fresh.tenant, fresh.user, fresh.relay, fresh.node = tenant, admin.ID, newRelay(t, tenant, "main"), store.NewID()
			m := &spoolModel{t: rt, test: t, w: &fresh}
			rt.Repeat(map[string]func(*rapid.T){
				"":           m.check,
				"accept":     m.accept,
				"claim":      m.claim,
				"record":     m.record,
				"mark":       m.mark,
				"late":       m.late,
				"release":    m.release,
				"crash":      m.crash,
				"cancel":     m.cancel,
				"retry":      m.retry,
				"reschedule": m.reschedule,
				"time": func(rt *rapid.T) {
					fresh.clock.pass(time.Duration(rapid.IntRange(1, 600).Draw(rt, "seconds")) * time.Second)
				},
			})
		})
	})
}

func (m *spoolModel) must(err error) {
	if err != nil {
		m.t.Fatal(err)
	}
}

// pick draws one of the messages that match; it skips the action if there is none.
func (m *spoolModel) pick(rt *rapid.T, match func(*modelMessage) bool) *modelMessage {
	var list []*modelMessage
	for _, x := range m.messages {
		if match(x) {
			list = append(list, x)
		}
	}
	if len(list) == 0 {
		rt.Skip("none")
	}
	return rapid.SampledFrom(list).Draw(rt, "message")
}

func any1(*modelMessage) bool        { return true }
func claimed(x *modelMessage) bool   { return x.claim != nil }
func unclaimed(x *modelMessage) bool { return x.claim == nil }

func (m *spoolModel) accept(rt *rapid.T) {
	n := rapid.IntRange(1, 3).Draw(rt, "recipients")
	msg := m.w.message([]string{"a@example.net", "b@example.net", "c@example.net"}[:n]...)
	x := &modelMessage{id: msg.ID, hold: rapid.Bool().Draw(rt, "hold"), due: m.w.clock.now()}
	if x.hold {
		msg.OnUnknown = store.OnUnknownHold
	}
	if rapid.Bool().Draw(rt, "scheduled") {
		msg.SendAt = x.due.Add(time.Minute)
		x.due = msg.SendAt
	}
	for i := range n {
		state := store.Queued
		if rapid.IntRange(0, 4).Draw(rt, "suppressed") == 0 {
			state = store.Suppressed
		}
		msg.Recipients[i].State = state
		x.recipients = append(x.recipients, modelRecipient{state: state})
	}
	_, err := m.w.tenant.Accept(m.test.Context(), []store.NewMessage{msg}, nil)
	m.must(err)
	m.messages = append(m.messages, x)
}

func (m *spoolModel) claim(rt *rapid.T) {
	limit := rapid.IntRange(1, 3).Draw(rt, "limit")
	now := m.w.clock.now()
	var want []*modelMessage
	for _, x := range m.messages {
		if x.open() && x.claim == nil && !x.due.After(now) {
			want = append(want, x)
		}
	}
	slices.SortStableFunc(want, func(a, b *modelMessage) int { return a.due.Compare(b.due) })
	got, err := m.w.Claim(m.test.Context(), store.ClaimRequest{Relay: m.w.relay.ID, Tenant: m.w.tenant.ID(), Limit: limit, Node: m.w.node, Now: now})
	m.must(err)
	if len(got) != min(limit, len(want)) {
		rt.Fatalf("%d claimed, want %d of %d", len(got), limit, len(want))
	}
	for _, c := range got {
		i := slices.IndexFunc(want, func(x *modelMessage) bool { return x.id == c.MessageID })
		if i < 0 || len(want) > limit && want[i].due.After(want[limit-1].due) {
			rt.Fatalf("claimed %v, which waits less long", c.MessageID)
		}
		x := want[i]
		if c.Attempt != x.attempts+1 || c.UnknownBefore != x.unknownBefore {
			rt.Fatalf("claim %+v of %+v", c, x)
		}
		open := 0
		for k, r := range x.recipients {
			if r.open() {
				if open >= len(c.Recipients) || c.Recipients[open].N != k+1 || c.Recipients[open].State != r.state {
					rt.Fatalf("recipients %+v of %+v", c.Recipients, x)
				}
				open++
			}
		}
		if open != len(c.Recipients) {
			rt.Fatalf("recipients %+v of %+v", c.Recipients, x)
		}
		x.claim, x.marked = &c, false
	}
}

func (m *spoolModel) drop(x *modelMessage) {
	m.old = append(m.old, oldClaim{x, *x.claim, m.w.node})
	x.claim = nil
}

func (m *spoolModel) record(rt *rapid.T) {
	x := m.pick(rt, claimed)
	o := m.w.outcome(*x.claim, store.Sent)
	finish := rapid.Bool().Draw(rt, "finish")
	if !finish {
		o.NextDue = m.w.clock.now().Add(time.Minute)
	}
	for i := range o.Recipients {
		r := &o.Recipients[i]
		r.State = rapid.SampledFrom([]store.RecipientState{store.Sent, store.Deferred, store.Failed, store.Unknown}).Draw(rt, "state")
		r.Again = r.State == store.Unknown && !x.hold && !x.unknownBefore
		mr := &x.recipients[r.N-1]
		mr.state, mr.again = r.State, r.Again && !finish
		if finish && r.State == store.Deferred {
			mr.state = store.Failed
		}
		x.unknownBefore = x.unknownBefore || r.State == store.Unknown
	}
	m.must(m.w.Record(m.test.Context(), o))
	x.attempts++
	x.due = o.NextDue
	m.drop(x)
}

func (m *spoolModel) mark(rt *rapid.T) {
	x := m.pick(rt, any1)
	err := m.w.Mark(m.test.Context(), m.w.node, m.w.tenant.ID(), x.id)
	if mine := x.claim != nil; mine != (err == nil) || !mine && !errors.Is(err, store.ErrNotMine) {
		rt.Fatalf("mark: %v", err)
	}
	x.marked = x.claim != nil
}

// late records a result of a claim that no longer stands.
func (m *spoolModel) late(rt *rapid.T) {
	if len(m.old) == 0 {
		rt.Skip("none")
	}
	old := rapid.SampledFrom(m.old).Draw(rt, "old")
	if old.m.claim != nil && old.m.claim.Attempt == old.claim.Attempt && old.node == m.w.node {
		rt.Skip("the same attempt was claimed again by the same node: its claims cannot be told apart, and it never has two")
	}
	sent := rapid.Bool().Draw(rt, "sent")
	state := store.Failed
	if sent {
		state = store.Sent
	}
	o := m.w.outcome(old.claim, state)
	o.Node = old.node
	changes := false
	for _, r := range o.Recipients {
		mr := &old.m.recipients[r.N-1]
		if sent && mr.state != store.Sent {
			changes = true
			mr.state, mr.again = store.Sent, false
		}
	}
	err := m.w.Record(m.test.Context(), o)
	if changes != (err == nil) || !changes && !errors.Is(err, store.ErrNotMine) {
		rt.Fatalf("late result: %v, changes %v", err, changes)
	}
	if changes && old.m.claim != nil && !old.m.open() {
		m.drop(old.m)
	}
}

func (m *spoolModel) release(rt *rapid.T) {
	x := m.pick(rt, claimed)
	due := m.w.clock.now().Add(time.Duration(rapid.IntRange(0, 60).Draw(rt, "seconds")) * time.Second)
	m.must(m.w.Record(m.test.Context(), store.Outcome{Node: m.w.node, TenantID: m.w.tenant.ID(), MessageID: x.id, Release: true, NextDue: due}))
	x.due = due
	m.drop(x)
}

// crash ends the node; another takes its relay.
func (m *spoolModel) crash(*rapid.T) {
	now := m.w.clock.now()
	for _, x := range m.messages {
		if x.claim == nil {
			continue
		}
		switch {
		case !x.marked:
			x.due = now
			x.unknownBefore = x.unknownBefore || !x.hold
		default:
			further := !x.hold && !x.unknownBefore
			for i := range x.recipients {
				if x.recipients[i].open() {
					x.recipients[i] = modelRecipient{store.Unknown, further}
				}
			}
			x.unknownBefore = true
			x.attempts++
			x.due = now.Add(10 * time.Minute)
		}
		m.drop(x)
	}
	m.w.node = store.NewID()
	_, _, err := m.w.ResolveClaims(m.test.Context(), m.w.relay.ID, m.w.node)
	m.must(err)
}

// expect says that err is what the message's state calls for, and whether the change was made.
func (m *spoolModel) expect(err error, x *modelMessage, possible bool) bool {
	want := error(nil)
	switch {
	case x.claim != nil:
		want = store.ErrClaimed
	case !possible:
		want = store.ErrFinished
	}
	if !errors.Is(err, want) {
		m.t.Fatalf("%v, want %v", err, want)
	}
	return err == nil
}

func (m *spoolModel) cancel(rt *rapid.T) {
	x := m.pick(rt, any1)
	if m.expect(m.w.tenant.Cancel(m.test.Context(), x.id, by()), x, x.open()) {
		for i, r := range x.recipients {
			switch {
			case r.again:
				x.recipients[i] = modelRecipient{state: store.Unknown}
			case r.open():
				x.recipients[i] = modelRecipient{state: store.Canceled}
			}
		}
	}
}

func (m *spoolModel) retry(rt *rapid.T) {
	x := m.pick(rt, any1)
	was := x.open()
	possible := was || slices.ContainsFunc(x.recipients, func(r modelRecipient) bool { return r.state == store.Failed || r.state == store.Unknown })
	if !m.expect(m.w.tenant.Retry(m.test.Context(), x.id, by()), x, possible) {
		return
	}
	waits := false
	for i, r := range x.recipients {
		if !r.again && (r.state == store.Failed || r.state == store.Unknown) {
			x.recipients[i].state = store.Queued
		}
		waits = waits || r.again
	}
	if !was {
		x.unknownBefore = false
	}
	if !was || !waits {
		x.due = m.w.clock.now()
	}
}

func (m *spoolModel) reschedule(rt *rapid.T) {
	x := m.pick(rt, unclaimed)
	at := m.w.clock.now().Add(time.Duration(rapid.IntRange(0, 900).Draw(rt, "seconds")) * time.Second)
	if m.expect(m.w.tenant.Reschedule(m.test.Context(), x.id, at, by()), x, x.open()) {
		if x.unknownBefore && at.Before(x.due) {
			at = x.due
		}
		x.due = at
	}
}

// check compares everything with the model, after every fourth action or so: it takes longer than they do.
func (m *spoolModel) check(rt *rapid.T) {
	if rapid.IntRange(0, 3).Draw(rt, "check") != 0 {
		return
	}
	var next time.Time
	open := int64(0)
	for _, x := range m.messages {
		d, err := m.w.tenant.Message(m.test.Context(), x.id)
		m.must(err)
		for i, r := range x.recipients {
			want := r.state
			if x.claim != nil && r.open() {
				want = store.Sending
			}
			if d.Recipients[i].State != want {
				rt.Fatalf("recipient %d of %v is %s, want %s", i+1, x.id, d.Recipients[i].State, want)
			}
		}
		if d.FinishedAt.IsZero() != x.open() || d.Message.Attempts != x.attempts {
			rt.Fatalf("message %+v, model %+v", d.Message, x)
		}
		if !x.open() {
			continue
		}
		open++
		if x.claim == nil {
			if !d.NextDue.Equal(x.due) {
				rt.Fatalf("due at %v, want %v", d.NextDue, x.due)
			}
			if next.IsZero() || x.due.Before(next) {
				next = x.due
			}
		}
	}
	turns, err := m.w.DueTenants(m.test.Context(), m.w.relay.ID, m.w.clock.now())
	m.must(err)
	if due := !next.IsZero() && !next.After(m.w.clock.now()); due != (len(turns) == 1) || due && !turns[0].OldestDue.Equal(next) {
		rt.Fatalf("turns %+v, next due %v", turns, next)
	}
	stats, err := m.w.tenant.Stats(m.test.Context(), time.Time{}, time.Time{})
	m.must(err)
	if stats.Waiting != open {
		rt.Fatalf("%d wait, want %d", stats.Waiting, open)
	}
}
