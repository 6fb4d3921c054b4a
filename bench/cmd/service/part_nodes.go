package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// What the nodes share out among each other.
const (
	nodeTenants = 6
	nodeRelays  = 2 // each tenant's
	nodeCallers = 64
)

func nodesRow(n int) string {
	if n == 1 {
		return "1 node"
	}
	return strconv.Itoa(n) + " nodes"
}

// databaseShare is the column of the database's share of what a message costs the service and the database.
const databaseShare = "database's share of service and database"

// nodes measures one database with one node and with several, and where the processor time goes.
func nodes(ctx context.Context, b *bencher) (err error) {
	l, err := launch(ctx, b, postgresql)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	all, err := l.tenants(ctx, nodeTenants, nodeRelays)
	if err != nil {
		return err
	}
	for round := range b.s.rounds {
		b.round = round
		for i := range b.s.nodes {
			n := b.s.nodes[(i+round)%len(b.s.nodes)]
			b.say("%s, round %d", nodesRow(n), round+1)
			if err := l.nodesRun(ctx, n, all); err != nil {
				return fmt.Errorf("%s: %w", nodesRow(n), err)
			}
		}
		for _, n := range b.s.nodes[1:] {
			more, ok := b.value(postgresql, nodesRow(n), sentRate)
			one, found := b.value(postgresql, nodesRow(1), sentRate)
			if ok && found {
				b.add(postgresql, nodesRow(n), "sent, times one node", more/one)
			}
		}
	}
	return nil
}

// nodesRun measures n nodes begun at the same time.
func (l *lab) nodesRun(ctx context.Context, n int, all []tenantRelay) error {
	if err := l.halt(); err != nil {
		return err
	}
	if err := l.serve(ctx, n); err != nil {
		return err
	}
	// Each message to the next node, the relays in turn at each of them.
	do := func(prefix string) send {
		return func(ctx context.Context, worker int, number int64) error {
			t := all[(number/int64(n))%int64(len(all))]
			at := l.nodes[number%int64(n)]
			c := &caller{url: at.url, key: t.caller.key, client: at.client}
			return c.to(t.relay, prefix)(ctx, worker, number)
		}
	}
	// The nodes divide the relays among them meanwhile.
	if err := l.warm(ctx, do("warm-")); err != nil {
		return err
	}
	row := nodesRow(n)
	cost, err := l.through(ctx, row, nodeCallers, noLimit, do("run-"))
	if err != nil {
		return err
	}
	own := cost.by[useNode] + cost.by[useDatabase]
	l.b.add(postgresql, row, databaseShare, cost.by[useDatabase].Seconds()/max(own.Seconds(), 1e-9))
	whole := 0.0
	for _, t := range cost.by {
		whole += t.Seconds()
	}
	l.b.add(postgresql, row, "processors in use", whole/cost.wall.Seconds())
	return nil
}
