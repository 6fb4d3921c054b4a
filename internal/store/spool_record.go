package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	// maxReplyText and maxTranscript bound, in bytes, what an attempt keeps of the relay's words.
	maxReplyText  = 4 << 10
	maxTranscript = 64 << 10
)

// Record writes what one attempt led to, in one transaction with the outcomes of others. It returns nil after the commit.
//
// The claim must still be the node's: otherwise ErrNotMine, except that recipients which the relay took are recorded
// always, since they must never be sent to again. After ErrUnavailable the same outcome must be recorded again: doing so twice
// does no harm when Attempt.N is Claimed.Attempt.
func (s *Store) Record(ctx context.Context, o Outcome) error {
	if o.TenantID == uuid.Nil || o.MessageID == uuid.Nil || o.Node == uuid.Nil {
		return &InvalidError{Field: "outcome", Reason: "node, tenant and message must be given"}
	}
	u := &outcomeUnit{o: o, now: s.now()}
	if err := s.outcomes.do(ctx, u); err != nil {
		return err
	}
	return u.err
}

// Mark says, before the write that can carry the last octet, that the content may be accepted from now on: if the node
// ends before its outcome is recorded, the message is unknown and not just due again. ErrNotMine: it must not be
// written.
func (s *Store) Mark(ctx context.Context, node, tenant, message uuid.UUID) error {
	if tenant == uuid.Nil || message == uuid.Nil || node == uuid.Nil {
		return ErrNotMine
	}
	u := &markUnit{node: node, tenant: tenant, message: message}
	if err := s.outcomes.do(ctx, u); err != nil {
		return err
	}
	return u.err
}

type outcomeUnit struct {
	o   Outcome
	now time.Time
	err error
}

func (u *outcomeUnit) weight() (rows, size int) {
	return 1 + len(u.o.Recipients), len(u.o.Attempt.Transcript)
}
func (u *outcomeUnit) prepare() { u.err = nil }

type markUnit struct {
	node, tenant, message uuid.UUID
	err                   error
}

func (u *markUnit) weight() (rows, size int) { return 1, 0 }
func (u *markUnit) prepare()                 { u.err = nil }

// spoolRow is a message's row in the spool, locked.
type spoolRow struct {
	relay         uuid.UUID
	recipients    int
	hold          bool
	attempts      int
	claim         uuid.UUID
	claimedAt     time.Time
	unknownBefore bool
}

type recipientRow struct {
	n     int
	state RecipientState
	again bool
}

func (r recipientRow) open() bool { return r.state.open() || r.again }

// recordGroup is what a commit records for one tenant.
type recordGroup struct {
	tenant   uuid.UUID
	outcomes []*outcomeUnit
	marks    []*markUnit

	spool      map[uuid.UUID]*spoolRow
	recipients map[uuid.UUID][]recipientRow
	// gone are messages without a row in the spool, of which a result comes late.
	gone map[uuid.UUID]*spoolRow

	recordRows
}

// applyRecords writes marks and outcomes.
func (s *Store) applyRecords(ctx context.Context, t tx, marks []*markUnit, outcomes []*outcomeUnit) error {
	outcomes, again := onceEach(outcomes)
	groups := recordGroups(marks, outcomes)
	lock := &batch{}
	byKey(lock, t)
	for _, g := range groups {
		lock.setTenant(g.tenant)
		g.lock(lock, t)
	}
	if err := t.batch(ctx, lock); err != nil {
		return err
	}
	load := &batch{}
	for _, g := range groups {
		g.load(load, t)
	}
	if len(load.items) > 0 {
		if err := t.batch(ctx, load); err != nil {
			return err
		}
	}
	write := &batch{}
	for _, g := range groups {
		write.setTenant(g.tenant)
		for _, u := range g.outcomes {
			u.err = g.decide(u)
		}
		g.mark(write, t)
		g.write(write, t)
	}
	for _, g := range groups { // counters last, as in applyAccepts
		write.setTenant(g.tenant)
		g.count(write, t)
	}
	if err := t.batch(ctx, write); err != nil {
		return err
	}
	if len(again) > 0 {
		return s.applyRecords(ctx, t, nil, again)
	}
	return nil
}

// onceEach parts outcomes of messages that come a second time, since they build on what the first one leaves.
func onceEach(outcomes []*outcomeUnit) (first, again []*outcomeUnit) {
	seen := make(map[uuid.UUID]bool, len(outcomes))
	for _, u := range outcomes {
		if seen[u.o.MessageID] {
			again = append(again, u)
			continue
		}
		seen[u.o.MessageID] = true
		first = append(first, u)
	}
	return first, again
}

func recordGroups(marks []*markUnit, outcomes []*outcomeUnit) []*recordGroup {
	byID := map[uuid.UUID]*recordGroup{}
	var groups []*recordGroup
	group := func(tenant uuid.UUID) *recordGroup {
		g := byID[tenant]
		if g == nil {
			g = &recordGroup{
				tenant: tenant, spool: map[uuid.UUID]*spoolRow{}, gone: map[uuid.UUID]*spoolRow{},
				recipients: map[uuid.UUID][]recipientRow{},
			}
			byID[tenant] = g
			groups = append(groups, g)
		}
		return g
	}
	for _, u := range marks {
		g := group(u.tenant)
		g.marks = append(g.marks, u)
	}
	for _, u := range outcomes {
		g := group(u.o.TenantID)
		g.outcomes = append(g.outcomes, u)
	}
	slices.SortFunc(groups, func(a, b *recordGroup) int { return compareIDs(a.tenant, b.tenant) })
	for _, g := range groups {
		slices.SortFunc(g.outcomes, func(a, b *outcomeUnit) int { return compareIDs(a.o.MessageID, b.o.MessageID) })
	}
	return groups
}

// lock locks the spool's rows, in the order of their ids.
func (g *recordGroup) lock(b *batch, t tx) {
	all := make([]uuid.UUID, 0, len(g.outcomes)+len(g.marks))
	for _, u := range g.outcomes {
		all = append(all, u.o.MessageID)
	}
	for _, u := range g.marks {
		all = append(all, u.message)
	}
	const text = `select message_id, relay_id, recipients, hold, attempts, claim, claimed_at, unknown_before from spool where tenant_id = $1 and message_id `
	each := func(r *rows) error {
		var id uuid.UUID
		row := &spoolRow{}
		if err := r.Scan(&id, &row.relay, &row.recipients, &row.hold, &row.attempts, &row.claim, &row.claimedAt, &row.unknownBefore); err != nil {
			return err
		}
		g.spool[id] = row
		return nil
	}
	if t.postgres() {
		b.query(each, text+"= any($2) order by message_id for update", g.tenant, ids(all))
		return
	}
	for _, id := range all {
		b.query(each, text+"= $2", g.tenant, id)
	}
}

// mine says whether the outcome belongs to the claim that stands.
func (g *recordGroup) mine(o *Outcome) (*spoolRow, bool) {
	row := g.spool[o.MessageID]
	if row == nil || row.claim != o.Node || o.Attempt.N != 0 && o.Attempt.N != row.attempts+1 {
		return row, false
	}
	if at := o.ClaimedAt; !at.IsZero() && !at.Truncate(time.Microsecond).Equal(row.claimedAt.Truncate(time.Microsecond)) {
		return row, false // the node has claimed it again since
	}
	return row, true
}

// load asks for the states of all recipients where the outcome alone does not tell them.
func (g *recordGroup) load(b *batch, t tx) {
	var all, gone []uuid.UUID
	for _, u := range g.outcomes {
		row, mine := g.mine(&u.o)
		if mine && (u.o.Release || row.recipients == 1 && len(u.o.Recipients) == 1 && u.o.Recipients[0].N == 1) {
			continue
		}
		all = append(all, u.o.MessageID)
		if row == nil {
			gone = append(gone, u.o.MessageID)
		}
	}
	if len(all) == 0 {
		return
	}
	b.setTenant(g.tenant)
	b.query(func(r *rows) error {
		var id uuid.UUID
		var rc recipientRow
		if err := r.Scan(&id, &rc.n, &rc.state, &rc.again); err != nil {
			return err
		}
		g.recipients[id] = append(g.recipients[id], rc)
		return nil
	}, "select message_id, n, state, again from recipients where tenant_id = $1 and message_id "+oneOf(t, "$2")+" order by message_id, n",
		g.tenant, manyIDs(t, all))
	if len(gone) > 0 { // locked, so that none is removed before its attempt is written
		b.query(func(r *rows) error {
			var id uuid.UUID
			row := &spoolRow{}
			if err := r.Scan(&id, &row.relay, &row.attempts); err != nil {
				return err
			}
			g.gone[id] = row
			return nil
		}, "select id, relay_id, attempts from messages where tenant_id = $1 and id "+oneOf(t, "$2")+forShare(t), g.tenant, manyIDs(t, gone))
	}
}

// decide works out what an outcome changes.
func (g *recordGroup) decide(u *outcomeUnit) error {
	o := &u.o
	row, mine := g.mine(o)
	if !mine {
		return g.late(u, row)
	}
	if o.Release {
		due := o.NextDue
		if due.IsZero() {
			due = u.now
		}
		g.back = append(g.back, []any{o.MessageID, due, int64(row.attempts), row.unknownBefore})
		return nil
	}
	states := g.recipients[o.MessageID]
	if states == nil {
		states = []recipientRow{{n: o.Recipients[0].N, state: Queued}}
	}
	attempt := row.attempts + 1
	if o.untried {
		attempt = row.attempts
	}
	unknown := row.unknownBefore
	for _, r := range o.Recipients {
		i := slices.IndexFunc(states, func(s recipientRow) bool { return s.n == r.N })
		if i < 0 || !states[i].open() { // never again to one that is sent
			continue
		}
		unknown = unknown || r.State == Unknown
		kind := r.State
		again := r.State == Unknown && r.Again && !o.NextDue.IsZero()
		if r.State.open() && o.NextDue.IsZero() {
			kind = Failed // given up
		}
		states[i].state, states[i].again = kind, again
		g.change(u, row.relay, attempt, r, kind, again)
	}
	if o.NextDue.IsZero() { // nothing stays open
		for i, s := range states {
			if !s.open() {
				continue
			}
			end := RecipientOutcome{N: s.n, State: Failed, Code: o.Attempt.Code, Enhanced: o.Attempt.Enhanced, Text: o.Attempt.Text}
			if s.state == Unknown {
				end.State = Unknown
			}
			states[i].state, states[i].again = end.State, false
			g.change(u, row.relay, attempt, end, end.State, false)
		}
	}
	if !o.untried {
		g.attempt(u, attempt)
	}
	g.finish(u, row, states, attempt, unknown)
	return nil
}

// late records of a claim that is no longer the node's what must not be lost: that the relay took the message.
func (g *recordGroup) late(u *outcomeUnit, row *spoolRow) error {
	o := &u.o
	where := row
	if where == nil {
		where = g.gone[o.MessageID]
	}
	states := g.recipients[o.MessageID]
	changed := false
	for _, r := range o.Recipients {
		i := slices.IndexFunc(states, func(s recipientRow) bool { return s.n == r.N })
		if r.State != Sent || i < 0 || states[i].state == Sent || where == nil || o.Release {
			continue
		}
		changed = true
		states[i].state, states[i].again = Sent, false
		g.change(u, where.relay, o.Attempt.N, r, Sent, false)
	}
	if !changed {
		return ErrNotMine
	}
	g.attempt(u, max(o.Attempt.N, 1))
	open := slices.ContainsFunc(states, recipientRow.open)
	finished := time.Time{}
	if !open {
		finished = u.now
	}
	g.messages = append(g.messages, []any{o.MessageID, string(summary(states)), int64(where.attempts), finished})
	// If another node has it claimed, that claim ends: its mark is refused, so that it does not send in vain.
	if !open && row != nil {
		g.left = append(g.left, []any{o.MessageID})
		g.finished++
	}
	return nil
}

// finish puts the message where it belongs after an attempt: out of the spool, or back.
func (g *recordGroup) finish(u *outcomeUnit, row *spoolRow, states []recipientRow, attempt int, unknown bool) {
	o := &u.o
	if slices.ContainsFunc(states, recipientRow.open) {
		g.messages = append(g.messages, []any{o.MessageID, string(summary(states)), int64(attempt), time.Time{}})
		g.back = append(g.back, []any{o.MessageID, o.NextDue, int64(attempt), unknown})
		return
	}
	g.messages = append(g.messages, []any{o.MessageID, string(summary(states)), int64(attempt), u.now})
	g.left = append(g.left, []any{o.MessageID})
	g.finished++
}

// summary is the state of a message whose recipients have these; see MessageState.
func summary(states []recipientRow) MessageState {
	count := map[RecipientState]int{}
	for _, s := range states {
		switch {
		case s.open() && s.state != Queued:
			count[Deferred]++
		default:
			count[s.state]++
		}
	}
	total := len(states) - count[Suppressed] - count[Canceled]
	switch {
	case count[Deferred] > 0:
		return MessageState(Deferred)
	case count[Queued] > 0:
		return MessageState(Queued)
	case total > 0 && count[Sent] == total:
		return MessageState(Sent)
	case count[Sent] > 0:
		return MessagePartial
	case count[Unknown] > 0:
		return MessageState(Unknown)
	case count[Failed] > 0:
		return MessageState(Failed)
	case count[Canceled] > 0:
		return MessageState(Canceled)
	}
	return MessageState(Suppressed)
}

// cleanReply makes a relay's words storable: valid UTF-8 without NUL, and bounded.
func cleanReply(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	if storable(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
