package store

import (
	"context"
	"errors"
	"strconv"

	"github.com/google/uuid"
)

const (
	defaultEvents = 100
	maxEvents     = 1000
)

// EventFilter narrows Tenant.Events. Zero fields do not filter.
type EventFilter struct {
	UserID    uuid.UUID // events of that user's messages only, none of relays
	MessageID uuid.UUID
	Kind      EventKind
}

// Events lists what happened after the event with the number after (0: from the beginning), the oldest first, at most limit (0: 100;
// not more than 1000). The number of the last one is the next after: events are numbered as they are committed, so that
// nothing appears later behind a number that was read.
func (t Tenant) Events(ctx context.Context, f EventFilter, after int64, limit int) ([]Event, error) {
	if limit <= 0 {
		limit = defaultEvents
	}
	c := &conditions{}
	c.add("e.tenant_id = ?", t.id)
	c.add("e.seq > ?", after)
	if f.UserID != uuid.Nil {
		c.add("m.user_id = ?", f.UserID)
	}
	if f.MessageID != uuid.Nil {
		c.add("e.message_id = ?", f.MessageID)
	}
	if f.Kind != "" {
		if !storable(string(f.Kind)) {
			return []Event{}, nil
		}
		c.add("e.kind = ?", f.Kind)
	}
	c.args = append(c.args, min(limit, maxEvents))
	text := `select e.seq, e.at, e.kind, e.message_id, e.relay_id, e.n, e.attempt, e.code, e.enhanced, e.text, m.user_id, r.address
		from events e left join messages m on m.tenant_id = e.tenant_id and m.id = e.message_id
		left join recipients r on r.tenant_id = e.tenant_id and r.message_id = e.message_id and r.n = e.n ` +
		c.where() + " order by e.seq limit $" + strconv.Itoa(len(c.args))
	var list []Event
	err := t.readOne(ctx, func(q tx) error {
		r, err := q.query(ctx, text, c.args...)
		list, err = collect(r, err, func(r *rows) (Event, error) {
			var e Event
			err := r.Scan(&e.Seq, &e.At, &e.Kind, &e.MessageID, &e.RelayID, &e.N, &e.Attempt, &e.Code, &e.Enhanced, &e.Text, &e.UserID, &e.Recipient)
			return e, err
		})
		return err
	})
	return list, err
}

// LastEvent is the number of the tenant's last event, 0 if there is none: where to begin for what happens from now on.
func (t Tenant) LastEvent(ctx context.Context) (int64, error) {
	var last int64
	err := t.readOne(ctx, func(q tx) error {
		return q.row(ctx, "select last from event_counters where tenant_id = $1", t.id).Scan(&last)
	})
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return last, err
}
