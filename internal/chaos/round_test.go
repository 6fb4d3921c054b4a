package chaos_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/pgtest"
)

// callers is how many hand in messages at the same time.
const callers = 5

// step is what breaks at the same time.
type step []fault

// short are the rounds of `make test`: every fault at least once, two at a time now and then.
func short(t *testing.T) []plan {
	t.Helper()
	s := func(names ...string) step { return named(t, names...) }
	return []plan{
		{sqlite, []step{s(killService), s(dropReply), s(killService, cutContent), s(stopService)}},
		{postgresql, []step{s(killDatabase), s(killService), s(dropReply, cutDatabase)}},
		{sqlite, []step{s(killRelay), s(stallRelay), s(cutRelay), s(killService, killRelay)}},
		{postgresql, []step{s(stallDatabase, killService), s(stopService, cutRelay), s(killDatabase, refuseForNow)}},
		{tinyDisk, []step{s(fillDisk), s(fillDisk, killService), s(cutContent)}},
	}
}

// plan is a round.
type plan struct {
	database string
	steps    []step
}

// random makes a round: three to five steps, each of one fault or two.
func random(database string, r *rand.Rand) plan {
	possible := slices.DeleteFunc(faults(), func(f fault) bool { return !slices.Contains(f.in, database) || *onlyFlag != "" && f.name != *onlyFlag })
	p := plan{database: database}
	for range 3 + r.IntN(3) {
		s := step{possible[r.IntN(len(possible))]}
		if other := possible[r.IntN(len(possible))]; r.IntN(2) == 0 && (other.part != s[0].part || other.part == partNode) {
			s = append(s, other)
		}
		p.steps = append(p.steps, s)
	}
	return p
}

func (p plan) String() string {
	var text []string
	for _, s := range p.steps {
		var names []string
		for _, f := range s {
			names = append(names, f.name)
		}
		text = append(text, strings.Join(names, " + "))
	}
	return p.database + ": " + strings.Join(text, "; ")
}

// TestRounds breaks the service round after round. Each round has a seed, and `-args -rounds 1 -seed N` makes it again.
func TestRounds(t *testing.T) {
	program(t) // or skip
	t.Parallel()
	first := *seedFlag
	if first == 0 {
		first = rand.Uint64N(1 << 40)
	}
	plans := short(t)
	var mu sync.Mutex
	all := newFigures()
	begun := time.Now()
	// rounds makes those of all rounds that are for a database.
	rounds := func(t *testing.T, database string, run func(t *testing.T, p plan, r *rand.Rand) figures) {
		for n := range *roundsFlag {
			seed := first + uint64(n)
			r := rand.New(rand.NewPCG(seed, 1))
			p := random([]string{sqlite, postgresql, sqlite, postgresql, tinyDisk}[int(seed%5)], r)
			if *roundsFlag == len(plans) && *seedFlag == 0 {
				p = plans[n]
			}
			if p.database != database {
				continue
			}
			t.Logf("round %d, seed %d, %v", n+1, seed, p)
			got := run(t, p, r)
			t.Logf("round %d, seed %d: %v", n+1, seed, got)
			mu.Lock()
			all.add(got)
			mu.Unlock()
		}
	}
	t.Run("on", func(t *testing.T) {
		for _, database := range []string{sqlite, postgresql} {
			t.Run(database, func(t *testing.T) {
				t.Parallel()
				// One world for all rounds: they leave it as real ones are left.
				var w *world
				rounds(t, database, func(t *testing.T, p plan, r *rand.Rand) figures {
					if w == nil {
						var server *pgtest.Server
						if database == postgresql {
							server = pgtest.Start(t, pgtest.Config{})
						}
						w = newWorld(t, database, server)
					}
					return w.round(t, p, r)
				})
				if w != nil {
					w.finish(t)
				}
			})
		}
		t.Run(tinyDisk, func(t *testing.T) {
			t.Parallel()
			// A world for each round, before what it keeps fills the disk.
			rounds(t, tinyDisk, func(t *testing.T, p plan, r *rand.Rand) (got figures) {
				t.Run("round", func(t *testing.T) {
					w := newWorld(t, tinyDisk, nil)
					got = w.round(t, p, r)
					w.finish(t)
				})
				return got
			})
		})
	})
	all.took = time.Since(begun)
	all.report(t, "figures")
}

// finish looks again at all that was ever counted, when what was sent again after its round shows too.
func (w *world) finish(t *testing.T) {
	t.Helper()
	w.judge(t, w.ledger.all(), nil)
	w.decide(t)
	w.judge(t, w.ledger.all(), nil)
}

// round makes one round and gives what came of it.
func (w *world) round(t *testing.T, p plan, r *rand.Rand) figures {
	t.Helper()
	begun := time.Now()
	got := newFigures()
	got.rounds = 1
	old := len(w.ledger.all())
	last, giveUp := context.WithTimeout(t.Context(), 2*patience)
	defer giveUp()
	ctx, stop := context.WithCancel(last)
	defer stop()
	wrong := make(chan error, callers)
	var group sync.WaitGroup
	for range callers {
		random := rand.New(rand.NewPCG(r.Uint64(), 2))
		group.Go(func() { wrong <- w.keepPosting(ctx, last, random) })
	}
	for _, s := range p.steps {
		w.moment(t, r)
		w.strike(t, s, r, &got)
	}
	w.moment(t, r)
	stop()
	group.Wait()
	for range callers {
		if err := <-wrong; err != nil {
			t.Errorf("an answer that should not be: %v", err)
		}
	}
	entries := w.ledger.all()[old:]
	w.settle(t, entries)
	w.judge(t, entries, &got)
	got.longest = time.Since(begun)
	if t.Failed() {
		t.Fatalf("the round failed; the end of the log:\n%s", w.tails())
	}
	return got
}

// moment waits for a random moment under load: until some more messages are accepted.
func (w *world) moment(t *testing.T, r *rand.Rand) {
	t.Helper()
	aim := w.ledger.total() + 10 + r.IntN(60)
	within(t, "more messages are accepted", func() bool { return w.ledger.total() >= aim })
}

// strike lets faults happen, mends them in a random order, and waits until all works again.
func (w *world) strike(t *testing.T, s step, r *rand.Rand, got *figures) {
	t.Helper()
	var mends []func()
	var names []string
	struck := map[*node]bool{}
	// Who joins needs the database that is about to break.
	s = slices.Clone(s)
	slices.SortStableFunc(s, func(a, b fault) int {
		switch {
		case a.name == replaceNode && b.name != replaceNode:
			return -1
		case b.name == replaceNode && a.name != replaceNode:
			return 1
		}
		return 0
	})
	for _, f := range s {
		n := w.victim(struck, r)
		struck[n] = true
		name := f.name
		if len(s) > 1 {
			name = twoAtOnce
		}
		if f.part == partNode {
			w.receiver.watch(n.name)
		}
		mends = append(mends, f.strike(t, blow{w, n, r}))
		names = append(names, name)
		// Not a wait for something: this is how long the fault lasts.
		pause(t.Context(), f.time(r))
		if f.part == partNode {
			w.takenOver(t, f, len(s) == 1, got)
		}
	}
	r.Shuffle(len(mends), func(i, j int) { mends[i], mends[j] = mends[j], mends[i] })
	for _, mend := range mends {
		mend()
	}
	got.recovery[names[0]] = append(got.recovery[names[0]], w.probe(t, r))
	got.faults += len(s)
	if w.database == cluster {
		for _, n := range w.nodes {
			if n.runs() {
				n.ready(t)
			}
		}
	}
}

// victim is a node to be broken that is not yet: mostly one that sends, if there is one.
func (w *world) victim(struck map[*node]bool, r *rand.Rand) *node {
	var possible, sending []*node
	for _, n := range w.nodes {
		if n.runs() && !struck[n] {
			possible = append(possible, n)
			if w.receiver.hears(n.name) {
				sending = append(sending, n)
			}
		}
	}
	if r.IntN(4) > 0 && len(sending) > 0 {
		possible = sending
	}
	if len(possible) == 0 {
		return w.nodes[0]
	}
	return possible[r.IntN(len(possible))]
}

func (f figures) String() string {
	return fmt.Sprintf("%d accepted, %d sent, %d unknown, %d waiting for the second try, %d twice, %d lost, in %.1f s",
		f.accepted, f.sent, f.unknown, f.waiting, f.twice, f.lost, f.longest.Seconds())
}
