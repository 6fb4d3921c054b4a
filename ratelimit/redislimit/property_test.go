package redislimit_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/redistest"
	"github.com/postrider/postrider/ratelimit"
	"github.com/postrider/postrider/ratelimit/redislimit"
)

// counter is a limiter that can be told to forget.
type counter interface {
	ratelimit.Limiter
	ratelimit.Refunder
}

// clock is the time that a property test sets, in microseconds.
type clock struct{ at int64 }

func newClock() *clock {
	return &clock{at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()}
}

func (c *clock) micros() int64  { return c.at }
func (c *clock) now() time.Time { return time.UnixMicro(c.at) }

// model decides as the package comment says, with a plain list for each key.
type model map[string][]int64

func (m model) allow(name string, now int64, p ratelimit.Policy) ratelimit.Decision {
	span := p.Window.Microseconds()
	times := m[name]
	if n := len(times); n > 0 && times[n-1] > now {
		back := times[n-1] - now
		for i := range times {
			times[i] -= back
		}
	}
	times = slices.DeleteFunc(times, func(at int64) bool { return now-at >= span })
	d := ratelimit.Decision{Limit: p.Limit, Allowed: len(times) < p.Limit}
	if d.Allowed {
		times = append(times, now)
	}
	d.Remaining = max(0, p.Limit-len(times))
	d.Reset = time.Duration(times[max(0, len(times)-p.Limit)]+span-now) * time.Microsecond
	if !d.Allowed {
		d.RetryAfter = d.Reset
	}
	m[name] = times
	return d
}

func (m model) refund(name string, at int64) {
	times := m[name]
	for i := len(times) - 1; i >= 0; i-- {
		if times[i] == at {
			m[name] = slices.Delete(times, i, i+1)
			return
		}
	}
}

// TestExactly runs one property on every limiter: with any requests at any times it decides
// as the model, and what it admits is never more than the limit in any window.
func TestExactly(t *testing.T) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			c := newClock()
			m, err := ratelimit.NewMemory(ratelimit.MemoryConfig{Now: c.now})
			if err != nil {
				t.Fatal(err)
			}
			decides(t, c, true, m)
		})
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		client, runs := open(t, redistest.Start(t).URL(), patient), 0
		rapid.Check(t, func(rt *rapid.T) {
			c := newClock()
			runs++
			l := newLimiter(t, redislimit.Config{Client: client, Prefix: fmt.Sprint(runs, ":"), Refuse: true, Timeout: patient})
			redislimit.SetClock(l, c.micros)
			decides(rt, c, true, l)
		})
	})
	t.Run("redis shared", func(t *testing.T) {
		t.Parallel()
		server, runs := redistest.Start(t).URL(), 0
		one, two := open(t, server, patient), open(t, server, patient)
		rapid.Check(t, func(rt *rapid.T) {
			c := newClock()
			runs++
			var both []counter
			for _, client := range []redislimit.Config{{Client: one}, {Client: two}} {
				client.Prefix, client.Timeout = fmt.Sprint(runs, ":"), patient
				client.Memory = newMemory(t, ratelimit.MemoryConfig{Now: c.now})
				l := newLimiter(t, client)
				redislimit.SetClock(l, c.micros)
				both = append(both, l)
			}
			decides(rt, c, false, both...)
		})
	})
}

// decides makes requests at random to any of the limiters, which count together, and
// compares with the model.
func decides(t *rapid.T, c *clock, alone bool, limiters ...counter) {
	type admitted struct {
		key     string
		policy  ratelimit.Policy
		at      int64
		from    counter
		receipt ratelimit.Decision
	}
	var (
		want     = model{}
		last     []admitted
		all      = map[string][]int64{}
		back     = false // the clock was set back
		changed  = false // a limit was
		policies = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) ratelimit.Policy {
			return ratelimit.Policy{
				Limit: rapid.IntRange(1, 12).Draw(t, "limit"),
				// Hours: the expiry of keys runs by Redis' own clock.
				Window: time.Duration(rapid.IntRange(1, 48).Draw(t, "hours")) * time.Hour,
			}
		}), 1, 3).Draw(t, "policies")
		keys = []string{"a", "b", "", "#", "a}{b"}
	)
	for i := range policies {
		policies[i].Name = fmt.Sprint("policy ", i)
	}
	ask := func(t *rapid.T, l counter, key string, p ratelimit.Policy) {
		got, err := l.Allow(t.Context(), key, p)
		if err != nil {
			t.Fatal(err)
		}
		name := p.Name + key
		if got.Allowed {
			last = append(last, admitted{key, p, c.at, l, got})
			all[name] = append(all[name], c.at)
		}
		got.Receipt = ratelimit.Receipt{}
		if w := want.allow(name, c.at, p); got != w {
			t.Fatalf("%s of %q:\ngot  %+v\nwant %+v", p, key, got, w)
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"allow": func(t *rapid.T) {
			p := rapid.SampledFrom(policies).Draw(t, "policy")
			key := rapid.SampledFrom(keys).Draw(t, "key")
			l := limiters[rapid.IntRange(0, len(limiters)-1).Draw(t, "limiter")]
			for range rapid.IntRange(1, 15).Draw(t, "times") {
				ask(t, l, key, p)
			}
		},
		"pass": func(t *rapid.T) {
			step := rapid.OneOf(
				rapid.Int64Range(0, 3),
				rapid.Int64Range(0, time.Hour.Microseconds()*24),
				rapid.Custom(func(t *rapid.T) int64 { // to the edge of a window
					p := rapid.SampledFrom(policies).Draw(t, "policy")
					return p.Window.Microseconds() + rapid.Int64Range(-1, 1).Draw(t, "off by")
				}),
				rapid.Custom(func(t *rapid.T) int64 { // to the edge of a request's own
					if len(last) == 0 {
						return rapid.Int64Range(0, 1).Draw(t, "step")
					}
					a := last[rapid.IntRange(0, len(last)-1).Draw(t, "request")]
					return max(0, a.at+a.policy.Window.Microseconds()+rapid.Int64Range(-1, 1).Draw(t, "off by")-c.at)
				}),
			).Draw(t, "step")
			c.at += step
		},
		"step back": func(t *rapid.T) {
			if !alone {
				t.Skip("each process remembers its own share, and would shift that alone")
			}
			back = true
			// What was over before may be remembered or not: renew it.
			for _, p := range policies {
				for _, key := range keys {
					if times := want[p.Name+key]; len(times) > 0 && c.at-times[len(times)-1] >= p.Window.Microseconds() {
						ask(t, limiters[0], key, p)
					}
				}
			}
			c.at -= rapid.Int64Range(1, time.Hour.Microseconds()*72).Draw(t, "by")
		},
		"change of limit": func(t *rapid.T) {
			if !alone {
				t.Skip("each process would tell when its own share shrinks to the limit")
			}
			changed = true
			policies[rapid.IntRange(0, len(policies)-1).Draw(t, "policy")].Limit = rapid.IntRange(1, 12).Draw(t, "limit")
		},
		"refund": func(t *rapid.T) {
			// After a step back a refund may find nothing; both then keep the request.
			if len(last) == 0 || back {
				t.Skip("nothing to refund")
			}
			i := len(last) - 1
			a := last[i]
			last = last[:i]
			if err := a.from.Refund(t.Context(), a.key, a.policy, a.receipt); err != nil {
				t.Fatal(err)
			}
			name := a.policy.Name + a.key
			want.refund(name, a.at)
			if j := slices.Index(all[name], a.at); j >= 0 {
				all[name] = slices.Delete(all[name], j, j+1)
			}
		},
		"": func(t *rapid.T) {
			if back || changed {
				return
			}
			for _, p := range policies {
				for _, key := range keys {
					if at, more := tooMany(all[p.Name+key], p); more {
						t.Fatalf("more than %s of %q from %d on", p, key, at)
					}
				}
			}
		},
	})
}

// tooMany reports whether more than the limit lie in any window, and where it begins. The
// times are in order.
func tooMany(times []int64, p ratelimit.Policy) (from int64, more bool) {
	for i := p.Limit; i < len(times); i++ {
		if times[i]-times[i-p.Limit] < p.Window.Microseconds() {
			return times[i-p.Limit], true
		}
	}
	return 0, false
}
