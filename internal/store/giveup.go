package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

const (
	// giveUpPiece is how many messages one transaction gives up, or keeps.
	giveUpPiece = 500
	// giveUpFind is how many messages one look finds at most: a look reads all that is due, its transactions do not.
	giveUpFind = 10 * giveUpPiece
	// keptFor is how far away the give-up time of a message stays at least while somebody holds it on purpose: so long it is
	// still tried after they let it go.
	keptFor = time.Hour
	// overdue is how long a message has been due that is given up, at least: until then it may just wait for its turn. In a
	// spool that is being emptied there are few such messages, and a look costs little.
	overdue = time.Minute
)

// GivenUp is what GiveUp did.
type GivenUp struct {
	// Failed are messages that ended, Kept those that somebody holds on purpose: they have more time now.
	Failed, Kept int
	// More says that there is more to do at once.
	More bool
}

// expired is a message that has not ended by its give-up time.
type expired struct {
	tenant, message uuid.UUID
	relay           uuid.UUID
	created         time.Time
	held            bool // somebody does not want it sent now
	reason          string
}

// expiredMessages finds what ought to have ended. Nothing is tried that cannot be tried, so a relay that is down, refuses
// our password or has used up its limits does not stop the clock. Somebody who holds the relay, the tenant or everything on
// purpose does. A message that was never tried is left to have its one attempt if it can have it now.
const expiredMessages = `select s.tenant_id, s.message_id, s.relay_id, m.created_at, r.pause_reason, r.state, (` + unheld + `) as unheld
	from spool s join messages m on m.tenant_id = s.tenant_id and m.id = s.message_id join relays r on r.id = s.relay_id
	where s.claim is null and s.due <= $2 and m.give_up_at <= $1 and r.deleted_at is null
	and (s.attempts > 0 or r.not_before > $1 or not (` + unheld + `)) limit $3`

// GiveUp ends messages whose give-up time has passed while they could not be tried: their open recipients fail, with an event
// each and no attempt counted. It leaves alone what is being sent. Call it again while it returns GivenUp.More.
func (s *Store) GiveUp(ctx context.Context) (GivenUp, error) {
	var list []expired
	now := s.now()
	err := s.asDelivery(ctx, readOne, func(t tx) error {
		r, err := t.query(ctx, expiredMessages, now, now.Add(-overdue), giveUpFind)
		list, err = collect(r, err, func(r *rows) (expired, error) {
			var e expired
			var state json.RawMessage
			var unheld bool
			if err := r.Scan(&e.tenant, &e.message, &e.relay, &e.created, &e.reason, &state, &unheld); err != nil {
				return e, err
			}
			e.held = !unheld
			var saved RelayState
			if e.reason == "" && json.Unmarshal(state, &saved) == nil { // no state: no reason
				e.reason = saved.Reason
			}
			return e, nil
		})
		return err
	})
	if err != nil {
		return GivenUp{}, err
	}
	var kept, over []expired
	for _, e := range list {
		if e.held {
			kept = append(kept, e)
		} else {
			over = append(over, e)
		}
	}
	done := GivenUp{More: len(list) == giveUpFind}
	for len(over) > 0 && err == nil {
		n := min(len(over), giveUpPiece)
		err = s.giveUpPiece(ctx, over[:n], now)
		over, done.Failed = over[n:], done.Failed+n
	}
	for len(kept) > 0 && err == nil {
		n := min(len(kept), giveUpPiece)
		err = s.keepPiece(ctx, kept[:n], now)
		kept, done.Kept = kept[n:], done.Kept+n
	}
	return done, err
}

// giveUpPiece fails messages in one transaction.
func (s *Store) giveUpPiece(ctx context.Context, list []expired, now time.Time) error {
	var units map[uuid.UUID]*outcomeUnit
	begun := time.Now()
	err := s.asDelivery(ctx, readWrite, func(t tx) error {
		node := NewID()
		units = make(map[uuid.UUID]*outcomeUnit, len(list))
		b := &batch{}
		for _, e := range list {
			b.setTenant(e.tenant)
			// As if claimed, so that the outcome counts; not what has been claimed or was given more time meanwhile.
			b.exec(nil, `update spool set claim = $3, claimed_at = $4 where tenant_id = $1 and message_id = $2 and claim is null
				and exists (select 1 from messages m where m.tenant_id = $1 and m.id = $2 and m.give_up_at <= $4)`, e.tenant, e.message, node, now)
			u := &outcomeUnit{now: now, o: Outcome{Node: node, TenantID: e.tenant, MessageID: e.message, untried: true}}
			units[e.message] = u
			after := "given up after " + now.Sub(e.created).Round(time.Second).String() + ": "
			b.query(func(r *rows) error {
				end := RecipientOutcome{State: Failed}
				var state RecipientState
				if err := r.Scan(&end.N, &state, &end.Code, &end.Enhanced, &end.Text); err != nil {
					return err
				}
				switch {
				case state == Unknown: // that it may have been accepted stays true
					end.State, end.Text = Unknown, "it may have been accepted before; "+after+end.Text
				case end.Text != "":
					end.Text = after + end.Text
				case e.reason != "":
					end.Text = after + e.reason
				default:
					end.Text = after + "it could not be tried"
				}
				u.o.Recipients = append(u.o.Recipients, end)
				return nil
			}, `select n, state, code, enhanced, text from recipients where tenant_id = $1 and message_id = $2
				and (state in ('queued', 'deferred') or again) order by n`, e.tenant, e.message)
		}
		if err := t.batch(ctx, b); err != nil {
			return err
		}
		all := make([]*outcomeUnit, 0, len(units))
		for _, e := range list {
			all = append(all, units[e.message])
		}
		return s.applyRecords(ctx, t, nil, all) // those that were not taken are another's, and stay as they are
	})
	if s.cfg.Observe == nil {
		return err
	}
	c := Commit{Outcomes: len(units), Duration: time.Since(begun), Err: err, GivenUp: map[uuid.UUID]int{}}
	for _, e := range list {
		if u := units[e.message]; err == nil && u.err == nil {
			c.GivenUp[e.relay] += len(u.o.Recipients)
		}
	}
	s.cfg.Observe(c)
	return err
}

// keepPiece gives messages more time in one transaction.
func (s *Store) keepPiece(ctx context.Context, list []expired, now time.Time) error {
	byTenant := map[uuid.UUID][]uuid.UUID{}
	for _, e := range list {
		byTenant[e.tenant] = append(byTenant[e.tenant], e.message)
	}
	return s.asDelivery(ctx, readWrite, func(t tx) error {
		b := &batch{}
		for tenant, messages := range byTenant {
			b.setTenant(tenant)
			b.exec(nil, "update messages set give_up_at = $3 where tenant_id = $1 and id "+oneOf(t, "$2")+" and give_up_at <= $4",
				tenant, manyIDs(t, messages), now.Add(keptFor), now)
		}
		return t.batch(ctx, b)
	})
}
