package ratelimit_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/ratelimit"
)

func TestWindowMoves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, ratelimit.MemoryConfig{})
		p := ratelimit.DefaultPolicy()
		// 25 requests at 0 s and 25 at 40 s: a bucket that refills would let more in at 41 s.
		for range 25 {
			allow(t, m, "ann", p)
		}
		<-time.After(40 * time.Second)
		for range 24 {
			allow(t, m, "ann", p)
		}
		if d := allow(t, m, "ann", p); !d.Allowed || d.Remaining != 0 || d.Reset != 20*time.Second || d.RetryAfter != 0 {
			t.Errorf("the last: %+v", d)
		}
		<-time.After(20*time.Second - time.Microsecond)
		if d := allow(t, m, "ann", p); d.Allowed || d.RetryAfter != time.Microsecond {
			t.Errorf("just before: %+v", d)
		}
		if d := allow(t, m, "bob", p); !d.Allowed || d.Remaining != 49 {
			t.Errorf("somebody else: %+v", d)
		}
		<-time.After(time.Microsecond)
		if d := allow(t, m, "ann", p); !d.Allowed || d.Remaining != 24 || d.Reset != 40*time.Second {
			t.Errorf("just after: %+v", d)
		}
		<-time.After(2 * time.Minute)
		allow(t, m, "ann", p)
		for i := range 1000 {
			// Every shard is looked at: what is over is gone.
			allow(t, m, fmt.Sprint(i), p)
		}
		if s := m.Stats(); s.Keys != 1001 {
			t.Errorf("%d keys, want 1001", s.Keys)
		}
	})
}

func TestMemoryConfigFault(t *testing.T) {
	t.Parallel()
	if _, err := ratelimit.NewMemory(ratelimit.MemoryConfig{MaxBytes: -1}); err == nil {
		t.Error("a negative MaxBytes is taken")
	}
}

func TestFullMemoryShares(t *testing.T) {
	t.Parallel()
	c := newTicker()
	p := ratelimit.Policy{Name: "user", Limit: 4, Window: time.Minute}
	m := newMemory(t, ratelimit.MemoryConfig{MaxBytes: 1000, Now: c.now}) // room for three
	for i := range 3 {
		if d := allow(t, m, fmt.Sprint("early ", i), p); d.Shared || d.Remaining != 3 {
			t.Errorf("early %d: %+v", i, d)
		}
	}
	for i := range 6 {
		d := allow(t, m, fmt.Sprint("late ", i), p)
		if !d.Shared || d.Allowed != (i < 4) {
			t.Errorf("late %d: %+v", i, d)
		}
	}
	if d := allow(t, m, "early 0", p); d.Shared || d.Remaining != 2 {
		t.Errorf("a key with room of its own: %+v", d)
	}
	other := ratelimit.Policy{Name: "other", Limit: 4, Window: time.Minute}
	if d := allow(t, m, "late 0", other); !d.Shared || !d.Allowed {
		t.Errorf("another policy: %+v", d)
	}
	c.pass(30 * time.Second)
	// The shared count is full, and one that is refused does not prolong it.
	if d := allow(t, m, "late 9", p); d.Allowed || d.RetryAfter != 30*time.Second {
		t.Errorf("late 9: %+v", d)
	}
	c.pass(30 * time.Second)
	if d := allow(t, m, "late 0", p); d.Shared || d.Remaining != 3 {
		t.Errorf("when there is room again: %+v", d)
	}
	if s := m.Stats(); s.Bytes > 1000 || s.Shared != 8 {
		t.Errorf("stats %+v", s)
	}
}

// TestFullMemoryIsExact: whatever the keys and times, memory stays within its bound, and a
// key that moves between a count of its own and a shared one gets no more than its limit.
func TestFullMemoryIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const room = 1500
		c := newTicker()
		m, err := ratelimit.NewMemory(ratelimit.MemoryConfig{MaxBytes: room, Now: c.now})
		if err != nil {
			t.Fatal(err)
		}
		p := ratelimit.Policy{Name: "p", Limit: rapid.IntRange(1, 5).Draw(t, "limit"), Window: time.Minute}
		admitted := map[string][]time.Time{}
		for range rapid.IntRange(1, 200).Draw(t, "requests") {
			c.pass(time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "pause")))
			key := fmt.Sprint(rapid.IntRange(0, 11).Draw(t, "key"))
			d, err := m.Allow(t.Context(), key, p)
			if err != nil {
				t.Fatal(err)
			}
			if s := m.Stats(); s.Bytes > room {
				t.Fatalf("%d octets", s.Bytes)
			}
			if !d.Allowed {
				continue
			}
			times := append(admitted[key], c.at)
			admitted[key] = times
			// Times are counted in whole microseconds.
			if i := len(times) - 1 - p.Limit; i >= 0 && times[i+p.Limit].Sub(times[i]) < p.Window-time.Microsecond {
				t.Fatalf("key %s: %d requests in %s", key, p.Limit+1, times[i+p.Limit].Sub(times[i]))
			}
		}
	})
}

func TestLimitGrowsInFullMemory(t *testing.T) {
	t.Parallel()
	m := newMemory(t, ratelimit.MemoryConfig{MaxBytes: 600})
	small := ratelimit.Policy{Name: "p", Limit: 2, Window: time.Hour}
	large := ratelimit.Policy{Name: "p", Limit: 1000, Window: time.Hour}
	allow(t, m, "k", small)
	if d := allow(t, m, "k", large); !d.Allowed || d.Remaining != 0 {
		t.Errorf("without room the old limit stays: %+v", d)
	}
	if s := m.Stats(); s.Bytes > 600 {
		t.Errorf("stats %+v", s)
	}
}

func TestRefund(t *testing.T) {
	t.Parallel()
	c := newTicker()
	m := c.memory(t)
	p := ratelimit.Policy{Name: "user", Limit: 2, Window: time.Minute}
	first := allow(t, m, "k", p)
	c.pass(10 * time.Second)
	second := allow(t, m, "k", p)
	refused := allow(t, m, "k", p)
	for _, d := range []ratelimit.Decision{refused, second, second, {}} {
		if err := m.Refund(t.Context(), "k", p, d); err != nil {
			t.Fatal(err)
		}
	}
	if d := allow(t, m, "k", p); !d.Allowed || d.Remaining != 0 || d.Reset != 50*time.Second {
		t.Errorf("after one refund: %+v", d)
	}
	if err := m.Refund(t.Context(), "k", p, first); err != nil {
		t.Fatal(err)
	}
	if d := allow(t, m, "k", p); !d.Allowed || d.Reset != time.Minute {
		t.Errorf("after the other: %+v", d)
	}
}

func TestPolicyOffOrWrong(t *testing.T) {
	t.Parallel()
	m := newMemory(t, ratelimit.MemoryConfig{})
	if d := allow(t, m, "k", ratelimit.Policy{Name: "p"}); d != (ratelimit.Decision{Allowed: true}) {
		t.Errorf("off: %+v", d)
	}
	if d, err := m.Allow(t.Context(), "k", ratelimit.Policy{Name: "p", Limit: -1}); err == nil || d.Allowed {
		t.Errorf("wrong: %+v, %v", d, err)
	}
	if s := m.Stats(); s.Keys != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestStress lets many goroutines ask at once by the real clock, also with too little
// memory, and looks at the times afterwards.
func TestStress(t *testing.T) {
	t.Parallel()
	for name, room := range map[string]int64{"room": 0, "full": 2000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMemory(t, ratelimit.MemoryConfig{MaxBytes: room})
			p := ratelimit.Policy{Name: "user", Limit: 10, Window: 5 * time.Millisecond}
			var (
				wg    sync.WaitGroup
				mu    sync.Mutex
				times = map[string][]int64{}
			)
			for g := range 8 {
				wg.Go(func() {
					mine := map[string][]int64{}
					for i := range 5000 {
						key := fmt.Sprint((i*7 + g) % 9)
						d, err := m.Allow(t.Context(), key, p)
						if err != nil {
							t.Error(err)
							return
						}
						switch {
						case d.Allowed && i%10 == 0:
							if err := m.Refund(t.Context(), key, p, d); err != nil {
								t.Error(err)
							}
						case d.Allowed:
							mine[key] = append(mine[key], d.Receipt[0])
						}
					}
					mu.Lock()
					defer mu.Unlock()
					for key, at := range mine {
						times[key] = append(times[key], at...)
					}
				})
			}
			wg.Wait()
			for key, at := range times {
				slices.Sort(at)
				for i := p.Limit; i < len(at); i++ {
					if at[i]-at[i-p.Limit] < p.Window.Microseconds() {
						t.Fatalf("key %s: %d requests in %d µs", key, p.Limit+1, at[i]-at[i-p.Limit])
					}
				}
			}
		})
	}
}
