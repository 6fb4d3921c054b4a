package chaos_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	roundsFlag  = flag.Int("rounds", shortRounds, "how many rounds TestRounds makes")
	clusterFlag = flag.Int("cluster", shortRounds, "how many rounds TestCluster makes")
	worldsFlag  = flag.Int("worlds", 3, "how many clusters TestCluster has beside each other")
	onlyFlag    = flag.String("only", "", "the fault, one after the other, of random rounds; empty: all there are")
	seedFlag    = flag.Uint64("seed", 0, "the seed of the first round; 0: a random one")
	figuresFlag = flag.Bool("figures", false, "write the figures of TestRounds or TestCluster into docs/reliability.md")
)

// shortRounds is how many there are in `make test`, chosen so that every fault is in them.
const shortRounds = 5

// together is how many tests run at the same time. Most of their time is waiting.
const together = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", together); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if built.dir != "" {
			if err := os.RemoveAll(built.dir); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		os.Exit(code)
	}))
}

// built is the program, once for all tests: as it is released, but for its clock, which can be set, see overlay. It is built without the
// race detector, which would be another program.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// program gives the path of the built program.
func program(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("real server: takes long, left out by -short")
	}
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "postrider-chaos-"); built.err != nil {
			return
		}
		// Not the test's context: the program is for all tests.
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
		defer cancel()
		var list string
		if list, built.err = overlay(built.dir); built.err != nil {
			return
		}
		c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-overlay", list, "-o", filepath.Join(built.dir, "postrider"), "../../cmd/postrider")
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			built.err = errors.Join(err, errors.New(string(out)))
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "postrider")
}

// patience bounds every wait for something that must happen. It is long, since the machine may have much to do: a test that
// fails by it has waited for what never came.
const patience = 90 * time.Second

// within asks done again and again until it says yes, and fails the test after patience.
func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !done() {
		if !pause(ctx, 10*time.Millisecond) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// pause lets time pass. It reports false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
