package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/postrider/postrider/bench/report"
)

// A throughput run has as many messages as fill the aim, within these bounds:
// few enough to be quick, enough that the first connects do not count.
const (
	leastMessages = 300
	mostMessages  = 50000
)

// throughput measures messages a second and CPU time. The peers take turns
// within each round, in another order each time, so that all of them meet the
// machine in the same moods.
func (b *bench) throughput(ctx context.Context) (err error) {
	rec, err := b.record(report.Throughput)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rec.close()) }()
	s, err := b.start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	for _, mode := range either(b.modes, "plain", "starttls") {
		if mode == "tls" {
			continue // after the handshake the same as STARTTLS
		}
		for _, size := range either(b.sizes, 2048, 51200) {
			for _, conns := range either(b.conns, 1, 8) {
				if err := b.cell(ctx, s, rec, job{mode: mode, size: size, conns: conns, auth: mode != "plain"}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// cell measures all peers in one combination. Round 0 is not recorded: it finds
// how many messages fill the aim, and warms the page cache.
func (b *bench) cell(ctx context.Context, s *server, rec *recorder, j job) error {
	peers := b.without(report.Stream) // does not send one message at a time
	n := map[string]int{}
	for round := range b.rounds + 1 {
		for i := range peers {
			j.peer = peers[(i+round)%len(peers)]
			j.n = leastMessages
			if round > 0 {
				j.n = n[j.peer.name]
			}
			r, err := s.drive(ctx, j)
			if err != nil {
				return err
			}
			if round == 0 {
				n[j.peer.name] = min(mostMessages, max(leastMessages, int(r.Rate()*b.aim.Seconds())))
				continue
			}
			r.Round = round
			if err := rec.add(r); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(os.Stderr, "bench: %s, %d bytes, %d connections: done\n", j.mode, j.size, j.conns)
	return nil
}

// without are the peers built, but for one.
func (b *bench) without(name string) []peer {
	var l []peer
	for _, p := range b.built {
		if p.name != name {
			l = append(l, p)
		}
	}
	return l
}

// either is the choice of the command line or, without one, the default.
func either[T any](chosen []T, standard ...T) []T {
	if len(chosen) > 0 {
		return chosen
	}
	return standard
}
