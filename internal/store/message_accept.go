package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Accept takes messages in: all of them, or none. It returns after they are committed, in one transaction with those of
// other callers. Where the messages have no ID they get one.
//
// With idem, whoever comes second with the same key gets what the first one stored as replay, and nothing is
// accepted again; with another fingerprint ErrIdempotencyMismatch; and ErrInFlight if the first one does not end in good
// time. Other errors: *InvalidError, *QuotaError, ErrUnavailable.
func (t Tenant) Accept(ctx context.Context, msgs []NewMessage, idem *Idempotency) (replay *Idempotency, err error) {
	u := &acceptUnit{tenant: t.id, msgs: msgs, idem: idem, now: t.s.now()}
	if err := u.check(); err != nil {
		return nil, err
	}
	if err := t.s.room(ctx); err != nil {
		return nil, err
	}
	if err := t.s.accepts.do(ctx, u); err != nil {
		if idem != nil && errors.Is(err, errLocked) {
			return nil, ErrInFlight
		}
		return nil, err
	}
	return u.replay, u.err
}

// acceptUnit is one call of Accept.
type acceptUnit struct {
	tenant uuid.UUID
	msgs   []NewMessage
	idem   *Idempotency
	now    time.Time
	rows   int
	size   int

	// What became of it.
	err    error
	replay *Idempotency
	// leader is the unit of the same group and key that came first.
	leader *acceptUnit
}

func (u *acceptUnit) weight() (rows, size int) { return u.rows, u.size }
func (u *acceptUnit) prepare()                 { u.err, u.replay, u.leader = nil, nil, nil }

// check refuses what the tables cannot hold, and fills in what was left out.
func (u *acceptUnit) check() error {
	if u.tenant == uuid.Nil {
		return ErrNotFound
	}
	if len(u.msgs) == 0 {
		return &InvalidError{Field: "messages", Reason: "there are none"}
	}
	if i := u.idem; i != nil {
		if i.UserID == uuid.Nil || i.Key == "" || !storable(i.Scope, i.Key) {
			return &InvalidError{Field: "idempotency_key", Reason: "user, scope and key must be given, in valid UTF-8 without NUL"}
		}
	}
	for i := range u.msgs {
		m := &u.msgs[i]
		if m.ID == uuid.Nil {
			m.ID = NewID()
		}
		if m.OnUnknown == "" {
			m.OnUnknown = OnUnknownRetry
		}
		if m.Size == 0 {
			m.Size = int64(len(m.Content))
		}
		if err := m.check(); err != nil {
			return err
		}
		u.rows += 1 + len(m.Recipients)
		u.size += len(m.Content)
	}
	return nil
}

func (m *NewMessage) check() error {
	switch {
	case m.ID.Version() != 7:
		return &InvalidError{Field: "id", Reason: "is not a UUIDv7"}
	case m.UserID == uuid.Nil:
		return &InvalidError{Field: "user_id", Reason: "is missing"}
	case m.RelayID == uuid.Nil:
		return &InvalidError{Field: "relay_id", Reason: "is missing"}
	case len(m.Recipients) == 0:
		return &InvalidError{Field: "recipients", Reason: "there are none"}
	case len(m.Content) > MaxSmallContent:
		return &InvalidError{Field: "content", Reason: "is too long for one piece: write it with a ContentWriter"}
	case (len(m.Content) == 0) == (m.ContentID == uuid.Nil):
		return &InvalidError{Field: "content", Reason: "either the content or its id must be given"}
	case m.OnUnknown != OnUnknownRetry && m.OnUnknown != OnUnknownHold:
		return &InvalidError{Field: "on_unknown", Reason: "is neither retry nor hold"}
	case !storable(m.MailFrom, m.HeaderFrom, m.Subject, m.MessageID, string(m.DSN), string(m.Metadata)) || !storable(m.Tags...):
		return &InvalidError{Field: "message", Reason: "has text that is not valid UTF-8 or contains NUL"}
	}
	for i := range m.Recipients {
		r := &m.Recipients[i]
		if r.State == "" {
			r.State = Queued
		}
		if r.State != Queued && r.State != Suppressed {
			return &InvalidError{Field: "recipients", Reason: "a new one is queued or suppressed"}
		}
		if r.Address == "" || !storable(r.Address, r.Field, r.Notify, r.ORcpt) {
			return &InvalidError{Field: "recipients", Reason: "an address is empty, not valid UTF-8 or contains NUL"}
		}
	}
	return nil
}

// storable says that PostgreSQL takes the texts; SQLite takes any.
func storable(texts ...string) bool {
	for _, s := range texts {
		if !utf8.ValidString(s) || bytes.IndexByte([]byte(s), 0) >= 0 {
			return false
		}
	}
	return true
}

// open says whether a recipient is left to send to.
func (m *NewMessage) open() bool {
	return slices.ContainsFunc(m.Recipients, func(r NewRecipient) bool { return r.State == Queued })
}

// content is the id of the message's content.
func (m *NewMessage) content() uuid.UUID {
	if m.ContentID == uuid.Nil {
		return m.ID
	}
	return m.ContentID
}

// acceptGroup is what a commit accepts for one tenant.
type acceptGroup struct {
	tenant uuid.UUID
	units  []*acceptUnit

	known    bool // the tenant exists
	limits   quotas
	usage    usage
	relays   map[uuid.UUID]bool
	contents map[uuid.UUID]bool
	won      map[idemKey]bool
	old      map[idemKey]*Idempotency
}

// applyAccepts writes units: what they need to know is asked for in one round trip, what they write goes in another.
func (s *Store) applyAccepts(ctx context.Context, t tx, units []*acceptUnit) error {
	groups := groupByTenant(units)
	look := &batch{}
	for _, g := range groups {
		look.setTenant(g.tenant)
		g.look(look, t)
	}
	if err := t.batch(ctx, look); err != nil {
		return err
	}
	lost := &batch{}
	for _, g := range groups {
		g.findReplays(lost)
	}
	if len(lost.items) > 0 {
		if err := t.batch(ctx, lost); err != nil {
			return err
		}
	}
	write := &batch{}
	for _, g := range groups {
		write.setTenant(g.tenant)
		g.decide()
		g.write(write, t)
	}
	// Rows that other transactions write too come last, tenants in order: they are locked shortly and never crosswise.
	for _, g := range groups {
		write.setTenant(g.tenant)
		g.count(write, t)
	}
	return t.batch(ctx, write)
}

func groupByTenant(units []*acceptUnit) []*acceptGroup {
	byID := map[uuid.UUID]*acceptGroup{}
	var groups []*acceptGroup
	for _, u := range units {
		g := byID[u.tenant]
		if g == nil {
			g = &acceptGroup{
				tenant: u.tenant, relays: map[uuid.UUID]bool{}, contents: map[uuid.UUID]bool{},
				won: map[idemKey]bool{}, old: map[idemKey]*Idempotency{},
			}
			byID[u.tenant] = g
			groups = append(groups, g)
		}
		g.units = append(g.units, u)
	}
	slices.SortFunc(groups, func(a, b *acceptGroup) int { return bytes.Compare(a.tenant[:], b.tenant[:]) })
	return groups
}

// look asks for what decides whether the units can be accepted.
func (g *acceptGroup) look(b *batch, t tx) {
	g.lookUsage(b, t)
	for _, u := range g.units {
		for i := range u.msgs {
			m := &u.msgs[i]
			if _, asked := g.relays[m.RelayID]; !asked {
				g.relays[m.RelayID] = false
				b.query(func(r *rows) error {
					g.relays[m.RelayID] = true
					return nil
				}, `select g.relay_id from relay_grants g join relays r on r.id = g.relay_id
					where g.tenant_id = $1 and g.relay_id = $2 and g.active and r.deleted_at is null`, g.tenant, m.RelayID)
			}
			if m.ContentID != uuid.Nil {
				b.query(func(r *rows) error {
					g.contents[m.ContentID] = true
					return nil
				}, "select id from uploads where tenant_id = $1 and id = $2 and size is not null", g.tenant, m.ContentID)
			}
		}
	}
	g.lookIdempotency(b, t)
}

// decide settles which units are written: the others have an error or a replay.
func (g *acceptGroup) decide() {
	for _, u := range g.units {
		u.err = g.refusal(u)
		if u.err != nil || u.replay != nil {
			continue
		}
		g.usage.add(u.now, int64(len(u.msgs)))
		for i := range u.msgs {
			delete(g.contents, u.msgs[i].ContentID) // one message's only: it is removed with it
		}
	}
}

func (g *acceptGroup) refusal(u *acceptUnit) error {
	if !g.known {
		return ErrNotFound
	}
	if done, err := g.replayed(u); done {
		return err
	}
	for i := range u.msgs {
		m := &u.msgs[i]
		if !g.relays[m.RelayID] {
			return &InvalidError{Field: "relay_id", Reason: "names no relay that the tenant may use"}
		}
		if m.ContentID != uuid.Nil && !g.contents[m.ContentID] {
			return &InvalidError{Field: "content_id", Reason: "names no content that was written to its end"}
		}
	}
	return g.limits.refuse(g.usage, u.now, int64(len(u.msgs)))
}

// written are the messages of the units that are accepted, in the order of their ids.
func (g *acceptGroup) written() []acceptedMessage {
	var out []acceptedMessage
	for _, u := range g.units {
		if u.err != nil || u.replay != nil {
			continue
		}
		for i := range u.msgs {
			out = append(out, acceptedMessage{&u.msgs[i], u.now})
		}
	}
	slices.SortFunc(out, func(a, b acceptedMessage) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return out
}

type acceptedMessage struct {
	*NewMessage
	at time.Time
}

// due is when the first attempt may be made.
func (m acceptedMessage) due() time.Time {
	if m.SendAt.After(m.at) {
		return m.SendAt
	}
	return m.at
}

func (s *Store) announce(units []unit) {
	var relays []uuid.UUID
	later := false
	for _, u := range units {
		a, ok := u.(*acceptUnit)
		if !ok || a.err != nil || a.replay != nil {
			continue
		}
		for i := range a.msgs {
			if !a.msgs[i].SendAt.After(a.now) {
				relays = append(relays, a.msgs[i].RelayID)
			} else {
				later = true
			}
		}
	}
	if len(relays) == 0 && !later {
		return
	}
	slices.SortFunc(relays, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	s.tellAll(slices.Compact(relays))
}

// OnAccepted names the function that is told, after each commit, of the relays that have got messages due now; none, if all
// that was accepted is for later. It must not block, and replaces the one named before; nil names none.
func (s *Store) OnAccepted(fn func(relays []uuid.UUID)) {
	if fn == nil {
		s.accepted.Store(nil)
		return
	}
	s.accepted.Store(&fn)
}

func hour(t time.Time) time.Time { return t.UTC().Truncate(time.Hour) }

func compareIDs(a, b uuid.UUID) int { return cmp.Compare(string(a[:]), string(b[:])) }
