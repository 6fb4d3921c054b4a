package dispatch

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The level is halved at most once a second and once a round trip, never leaves its bounds, and comes back by itself.
func TestSlowdown(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s slowdown
		conns := rapid.IntRange(1, 200).Draw(t, "conns")
		s.set(conns)
		now := epoch
		var lastCut time.Time
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(5*time.Second)).Draw(t, "wait")))
			started := now.Add(-time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "took")))
			before := s.now(now)
			halved := s.slow(now, started)
			after := s.now(now)
			if halved {
				if !lastCut.IsZero() && (now.Sub(lastCut) < time.Second || !started.After(lastCut)) {
					t.Fatalf("halved %v after the last time by a message started %v before that", now.Sub(lastCut), lastCut.Sub(started))
				}
				lastCut = now
				if want := max(minLevel, before/2); after != want {
					t.Fatalf("halved from %v to %v", before, after)
				}
			} else if after != before {
				t.Fatalf("changed from %v to %v without being halved", before, after)
			}
			if n := s.slots(now); n < 1 || n > conns {
				t.Fatalf("%d at the same time of %d", n, conns)
			}
			if gap := s.gap(now); gap < 0 || gap > 31*time.Second {
				t.Fatalf("a gap of %v", gap)
			}
		}
		saved := s.save(now)
		var next slowdown
		next.set(conns)
		next.load(now, saved)
		if d := next.now(now) - s.now(now); d > 1e-9 || d < -1e-9 {
			t.Fatalf("saved %v, loaded %v", s.now(now), next.now(now))
		}
		if level := s.now(now.Add(time.Minute + riseParts*time.Second)); level != float64(conns) {
			t.Fatalf("after 80 s without a complaint the level is %v of %d", level, conns)
		}
		for d, last := time.Duration(0), 0.0; d < 2*time.Minute; d += 700 * time.Millisecond {
			level := s.now(now.Add(d))
			if level < last {
				t.Fatalf("it fell by itself from %v to %v", last, level)
			}
			last = level
		}
	})
}

// What the slow-down comes to, as a table.
func TestSlowdownLevels(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		level     float64
		wantSlots int
		wantGap   time.Duration
	}{
		{10, 10, 0},
		{2.9, 2, 0},
		{1, 1, 0},
		{0.5, 1, time.Second},
		{0.25, 1, 3 * time.Second},
		{1.0 / 32, 1, 31 * time.Second},
		{0.001, 1, 31 * time.Second},
	} {
		var s slowdown
		s.set(20)
		s.load(epoch, tt.level)
		if s.slots(epoch) != tt.wantSlots || s.gap(epoch) != tt.wantGap {
			t.Errorf("level %v: %d at the same time, gap %v; want %d, %v", tt.level, s.slots(epoch), s.gap(epoch), tt.wantSlots, tt.wantGap)
		}
	}
}

// An open circuit lets nothing pass until its time has come, then one message at a time; its waits grow from 1 s to 5 min.
func TestCircuit(t *testing.T) {
	t.Parallel()
	var c circuit
	now := epoch
	many := 50
	for n := range opensAfter {
		if c.pass(now, 50) != many {
			t.Fatalf("%d pass after %d failures, want %d", c.pass(now, 50), n, many)
		}
		c.start()
		started := now
		now = now.Add(time.Millisecond)
		if opened := c.done(now, started, true, 0.5); opened != (n == opensAfter-1) {
			t.Fatalf("failure %d: opened %v", n+1, opened)
		}
		many = 1
	}
	if c.done(now, epoch, true, 0.5) || c.failures != opensAfter {
		t.Fatal("a failure of what was under way counted again")
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
		want *= time.Second
		if got := c.until.Sub(now); got != want {
			t.Fatalf("open for %v, want %v", got, want)
		}
		if c.pass(now, 50) != 0 || c.pass(c.until.Add(-1), 50) != 0 {
			t.Fatal("an open circuit let something pass")
		}
		now = c.until
		if c.pass(now, 50) != 1 || c.pass(now, 0) != 0 {
			t.Fatal("no probe, or more than one")
		}
		c.start()
		if c.pass(now, 50) != 0 {
			t.Fatal("a second probe beside the first")
		}
		c.untried()
		if c.pass(now, 50) != 1 {
			t.Fatal("no other probe for the one that came back untried")
		}
		c.start()
		started := now
		now = now.Add(time.Second)
		if !c.done(now, started, true, 0.5) {
			t.Fatal("a failed probe changed nothing")
		}
	}
	var other circuit
	other.load(c.failures, c.until)
	if other.pass(c.until.Add(-1), 9) != 0 || other.pass(c.until, 9) != 1 {
		t.Fatal("the saved state is not open and then to be probed")
	}
	if !c.done(now, now, false, 0.5) || c.open() || c.pass(now, 7) != 7 {
		t.Fatal("a relay that answers did not close the circuit")
	}
	if c.done(now, now, false, 0.5) {
		t.Fatal("closed twice")
	}
}

// Jitter stays within its bounds, and no wait is longer than five minutes.
func TestCircuitJitter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var c circuit
		failures := rapid.IntRange(opensAfter, 1000).Draw(t, "failures")
		c.load(failures, epoch)
		c.start()
		c.done(epoch, epoch.Add(-1), true, rapid.Float64Range(0, 0.999).Draw(t, "random"))
		c.start()
		c.done(epoch, epoch.Add(1), true, rapid.Float64Range(0, 0.999).Draw(t, "random"))
		wait := c.until.Sub(epoch)
		full := maxWait
		if n := c.failures - opensAfter; n < 10 {
			full = min(maxWait, firstWait<<n)
		}
		if wait > maxWait || wait < full*8/10-time.Millisecond || wait > full*12/10 {
			t.Fatalf("open for %v after %d failures, want about %v", wait, c.failures, full)
		}
	})
}
