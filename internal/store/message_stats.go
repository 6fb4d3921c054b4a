package store

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// Stats count what happened to a tenant's messages in a time, by the hour.
type Stats struct {
	// From and To are the time counted, made whole hours.
	From, To time.Time
	Total    Counts
	Relays   map[uuid.UUID]Counts
	// Waiting are the messages with open recipients now.
	Waiting int64
}

// Counts are numbers of messages and of recipients.
type Counts struct {
	// Accepted counts messages.
	Accepted int64
	// Recipients counts how many got into each state. A recipient that is deferred twice counts twice.
	Recipients map[RecipientState]int64
}

func (c *Counts) add(kind string, n int64) {
	if kind == statAccepted {
		c.Accepted += n
		return
	}
	if c.Recipients == nil {
		c.Recipients = map[RecipientState]int64{}
	}
	c.Recipients[RecipientState(kind)] += n
}

// Stats counts what happened from the hour of from to the one that to lies in. A zero to is now, a zero from a day before to.
func (t Tenant) Stats(ctx context.Context, from, to time.Time) (Stats, error) {
	if to.IsZero() {
		to = t.s.now()
	}
	if from.IsZero() {
		from = to.Add(-24 * time.Hour)
	}
	end := hour(to)
	if end.Before(to) {
		end = end.Add(time.Hour)
	}
	stats := Stats{From: hour(from), To: end, Relays: map[uuid.UUID]Counts{}}
	err := t.read(ctx, func(q tx) error {
		b := &batch{}
		b.query(func(r *rows) error {
			var relay uuid.UUID
			var kind string
			var n int64
			if err := r.Scan(&relay, &kind, &n); err != nil {
				return err
			}
			counts := stats.Relays[relay]
			counts.add(kind, n)
			stats.Relays[relay] = counts
			stats.Total.add(kind, n)
			return nil
		}, `select relay_id, kind, cast(sum(count) as bigint) from message_stats where tenant_id = $1 and hour >= $2 and hour < $3 group by relay_id, kind`,
			t.id, stats.From, stats.To)
		b.query(func(r *rows) error { return r.Scan(&stats.Waiting) }, waitingOf+" where u.tenant_id = $1", t.id)
		return q.batch(ctx, b)
	})
	return stats, err
}

const waitingOf = `select cast(coalesce(sum(u.accepted - coalesce(f.finished, 0)), 0) as bigint) from tenant_usage u left join tenant_finished f on f.tenant_id = u.tenant_id`

// SpoolDepth is how much waits, for all tenants.
type SpoolDepth struct {
	// Messages have open recipients, also those that are paused or due later.
	Messages int64
	// OldestDue is since when the longest waiting message could have been sent; zero: none is due.
	OldestDue time.Time
	// OldestWaiting is since when the longest waiting message has been due that nobody holds on purpose, also while its
	// relay cannot be used; zero: none is due.
	OldestWaiting time.Time
}

// SpoolDepth returns how much waits. It costs by tenants and relays, not by messages.
func (s *Store) SpoolDepth(ctx context.Context) (SpoolDepth, error) {
	var d SpoolDepth
	err := s.asDelivery(ctx, readOne, func(q tx) error { return q.row(ctx, waitingOf).Scan(&d.Messages) })
	if err != nil {
		return SpoolDepth{}, err
	}
	now := s.now()
	turns, err := s.turns(ctx, uuid.Nil, now)
	for _, t := range turns {
		if t.unheld && !t.due.After(now) && (d.OldestWaiting.IsZero() || t.due.Before(d.OldestWaiting)) {
			d.OldestWaiting = t.due
		}
		if t.may && (d.OldestDue.IsZero() || t.due.Before(d.OldestDue)) {
			d.OldestDue = t.due
		}
	}
	return d, err
}
