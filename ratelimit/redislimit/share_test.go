package redislimit_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/redistest"
	"github.com/postrider/postrider/ratelimit"
	"github.com/postrider/postrider/ratelimit/redislimit"
)

// childEnv makes the test binary a process that asks for requests on the Redis it names.
const childEnv = "REDISLIMIT_TEST_CHILD"

// sharedPolicy is short enough for several windows to pass in a test.
func sharedPolicy() ratelimit.Policy {
	return ratelimit.Policy{Name: "shared", Limit: 20, Window: 200 * time.Millisecond}
}

// sharedFor is how long each process asks.
const sharedFor = 1500 * time.Millisecond

// child asks as fast as it can, from four goroutines, and prints the server's time of each
// request that was admitted.
func child(address string) int {
	client, err := redislimit.Open(address, patient)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer client.Close()
	l, err := redislimit.New(redislimit.Config{Client: client, Timeout: patient})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	times, err := hammer(context.Background(), l, sharedPolicy(), 4)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, at := range times {
		fmt.Println(at)
	}
	return 0
}

// hammer asks from n goroutines for sharedFor and returns when the server admitted.
func hammer(ctx context.Context, l *redislimit.Limiter, p ratelimit.Policy, n int) (times []int64, err error) {
	var (
		wg sync.WaitGroup
		mu sync.Mutex
	)
	ctx, cancel := context.WithTimeout(ctx, sharedFor)
	defer cancel()
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				d, e := l.Allow(context.WithoutCancel(ctx), "somebody", p)
				mu.Lock()
				if e != nil {
					err = e
				}
				if d.Allowed {
					times = append(times, d.Receipt[1])
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return times, err
}

func TestTwoProcessesShareALimit(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		times []int64
		each  []int
	)
	for range 2 {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), childEnv+"="+server.URL())
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("%v: %s", err, out)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			n := 0
			for lines := bufio.NewScanner(strings.NewReader(string(out))); lines.Scan(); n++ {
				var at int64
				if _, err := fmt.Sscan(lines.Text(), &at); err != nil {
					t.Error(err)
				}
				times = append(times, at)
			}
			each = append(each, n)
		})
	}
	wg.Wait()
	p := sharedPolicy()
	slices.Sort(times)
	if from, more := tooMany(times, p); more {
		t.Errorf("more than %s from %d on", p, from)
	}
	// Both asked all the time, so that no place stays free for long.
	if len(times) < p.Limit {
		t.Errorf("%d requests were admitted, %v in each process", len(times), each)
	}
	t.Logf("admitted %v", each)
}

func TestServerClockStress(t *testing.T) {
	t.Parallel()
	l, _ := onServer(t, redislimit.Config{})
	p := sharedPolicy()
	times, err := hammer(t.Context(), l, p, 8)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(times)
	if from, more := tooMany(times, p); more {
		t.Errorf("more than %s from %d on", p, from)
	}
	if s := l.Stats(); !s.Up || s.Redis == 0 || s.Failures != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	nodes := redistest.StartCluster(t, 2)
	client := open(t, nodes[0].URL()+"?addr="+nodes[1].Addr, patient)
	one := newLimiter(t, redislimit.Config{Client: client, Timeout: patient, Refuse: true})
	p := ratelimit.Policy{Name: "user", Limit: 2, Window: time.Hour}
	for i := range 20 {
		for n := range 3 {
			d, err := one.Allow(t.Context(), fmt.Sprint("key ", i), p)
			if err != nil {
				t.Fatal(err)
			}
			if d.Allowed != (n < 2) {
				t.Errorf("key %d, request %d: %+v", i, n, d)
			}
			if n == 1 {
				if err := one.Refund(t.Context(), fmt.Sprint("key ", i), p, d); err != nil {
					t.Error(err)
				}
				if d, err = one.Allow(t.Context(), fmt.Sprint("key ", i), p); err != nil || !d.Allowed {
					t.Errorf("after a refund: %+v, %v", d, err)
				}
			}
		}
	}
	for _, n := range nodes {
		if size, err := n.Do("DBSIZE"); err != nil || size == "0" {
			t.Errorf("node %s holds %q keys, %v", n.Addr, size, err)
		}
	}
}
