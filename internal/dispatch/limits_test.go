package dispatch

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// epoch is when the tests' clocks start; not on a full step.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 12_345_678, time.UTC)

// sighting is when a relay saw messages.
type sighting struct {
	at time.Time
	n  int
}

// most is the largest number that was seen in any time of a length.
func most(seen []sighting, span time.Duration) int {
	slices.SortFunc(seen, func(a, b sighting) int { return a.at.Compare(b.at) })
	worst, sum, from := 0, 0, 0
	for _, s := range seen {
		sum += s.n
		for s.at.Sub(seen[from].at) >= span {
			sum -= seen[from].n
			from++
		}
		worst = max(worst, sum)
	}
	return worst
}

// The relay never sees more than the limits in any minute or any 24 hours: with messages that take long, with
// restarts and crashes between, saved or not.
func TestLimitsAreKept(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		set := relayLimits{messagesPerMinute: rapid.IntRange(0, 40).Draw(t, "a minute"), recipientsPerDay: rapid.IntRange(0, 200).Draw(t, "a day")}
		l := newLimits(set)
		now := epoch
		type flight struct{ recipients int }
		var flying []flight
		var seen []sighting  // messages
		var rcpts []sighting // recipients
		var saved limitsState
		save := func(recipients int, last bool) {
			text, err := json.Marshal(l.save(now, recipients, last))
			if err != nil {
				t.Fatal(err)
			}
			saved = limitsState{}
			if err := json.Unmarshal(text, &saved); err != nil {
				t.Fatal(err)
			}
			l.saved()
		}
		land := func(i int, relaySaw bool) {
			// The relay saw it at some moment of its flight: now, as late as can be.
			f := flying[i]
			flying = slices.Delete(flying, i, i+1)
			if relaySaw {
				seen = append(seen, sighting{now, 1})
				rcpts = append(rcpts, sighting{now, f.recipients})
			}
			l.done(now, f.recipients, relaySaw)
		}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"start", "start", "start", "start", "wait", "land", "land", "lost", "crash", "restart"}).Draw(t, "step") {
			case "start":
				recipients := rapid.IntRange(1, 20).Draw(t, "recipients")
				if set.recipientsPerDay > 0 {
					recipients = min(recipients, set.recipientsPerDay)
				}
				at, reason := l.startAt(now, recipients)
				if at.After(now) != (reason != "") {
					t.Fatalf("reason %q for %v", reason, at.Sub(now))
				}
				if at.After(now) {
					if rapid.Bool().Draw(t, "wait for it") {
						now = at
					}
					continue
				}
				if !l.reserved(recipients) {
					save(recipients, false)
				}
				if !l.reserved(recipients) {
					t.Fatalf("a saved state does not cover the start: %+v", saved)
				}
				l.start(now, recipients)
				flying = append(flying, flight{recipients})
			case "wait":
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(40*time.Second)).Draw(t, "wait")))
			case "land", "lost":
				if len(flying) > 0 {
					land(rapid.IntRange(0, len(flying)-1).Draw(t, "which"), rapid.IntRange(0, 3).Draw(t, "seen") > 0)
				}
			case "crash": // what flew may have been seen, at once
				for len(flying) > 0 {
					seen = append(seen, sighting{now, 1})
					rcpts = append(rcpts, sighting{now, flying[0].recipients})
					flying = flying[1:]
				}
				l = newLimits(set)
				l.load(now, saved)
			case "restart":
				for len(flying) > 0 {
					land(0, true)
				}
				save(0, true)
				l = newLimits(set)
				l.load(now, saved)
			}
			if n := most(seen, time.Minute); set.messagesPerMinute > 0 && n > set.messagesPerMinute {
				t.Fatalf("the relay saw %d messages in a minute, limit %d", n, set.messagesPerMinute)
			}
			if n := most(rcpts, 24*time.Hour); set.recipientsPerDay > 0 && n > set.recipientsPerDay {
				t.Fatalf("the relay saw %d recipients in 24 hours, limit %d", n, set.recipientsPerDay)
			}
		}
	})
}

// drive starts as many messages as the limits allow for a time and returns when they started.
func drive(l *limits, now time.Time, long time.Duration) []time.Duration {
	var starts []time.Duration
	for end := now.Add(long); now.Before(end); {
		at, _ := l.startAt(now, 1)
		if at.After(now) {
			now = at
			continue
		}
		if !l.reserved(1) {
			l.save(now, 1, false)
			l.saved()
		}
		l.start(now, 1)
		l.done(now, 1, true)
		starts = append(starts, now.Sub(epoch))
	}
	return starts
}

// A limit is used to the full, and after the first half of it no wait is long.
func TestMinuteIsSpread(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 2, 10, 60, 600, 6000} {
		starts := drive(newLimits(relayLimits{messagesPerMinute: limit}), epoch, 10*time.Minute)
		if n := len(starts); n < limit*9 || n > limit*10+limit/2 {
			t.Errorf("limit %d: %d messages in ten minutes", limit, n)
		}
		for i, at := range starts {
			if i == 0 {
				continue
			}
			if gap, longest := at-starts[i-1], 2*time.Minute/time.Duration(limit)+200*time.Millisecond; gap > longest {
				t.Errorf("limit %d: message %d waited %v, want at most %v", limit, i, gap, longest)
				break
			}
		}
	}
}

// A message to more recipients than the day has is sent once nothing else counts, rather than never.
func TestLargerThanTheDay(t *testing.T) {
	t.Parallel()
	l := newLimits(relayLimits{recipientsPerDay: 10})
	l.save(epoch, 1, false)
	l.saved()
	l.start(epoch, 1)
	l.done(epoch, 1, true)
	at, reason := l.startAt(epoch, 25)
	if wait := at.Sub(epoch); reason != reasonDay || wait < 24*time.Hour || wait > 24*time.Hour+10*time.Minute {
		t.Fatalf("it waits %v for %q", wait, reason)
	}
	if at2, _ := l.startAt(at, 25); at2.After(at) {
		t.Fatalf("it still waits %v", at2.Sub(at))
	}
	l.save(at, 25, false)
	l.saved()
	if !l.reserved(25) {
		t.Fatal("a saved state does not cover its start")
	}
}

// The saved state of a busy minute is small.
func TestStateIsSmall(t *testing.T) {
	t.Parallel()
	l := newLimits(relayLimits{messagesPerMinute: 100_000, recipientsPerDay: 10_000_000})
	now := epoch
	for range 24 * 60 * 4 {
		now = now.Add(15 * time.Second)
		l.start(now, 10)
		l.done(now, 10, true)
	}
	for range 600 {
		now = now.Add(100 * time.Millisecond)
		l.start(now, 10)
		l.done(now, 10, true)
	}
	text, err := json.Marshal(l.save(now, 1, false))
	if err != nil || len(text) > 5000 {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
}

// A state that another node's wrong clock put into the future, or that is garbage, holds nobody for longer than the span.
func TestStrangeStates(t *testing.T) {
	t.Parallel()
	l := newLimits(relayLimits{messagesPerMinute: 5})
	l.load(epoch, limitsState{Minute: windowState{Ticks: []tick{{At: epoch.Add(time.Hour).UnixMilli(), N: 5}}}})
	if at, _ := l.startAt(epoch, 1); at.Sub(epoch) > 62*time.Second {
		t.Errorf("held for %v", at.Sub(epoch))
	}
	l.load(epoch, limitsState{Minute: windowState{Ticks: []tick{{At: 5, N: 5}, {At: epoch.UnixMilli(), N: -5}}}})
	if at, _ := l.startAt(epoch, 1); at.After(epoch) {
		t.Errorf("held for %v by what is long ago", at.Sub(epoch))
	}
	for _, text := range []string{"", "null", "[]", "{", `{"minute":7}`} {
		if s := parseState[limitsState]([]byte(text)); len(s.Minute.Ticks) > 0 {
			t.Errorf("%q: %+v", text, s)
		}
	}
}
