package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/postrider/postrider/bench/sinkproc"
)

// Rows of the part, and the columns that compare.
const (
	oursSQLite     = "Postrider, SQLite"
	oursPostgreSQL = "Postrider, PostgreSQL"
	bullRow        = "Fastify, BullMQ, Redis (fsync always), nodemailer"
	postfixRow     = "Postfix as relay (SMTP in)"

	timesAccepted = "accepted, times the best peer"
	timesSent     = "sent, times the best peer"
)

// peerCallers are the callers of the part.
const peerCallers = 8

// stack is something that takes messages and sends them on, running.
type stack struct {
	send  func(prefix string) send
	sink  *sinkproc.Sink
	users users // useNode: its programs, useDatabase: the database beside them
	stop  func() error
}

// contestant is a stack that can be started.
type contestant struct {
	name, row string
	ours      bool
	start     func(context.Context, *bencher) (*stack, error)
	warm      int // messages before the measured ones
}

func contestants() []contestant {
	return []contestant{
		{"sqlite", oursSQLite, true, ourStack(sqlite), 500},
		{"postgresql", oursPostgreSQL, true, ourStack(postgresql), 500},
		{"bullmq", bullRow, false, startBull, 500},
		{"postfix", postfixRow, false, startPostfix, 500},
	}
}

func peerNames() []string {
	var names []string
	for _, c := range contestants() {
		names = append(names, c.name)
	}
	return names
}

// ourStack is the service on a database.
func ourStack(db string) func(context.Context, *bencher) (*stack, error) {
	return func(ctx context.Context, b *bencher) (*stack, error) {
		l, err := launch(ctx, b, db)
		if err != nil {
			return nil, err
		}
		relay, err := l.relay(ctx, l.caller, "/v1/relays", "sink")
		if err != nil {
			return nil, errors.Join(err, l.stop())
		}
		return &stack{send: func(prefix string) send { return l.caller.to(relay, prefix) }, sink: l.sink, users: l.users(), stop: l.stop}, nil
	}
}

// peers measures the stacks in turn, each round with another one first.
func peers(ctx context.Context, b *bencher) error {
	chosen := slices.DeleteFunc(contestants(), func(c contestant) bool { return !slices.Contains(b.s.peers, c.name) })
	for round := range b.s.rounds {
		b.round = round
		for i := range chosen {
			c := chosen[(i+round)%len(chosen)]
			b.say("%s, round %d", c.name, round+1)
			if err := b.contest(ctx, c); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		b.compare(chosen)
	}
	b.inOrder(chosen)
	return nil
}

// contest measures one of them.
func (b *bencher) contest(ctx context.Context, c contestant) (err error) {
	s, err := c.start(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	warm := min(c.warm, b.s.batch)
	if _, err := post(ctx, peerCallers, warm, noAim, s.send("warm-")); err != nil {
		return err
	}
	if _, err := arrived(ctx, s.sink, warm); err != nil {
		return err
	}
	if err := s.sink.Reset(ctx); err != nil {
		return err
	}
	w, err := s.users.start()
	if err != nil {
		return err
	}
	got, err := post(ctx, peerCallers, noLimit, b.s.aim, s.send("run-"))
	if err != nil {
		return err
	}
	twice, err := arrived(ctx, s.sink, got.n)
	if err != nil {
		return err
	}
	cost, err := w.end()
	if err != nil {
		return err
	}
	if twice > 0 {
		if c.ours {
			return fmt.Errorf("%d messages came twice", twice)
		}
		b.note(neither, "%s: %d of %d messages came twice.", c.row, twice, got.n)
	}
	b.add(neither, c.row, acceptedRate, got.rate())
	b.add(neither, c.row, acceptP50, got.at(50))
	b.add(neither, c.row, acceptP99, got.at(99))
	b.add(neither, c.row, sentRate, float64(got.n)/cost.wall.Seconds())
	for _, name := range []string{useNode, useDatabase} {
		m, err := pss(s.users[name]...)
		if err != nil {
			return err
		}
		if m > 0 {
			b.add(neither, c.row, memoryColumn+", "+name, m)
		}
	}
	b.shares(neither, c.row, cost, got.n)
	return nil
}

// compare divides ours by the best peer of the round.
func (b *bencher) compare(chosen []contestant) {
	for _, of := range []struct{ rate, times string }{{acceptedRate, timesAccepted}, {sentRate, timesSent}} {
		best := 0.0
		for _, c := range chosen {
			if v, ok := b.value(neither, c.row, of.rate); ok && !c.ours {
				best = max(best, v)
			}
		}
		for _, c := range chosen {
			if v, ok := b.value(neither, c.row, of.rate); ok && c.ours && best > 0 {
				b.add(neither, c.row, of.times, v/best)
			}
		}
	}
}

// inOrder sorts the figures by row: the rounds began with another one each.
func (b *bencher) inOrder(chosen []contestant) {
	place := func(f figure) int {
		return slices.IndexFunc(chosen, func(c contestant) bool { return c.row == f.Row })
	}
	slices.SortStableFunc(b.files[neither].figures, func(x, y figure) int { return place(x) - place(y) })
}
