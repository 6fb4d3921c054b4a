package chaos_test

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/pgtest"
)

// shortCluster are the rounds of `make test`: every fault of several nodes at least once, those that take long first.
func shortCluster(t *testing.T) []plan {
	t.Helper()
	p := func(steps ...step) plan { return plan{cluster, steps} }
	s := func(names ...string) step { return named(t, names...) }
	return []plan{
		p(s(stopNode, stallNodeDatabase), s(failOver, killNode)),
		p(s(stallNodeDatabase), s(killDatabase), s(jumpClock, killNode)),
		p(s(stopNode), s(killNode)),
		p(s(jumpClock, dropReply), s(replaceNode), s(cutNodeRelay), s(refuseNodeRelay)),
		p(s(failOver), s(cutNodeDatabase), s(pauseNodeDatabase, killRelay), s(stallNodeRelay)),
	}
}

// TestCluster breaks nodes of a cluster and what they depend on, round after round, several clusters beside each other, since much of a
// round is waiting. Each round has a seed, and `-args -cluster 1 -seed N` makes it again.
func TestCluster(t *testing.T) {
	program(t) // or skip
	t.Parallel()
	first := *seedFlag
	if first == 0 {
		first = rand.Uint64N(1 << 40)
	}
	var mu sync.Mutex
	all := newFigures()
	begun := time.Now()
	type round struct {
		n    int
		seed uint64
	}
	rounds := make(chan round, *clusterFlag) // for whichever world is done with the one before
	for n := range *clusterFlag {
		rounds <- round{n, first + uint64(n)}
	}
	close(rounds)
	one := func(t *testing.T, w *world, p plan, seed uint64, r *rand.Rand) {
		t.Helper()
		t.Logf("seed %d, %v", seed, p)
		got := w.round(t, p, r)
		t.Logf("seed %d: %v", seed, got)
		mu.Lock()
		defer mu.Unlock()
		all.add(got)
	}
	t.Run("in", func(t *testing.T) {
		var plans []plan
		if *clusterFlag == shortRounds && *seedFlag == 0 {
			plans = shortCluster(t)
		}
		for i := range min(*worldsFlag, *clusterFlag) {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				w := newCluster(t, pgtest.Start(t, pgtest.Config{}), true)
				for round := range rounds {
					r := rand.New(rand.NewPCG(round.seed, 1))
					p := random(cluster, r)
					if plans != nil {
						p = plans[round.n]
					}
					one(t, w, p, round.seed, r)
				}
				w.finish(t)
			})
		}
	})
	all.took = time.Since(begun)
	all.report(t, "cluster figures")
}
