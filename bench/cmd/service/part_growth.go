package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// growthWorst is the row that compares the fullest store with the empty one.
const growthWorst = "the most stored, to none"

// Columns of growth and spread.
const (
	acceptCPU   = "accept, CPU µs a message"
	drainCPU    = "send, CPU µs a message"
	acceptTime  = "accept, µs a message"
	drainTime   = "send, µs a message"
	listNewest  = "list, ms"
	listAddress = "list of a recipient, ms"
	listFailed  = "list of failed, ms"
	listUser    = "list of a user, ms"
	oneMessage  = "one message, ms"
)

// nobody is a user without messages: to find none, the list must not read those of others.
const nobody = "00000000-0000-7000-8000-000000000001"

// growthColumns are those that must not grow. The list of a recipient has something to show in a full store alone.
func growthColumns() []string {
	return []string{acceptCPU, drainCPU, acceptTime, drainTime, listNewest, listFailed, listUser, oneMessage}
}

// storedRow is the row of a number of stored messages.
func storedRow(n int) string {
	if n == 0 {
		return "none stored"
	}
	return strconv.Itoa(n) + " stored"
}

// filled is a lab whose store has messages.
type filled struct {
	*lab
	row   string
	relay string
}

// growth measures the same with more and more in the store. All stores are made first and take turns then, in another
// order in each round.
func growth(ctx context.Context, b *bencher) error {
	for _, db := range b.databases {
		if err := b.growthOn(ctx, db); err != nil {
			return fmt.Errorf("%s: %w", db, err)
		}
	}
	return nil
}

func (b *bencher) growthOn(ctx context.Context, db string) (err error) {
	var all []*filled
	defer func() {
		for _, f := range all {
			err = errors.Join(err, f.stop())
		}
	}()
	for _, n := range b.s.stored {
		b.say("%s: storing %d", db, n)
		begun := time.Now()
		f, err := b.fill(ctx, db, n)
		if err != nil {
			return err
		}
		all = append(all, f)
		b.note(db, "%s: filled in %.0f s.", f.row, time.Since(begun).Seconds())
	}
	for round := range b.s.rounds {
		b.round = round
		b.say("%s, round %d", db, round+1)
		for i := range all {
			f := all[(i+round)%len(all)]
			if err := f.measure(ctx); err != nil {
				return fmt.Errorf("%s: %w", f.row, err)
			}
		}
		b.ratios(db, storedRow(b.s.stored[len(b.s.stored)-1]), storedRow(0), growthWorst)
	}
	return nil
}

// ratios compares two rows of this round.
func (b *bencher) ratios(db, more, less, row string) {
	for _, c := range growthColumns() {
		high, ok := b.value(db, more, c)
		low, found := b.value(db, less, c)
		if ok && found && low > 0 {
			b.add(db, row, times(c), high/low)
		}
	}
}

// fill makes a lab with n finished messages.
func (b *bencher) fill(ctx context.Context, db string, n int) (_ *filled, err error) {
	l, err := launch(ctx, b, db)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.stop())
		}
	}()
	relay, err := l.relay(ctx, l.caller, "/v1/relays", "sink")
	if err != nil {
		return nil, err
	}
	f := &filled{l, storedRow(n), relay}
	// The one that all others are copies of, ended in the books too.
	id, err := l.postOne(ctx, relay, "first")
	if err != nil {
		return nil, err
	}
	if err := l.ended(ctx, id); err != nil {
		return nil, err
	}
	if err := l.halt(); err != nil {
		return nil, err
	}
	return f, l.seed(ctx, n)
}

// postOne sends one message and gives its id.
func (l *lab) postOne(ctx context.Context, relay, name string) (string, error) {
	var made struct{ ID string }
	err := l.caller.ask(ctx, http.MethodPost, "/v1/messages", letter(relay, name), &made)
	return made.ID, err
}

// ended waits until a message is sent and its outcome recorded.
func (l *lab) ended(ctx context.Context, id string) error {
	for begun := time.Now(); time.Since(begun) < 20*time.Second; {
		var m struct{ State string }
		if err := l.caller.ask(ctx, http.MethodGet, "/v1/messages/"+id, nil, &m); err != nil {
			return err
		}
		if m.State == "sent" {
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("message %s was not sent within 20 s", id)
}

// measure serves the store for one round.
func (f *filled) measure(ctx context.Context) error {
	if err := f.serve(ctx, 1); err != nil {
		return err
	}
	if err := f.warm(ctx, f.caller.to(f.relay, "warm-")); err != nil {
		return err
	}
	if err := f.heldAndSent(ctx, f.row, f.caller.to(f.relay, "run-")); err != nil {
		return err
	}
	if err := f.lists(ctx); err != nil {
		return err
	}
	return f.halt()
}

// warm sends some messages that do not count: connections and caches.
func (l *lab) warm(ctx context.Context, do send) error {
	if err := l.sink.Reset(ctx); err != nil {
		return err
	}
	n := min(300, l.b.s.batch)
	if _, err := post(ctx, 8, n, noAim, do); err != nil {
		return err
	}
	return l.once(ctx, n)
}

// heldAndSent accepts the messages of a run with everything held, then lets them go, and records both.
func (l *lab) heldAndSent(ctx context.Context, row string, do send) error {
	if err := errors.Join(l.sink.Reset(ctx), l.hold(ctx)); err != nil {
		return err
	}
	w, err := l.users().start()
	if err != nil {
		return err
	}
	got, err := post(ctx, 64, l.b.s.batch, noAim, do)
	if err != nil {
		return err
	}
	accept, err := w.end()
	if err != nil {
		return err
	}
	if err := l.let(ctx); err != nil {
		return err
	}
	// From the first one on: that nodes look whether they may send but once a second is no matter of size.
	already, err := l.some(ctx)
	if err != nil {
		return err
	}
	if w, err = l.users().start(); err != nil {
		return err
	}
	if err := l.once(ctx, got.n); err != nil {
		return err
	}
	drain, err := w.end()
	if err != nil {
		return err
	}
	for _, p := range []struct {
		s                spent
		n                int
		rate, time, used string
	}{{accept, got.n, acceptedRate, acceptTime, acceptCPU}, {drain, max(1, got.n-already), sentRate, drainTime, drainCPU}} {
		l.b.foreign(l.db, p.s)
		l.b.add(l.db, row, p.rate, float64(p.n)/p.s.wall.Seconds())
		l.b.add(l.db, row, p.time, float64(p.s.wall.Microseconds())/float64(p.n))
		l.b.add(l.db, row, p.used, p.s.each(useNode, p.n)+p.s.each(useDatabase, p.n))
	}
	return nil
}

// some waits until the sink has a message and gives how many there are.
func (l *lab) some(ctx context.Context) (int, error) {
	for begun := time.Now(); time.Since(begun) < 20*time.Second; {
		c, err := l.sink.Stats(ctx)
		if err != nil || c.UniqueIDs > 0 {
			return int(c.UniqueIDs), err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return 0, errors.New("nothing came within 20 s after sending was let go on")
}

// lists measures reads, one caller; the median of each kind.
func (f *filled) lists(ctx context.Context) error {
	id, err := f.postOne(ctx, f.relay, "one")
	if err != nil {
		return err
	}
	if err := f.ended(ctx, id); err != nil {
		return err
	}
	paths := []struct{ column, path string }{
		{listNewest, "/v1/messages?limit=50"},
		{listAddress, "/v1/messages?limit=50&recipient=user7@example.net"},
		{listFailed, "/v1/messages?limit=50&state=failed"},
		{listUser, "/v1/messages?limit=50&user_id=" + nobody},
		{oneMessage, "/v1/messages/" + id},
	}
	waits := map[string][]time.Duration{}
	for range max(3, f.b.s.reads/20) {
		for _, p := range paths {
			begun := time.Now()
			if err := f.caller.ask(ctx, http.MethodGet, p.path, nil, nil); err != nil {
				return err
			}
			waits[p.column] = append(waits[p.column], time.Since(begun))
		}
	}
	for _, p := range paths {
		f.b.add(f.db, f.row, p.column, percentile(waits[p.column], 50))
	}
	return nil
}
