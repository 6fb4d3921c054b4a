package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/postrider/postrider/bench/report"
)

// latency measures round trips behind the sink's delay line.
func (b *bench) latency(ctx context.Context) error {
	s, err := b.start("-rtt", b.rtt.String())
	if err != nil {
		return err
	}
	err = b.first(ctx, s)
	if err == nil {
		err = b.warm(ctx, s)
	}
	return errors.Join(err, s.Stop())
}

// first measures the way to the first message, connecting and AUTH included, one
// process at a time: handshakes need the processor.
func (b *bench) first(ctx context.Context, s *server) (err error) {
	rec, err := b.record(report.First)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rec.close()) }()
	peers := b.without(report.Stream)
	for _, mode := range either(b.modes, "plain", "starttls", "tls") {
		for round := range b.rounds {
			for i := range peers {
				p := peers[(i+round)%len(peers)]
				r, err := s.drive(ctx, job{peer: p, mode: mode, n: 1, conns: 1, size: 2048, auth: true})
				if err != nil {
					return err
				}
				r.Round, r.RTTMS = round+1, b.rtt.Seconds()*1000
				if err := rec.add(r); err != nil {
					return err
				}
			}
		}
		fmt.Fprintf(os.Stderr, "bench: first message, %s: done\n", mode)
	}
	return nil
}

// warm measures the time of later messages on one connection. It is all waiting,
// so the peers of a round run at the same time; the sink cannot tell their
// messages apart and its counts are left out.
func (b *bench) warm(ctx context.Context, s *server) (err error) {
	rec, err := b.record(report.Warm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rec.close()) }()
	for _, mode := range either(b.modes, "plain", "starttls") {
		if mode == "tls" {
			continue // after the handshake the same as STARTTLS
		}
		for round := range b.rounds {
			runs := make([]report.Run, len(b.built))
			var wg sync.WaitGroup
			for i, p := range b.built {
				wg.Go(func() {
					j := job{peer: p, mode: mode, n: 41, conns: 1, size: 2048, auth: true}
					if p.name == report.Stream { // 40 would fit into one window
						j.n, j.extra = 401, []string{"-batch", "400"}
					}
					runs[i] = s.launch(ctx, j)
				})
			}
			wg.Wait()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			for _, r := range runs {
				r.Round, r.RTTMS = round+1, b.rtt.Seconds()*1000
				if err := rec.add(r); err != nil {
					return err
				}
			}
		}
		fmt.Fprintf(os.Stderr, "bench: later messages, %s: done\n", mode)
	}
	return nil
}
