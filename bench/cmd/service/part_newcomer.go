package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Rows of the part.
const (
	ownRelay    = "relay of its own"
	sharedRelay = "the shared relay"
)

// newcomerPause lies between two messages of the newcomer, so that they meet all that happens beside them: commits,
// claims, checkpoints, collections of garbage.
const newcomerPause = 25 * time.Millisecond

// leastNewcomers are as many as allow to speak of a median and of the worst.
const leastNewcomers = 50

// queueBatch is how many messages of the queue come with a request.
const queueBatch = 250

// newcomers measures how long one tenant's single messages wait while another's queue is being sent. Once: it is of
// many samples in itself, and long.
func newcomers(ctx context.Context, b *bencher) error {
	for _, db := range b.databases {
		if err := b.with(ctx, db, func(l *lab) error { return l.newcomer(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) newcomer(ctx context.Context) error {
	var second account
	if err := l.ask(ctx, &second, "tenant", "create", "second", "--email", "admin@example.net", "--json"); err != nil {
		return err
	}
	other := l.as(second.APIKey, 0)
	shared, err := l.relay(ctx, l.operator, "/v1/operator/relays", "shared")
	if err != nil {
		return err
	}
	for _, t := range []string{l.tenant.TenantID, second.TenantID} {
		if err := l.operator.ask(ctx, http.MethodPut, "/v1/operator/relays/"+shared+"/tenants/"+t, nil, nil); err != nil {
			return err
		}
	}
	own, err := l.relay(ctx, other, "/v1/relays", "own")
	if err != nil {
		return err
	}
	if err := l.hold(ctx); err != nil {
		return err
	}
	l.b.say("%s: queueing %d messages", l.db, l.b.s.queue)
	n := (l.b.s.queue + queueBatch - 1) / queueBatch
	if _, err := post(ctx, 8, n, noAim, l.caller.batches(shared)); err != nil {
		return err
	}
	if err := l.let(ctx); err != nil {
		return err
	}
	w, err := l.users().start()
	if err != nil {
		return err
	}
	for _, k := range []struct{ row, relay string }{{ownRelay, own}, {sharedRelay, shared}} {
		if err := l.behind(ctx, other, k.relay, k.row, n*queueBatch); err != nil {
			return err
		}
	}
	cost, err := w.end()
	if err != nil {
		return err
	}
	l.b.foreign(l.db, cost)
	// It still has most of the queue.
	err = l.nodes[0].kill()
	l.nodes = nil
	return err
}

// batches sends many messages with each request.
func (c *caller) batches(relay string) send {
	return func(ctx context.Context, _ int, n int64) error {
		var body bytes.Buffer
		body.WriteByte('[')
		for i := range int64(queueBatch) {
			if i > 0 {
				body.WriteByte(',')
			}
			body.Write(letter(relay, "queue-"+strconv.FormatInt(n*queueBatch+i, 10)))
		}
		body.WriteByte(']')
		return c.ask(ctx, http.MethodPost, "/v1/messages/batch", body.Bytes(), nil)
	}
}

// behind sends single messages: from the answer 202 to the sink's 250.
func (l *lab) behind(ctx context.Context, other *caller, relay, row string, queued int) error {
	var waits, answers []time.Duration
	for i := range l.b.s.newcomers {
		id := "newcomer-" + relay + "-" + strconv.Itoa(i)
		seen := make(chan error, 1)
		go func() { seen <- l.sink.Wait(ctx, id) }()
		begun := time.Now()
		if err := other.ask(ctx, http.MethodPost, "/v1/messages", letter(relay, id), nil); err != nil {
			return err
		}
		at := time.Now()
		if err := <-seen; err != nil {
			return err
		}
		answers, waits = append(answers, at.Sub(begun)), append(waits, time.Since(at))
		select {
		case <-time.After(newcomerPause):
		case <-ctx.Done():
			return ctx.Err()
		}
		c, err := l.sink.Stats(ctx)
		if err != nil {
			return err
		}
		if c.UniqueIDs >= int64(queued) {
			break // the queue is gone
		}
	}
	if need := min(leastNewcomers, l.b.s.newcomers); len(waits) < need && !l.b.s.quick {
		return fmt.Errorf("the queue was gone before %d messages of the newcomer; give a longer one with -queue", need)
	}
	l.b.add(l.db, row, "messages", float64(len(waits)))
	l.b.add(l.db, row, "median ms", percentile(waits, 50))
	l.b.add(l.db, row, "p99 ms", percentile(waits, 99))
	l.b.add(l.db, row, "worst ms", percentile(waits, 100))
	l.b.add(l.db, row, "answer 202, median ms", percentile(answers, 50))
	l.b.add(l.db, row, "answer 202, worst ms", percentile(answers, 100))
	return nil
}
