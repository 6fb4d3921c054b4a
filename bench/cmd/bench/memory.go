package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/postrider/postrider/bench/report"
)

// attachment measures one message with one large attachment in a process of its own.
func (b *bench) attachment(ctx context.Context) error {
	return b.rounded(ctx, report.Attach, nil, job{
		mode: "plain", n: 1, conns: 1, size: 2048, extra: []string{"-attach", strconv.Itoa(b.attach)},
	})
}

// idle measures the memory of connections that have sent one message each and
// sit still. The sink thinks for two seconds about each message, so that all of
// them are under way at once and a pool has to open all its connections.
func (b *bench) idle(ctx context.Context) error {
	return b.rounded(ctx, report.Idle, []string{"-think", "2s"}, job{
		mode: "starttls", n: b.open, conns: b.open, size: 2048, auth: true, extra: []string{"-hold", "1s"},
	})
}

// rounded runs one job for each library in every round; the bound is none.
func (b *bench) rounded(ctx context.Context, part string, sinkArgs []string, j job) (err error) {
	rec, err := b.record(part)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rec.close()) }()
	s, err := b.start(sinkArgs...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	var peers []peer
	for _, p := range b.without(report.Stream) {
		if p.name != report.Bound {
			peers = append(peers, p)
		}
	}
	for round := range b.rounds {
		for i := range peers {
			j.peer = peers[(i+round)%len(peers)]
			r, err := s.drive(ctx, j)
			if err != nil {
				return err
			}
			r.Round = round + 1
			if err := rec.add(r); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(os.Stderr, "bench: %s: done\n", part)
	return nil
}
