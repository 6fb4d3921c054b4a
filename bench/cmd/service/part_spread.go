package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
)

// tenantRelay is a tenant with a relay of its own.
type tenantRelay struct {
	caller *caller
	relay  string
}

func spreadRow(n int) string {
	if n == 1 {
		return "1 relay and tenant"
	}
	return strconv.Itoa(n) + " relays and tenants"
}

// spreadWorst is the row that compares the most with one.
const spreadWorst = "the most, to one"

// spread measures the same load of more and more tenants, each with a relay.
func spread(ctx context.Context, b *bencher) error {
	for _, db := range b.databases {
		if err := b.with(ctx, db, func(l *lab) error { return l.spread(ctx) }); err != nil {
			return fmt.Errorf("%s: %w", db, err)
		}
	}
	return nil
}

func (l *lab) spread(ctx context.Context) error {
	b, counts := l.b, l.b.s.spread
	b.say("%s: making tenants", l.db)
	all, err := l.tenants(ctx, counts[len(counts)-1], 1)
	if err != nil {
		return err
	}
	if err := l.warm(ctx, inTurn(all, "warm-")); err != nil {
		return err
	}
	for round := range b.s.rounds {
		b.round = round
		b.say("%s, round %d", l.db, round+1)
		for i := range counts {
			n := counts[(i+round)%len(counts)]
			if err := l.heldAndSent(ctx, spreadRow(n), inTurn(all[:n], "run-")); err != nil {
				return fmt.Errorf("%s: %w", spreadRow(n), err)
			}
		}
		b.ratios(l.db, spreadRow(counts[len(counts)-1]), spreadRow(1), spreadWorst)
	}
	return nil
}

// tenants makes so many tenants, each with so many relays.
func (l *lab) tenants(ctx context.Context, n, relays int) ([]tenantRelay, error) {
	all := make([]tenantRelay, n*relays)
	faults := make([]error, n)
	free := make(chan struct{}, 4) // programs at the same time
	var wait sync.WaitGroup
	for i := range n {
		free <- struct{}{}
		wait.Go(func() {
			defer func() { <-free }()
			var made account
			name := "tenant-" + strconv.Itoa(i)
			if faults[i] = l.ask(ctx, &made, "tenant", "create", name, "--email", "admin@"+name+".example", "--json"); faults[i] != nil {
				return
			}
			c := l.as(made.APIKey, 0)
			for j := range relays {
				relay, err := l.relay(ctx, c, "/v1/relays", "sink-"+strconv.Itoa(j))
				faults[i] = errors.Join(faults[i], err)
				all[j*n+i] = tenantRelay{c, relay}
			}
		})
	}
	wait.Wait()
	return all, errors.Join(faults...)
}

// inTurn sends over each of some in turn.
func inTurn(all []tenantRelay, prefix string) send {
	return func(ctx context.Context, worker int, n int64) error {
		t := all[n%int64(len(all))]
		return t.caller.to(t.relay, prefix)(ctx, worker, n)
	}
}
