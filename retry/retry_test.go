package retry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/retry"
)

func TestNext(t *testing.T) {
	t.Parallel()
	plain := func(s retry.Schedule) retry.Schedule { s.Jitter = 0; return s }
	const s, m, h = time.Second, time.Minute, time.Hour
	tests := []struct {
		name     string
		schedule retry.Schedule
		want     []time.Duration // after 1, 2, … failures; then no more, unless it goes on
		goesOn   bool
	}{
		{"zero", retry.Schedule{}, nil, false},
		{"never", retry.Never(), nil, false},
		{"default", plain(retry.Default()), []time.Duration{s, 5 * s, 30 * s}, false},
		{"durable", plain(retry.Durable()), []time.Duration{s, 5 * s, 30 * s, 2 * m, 4 * m, 8 * m, 16 * m, 32 * m, h, h, h}, true},
		{"only growing", retry.Schedule{Base: s}, []time.Duration{s, 2 * s, 4 * s, 8 * s}, true},
		{"at once", retry.Schedule{Delays: []time.Duration{0, s}}, []time.Duration{0, s}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if err := test.schedule.Validate(); err != nil {
				t.Fatal(err)
			}
			for i, want := range test.want {
				if got, ok := test.schedule.Next(i+1, 0, 0.5); !ok || got != want {
					t.Errorf("after %d: got %s, %t; want %s", i+1, got, ok, want)
				}
			}
			if got, ok := test.schedule.Next(len(test.want)+1, 0, 0.5); ok != test.goesOn {
				t.Errorf("after %d: got %s, %t", len(test.want)+1, got, ok)
			}
			for _, n := range []int{0, -1, math.MinInt} {
				if _, ok := test.schedule.Next(n, 0, 0); ok {
					t.Errorf("after %d failures there is a wait", n)
				}
			}
		})
	}
}

func TestNextJitter(t *testing.T) {
	t.Parallel()
	s := retry.Schedule{Delays: []time.Duration{10 * time.Second}, Jitter: 0.2}
	for random, want := range map[float64]time.Duration{0: 8 * time.Second, 0.5: 10 * time.Second, 0.75: 11 * time.Second, 1: 12 * time.Second, -3: 8 * time.Second, math.Inf(1): 12 * time.Second} {
		if got, ok := s.Next(1, 0, random); !ok || got != want {
			t.Errorf("random %v: got %s, %t; want %s", random, got, ok, want)
		}
	}
}

func TestNextGiveUp(t *testing.T) {
	t.Parallel()
	s := retry.Schedule{Base: time.Hour, GiveUpAfter: 3 * time.Hour}
	tests := []struct {
		n       int
		elapsed time.Duration
		ok      bool
	}{
		{1, 0, true},
		{1, 2 * time.Hour, true}, // ends just then
		{1, 2*time.Hour + 1, false},
		{2, 2 * time.Hour, false},
		{1, math.MaxInt64, false},
		{1, math.MinInt64, true}, // a clock that went back
		{63, 0, false},
	}
	for _, test := range tests {
		if _, ok := s.Next(test.n, test.elapsed, 0.5); ok != test.ok {
			t.Errorf("n %d, elapsed %s: %t", test.n, test.elapsed, ok)
		}
	}
}

// schedules draws valid schedules, wide ones included.
func schedules(rt *rapid.T) retry.Schedule {
	anyWait := rapid.OneOf(rapid.Int64Range(0, int64(time.Minute)), rapid.Int64Range(0, math.MaxInt64))
	s := retry.Schedule{Jitter: rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(0, 1)).Draw(rt, "jitter")}
	for _, d := range rapid.SliceOfN(anyWait, 0, 6).Draw(rt, "delays") {
		s.Delays = append(s.Delays, time.Duration(d))
	}
	s.Base = time.Duration(anyWait.Draw(rt, "base"))
	if s.Base > 0 && rapid.Bool().Draw(rt, "bounded") {
		s.Max = time.Duration(rapid.Int64Range(int64(s.Base), math.MaxInt64).Draw(rt, "max"))
	}
	s.GiveUpAfter = time.Duration(anyWait.Draw(rt, "give up"))
	return s
}

func TestNextProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := schedules(rt)
		if err := s.Validate(); err != nil {
			rt.Fatal(err)
		}
		n := rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(1, math.MaxInt)).Draw(rt, "n")
		elapsed := time.Duration(rapid.OneOf(rapid.Int64Range(0, int64(time.Hour)), rapid.Int64()).Draw(rt, "elapsed"))
		random := rapid.Float64Range(0, 0.999999).Draw(rt, "random")
		wait, ok := s.Next(n, elapsed, random)
		if again, okAgain := s.Next(n, elapsed, random); again != wait || okAgain != ok {
			rt.Fatal("not pure")
		}
		if wait < 0 || !ok && wait != 0 {
			rt.Fatalf("wait %s, %t", wait, ok)
		}
		if ok && s.GiveUpAfter > 0 && (elapsed > s.GiveUpAfter || max(elapsed, 0) > s.GiveUpAfter-wait) {
			rt.Fatalf("the wait %s after %s ends after %s", wait, elapsed, s.GiveUpAfter)
		}
		plain := s
		plain.Jitter, plain.GiveUpAfter = 0, 0
		d, more := plain.Next(n, 0, random)
		if ok && !more {
			rt.Fatal("jitter made a wait")
		}
		if ok {
			// One part in a million for the rounding of floating point.
			low, high := float64(d)*(1-s.Jitter)*(1-1e-6)-1, float64(d)*(1+s.Jitter)*(1+1e-6)+1
			if float64(wait) < low || float64(wait) > high {
				rt.Fatalf("wait %s is outside [%v, %v]", wait, low, high)
			}
		}
		if more && n > len(s.Delays) {
			if n < math.MaxInt {
				if longer, ok := plain.Next(n+1, 0, random); !ok || longer < d {
					rt.Fatalf("after %d failures %s, after one more %s, %t", n, d, longer, ok)
				}
			}
			if s.Max > 0 && d > s.Max {
				rt.Fatalf("%s is over the bound %s", d, s.Max)
			}
		}
	})
}

// TestTotal follows whole schedules: with a give-up time the waits never add up to more.
func TestTotal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := schedules(rt)
		s.GiveUpAfter = time.Duration(rapid.Int64Range(1, int64(100*time.Hour)).Draw(rt, "give up after"))
		var total time.Duration
		for n := 1; n <= 200; n++ {
			wait, ok := s.Next(n, total, rapid.Float64Range(0, 0.999).Draw(rt, "random"))
			if !ok {
				break
			}
			total += wait
		}
		if total > s.GiveUpAfter {
			rt.Fatalf("%s in all, over %s", total, s.GiveUpAfter)
		}
	})
}

func TestValidate(t *testing.T) {
	t.Parallel()
	bad := retry.Schedule{Delays: []time.Duration{time.Second, -1}, Base: -1, Max: -1, Jitter: math.NaN(), GiveUpAfter: -1}
	err := bad.Validate()
	if err == nil {
		t.Fatal("no fault")
	}
	for _, want := range []string{"delays[1]", "base", "max", "jitter", "give-up"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is missing in %q", want, err)
		}
	}
	for _, s := range []retry.Schedule{{Max: 1}, {Base: 2, Max: 1}, {Jitter: -0.1}, {Jitter: 1.1}} {
		if s.Validate() == nil {
			t.Errorf("%+v is valid", s)
		}
	}
	// A schedule with faults still gives no nonsense.
	for n := range 5 {
		for _, random := range []float64{-1, 0, 0.9, 2, math.NaN()} {
			if wait, _ := bad.Next(n, 0, random); wait < 0 {
				t.Errorf("n %d, random %v: wait %s", n, random, wait)
			}
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	good := map[string]retry.Schedule{
		"1s,5s,30s,jitter=0.2":                        retry.Default(),
		"1s,5s,30s,then=2m..1h,jitter=0.2,giveup=72h": retry.Durable(),
		"never":            retry.Never(),
		"then=1m30s":       {Base: 90 * time.Second},
		"never,jitter=0.5": {Jitter: 0.5},
		"0s,1h0m1s,1h30m":  {Delays: []time.Duration{0, time.Hour + time.Second, 90 * time.Minute}},
	}
	for text, want := range good {
		got, err := retry.ParseSchedule(text)
		if err != nil || !got.Equal(want) {
			t.Errorf("%s: got %#v, %v", text, got, err)
		}
		if want.String() != text {
			t.Errorf("%s is printed as %s", text, want)
		}
	}
	if got, err := retry.ParseSchedule(" 1s , then = 2m .. 1h ,jitter=20%"); err != nil || got.String() != "1s,then=2m..1h,jitter=0.2" {
		t.Errorf("got %s, %v", got, err)
	}
	for _, text := range []string{
		"", ",", "1", "1s,", "-1s", "soon", "giveup=72h", "jitter=0.2", "then=", "then=0s", "then=1h..2m", "then=1s..", "then=..1s",
		"1s,jitter=1.5", "1s,jitter=NaN", "1s,jitter=-1%", "1s,giveup=0s", "1s,giveup=-1h", "1s,what=1", "1s,then=1m,then=2m", "1s,then=1m,2s", "never,1s",
		"1s,never", "never,then=1s", "never=1", strings.Repeat("1s,", 101) + "1s", "1s," + strings.Repeat("x", 1000), "1s\n",
	} {
		s, err := retry.ParseSchedule(text)
		if text == "1s\n" { // space does not matter
			continue
		}
		if err == nil {
			t.Errorf("%q was read as %s", text, s)
		} else if strings.ContainsAny(err.Error(), "\n") || len(err.Error()) > 300 {
			t.Errorf("not one short line: %q", err)
		}
	}
	var s retry.Schedule
	if err := json.Unmarshal([]byte(`"1s,giveup=1h"`), &s); err != nil || s.GiveUpAfter != time.Hour {
		t.Errorf("from JSON: %s, %v", s, err)
	}
	if err := s.UnmarshalText([]byte("x")); err == nil || s.GiveUpAfter != time.Hour {
		t.Errorf("after a fault: %s, %v", s, err)
	}
	if text, err := json.Marshal(s); err != nil || string(text) != `"1s,giveup=1h"` {
		t.Errorf("to JSON: %s, %v", text, err)
	}
	if _, err := json.Marshal(retry.Schedule{Jitter: 2}); err == nil {
		t.Error("a schedule with faults was written")
	}
}

func TestTextRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := schedules(rt)
		got, err := retry.ParseSchedule(s.String())
		if err != nil || !got.Equal(s) {
			rt.Fatalf("%#v became %q, then %#v, %v", s, s.String(), got, err)
		}
	})
}

func FuzzParseSchedule(f *testing.F) {
	for _, text := range []string{"1s,5s,30s,then=2m..1h,jitter=20%,giveup=72h", "never", "then=1ns", "", "1s,jitter=-0", "=,=", "2562047h47m16.854775807s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := retry.ParseSchedule(text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Fatalf("not one line: %q", err)
			}
			return
		}
		if err := s.Validate(); err != nil {
			t.Fatalf("%q gave a schedule with faults: %v", text, err)
		}
		again, err := retry.ParseSchedule(s.String())
		if err != nil || !again.Equal(s) {
			t.Fatalf("%q became %q, then %#v, %v", text, s, again, err)
		}
	})
}

func TestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		if err := retry.Wait(t.Context(), time.Hour); err != nil || time.Since(begin) != time.Hour {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		begin = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := retry.Wait(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Minute {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		for _, d := range []time.Duration{0, -1, time.Hour} {
			if err := retry.Wait(ctx, d); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s with a context that has ended: %v", d, err)
			}
		}
		if err := retry.Wait(t.Context(), -time.Hour); err != nil || time.Since(begin) != time.Minute {
			t.Errorf("a negative wait: %v", err)
		}
	})
}

func ExampleSchedule_Next() {
	schedule := retry.Schedule{Delays: []time.Duration{time.Second}, Base: time.Minute, GiveUpAfter: 5 * time.Minute}
	var elapsed time.Duration
	for failures := 1; ; failures++ {
		wait, ok := schedule.Next(failures, elapsed, 0) // rand.Float64() in earnest
		if !ok {
			fmt.Println("given up after", failures, "attempts")
			break
		}
		fmt.Println("wait", wait)
		elapsed += wait
	}
	// Output:
	// wait 1s
	// wait 1m0s
	// wait 2m0s
	// given up after 4 attempts
}

func ExampleParseSchedule() {
	schedule, err := retry.ParseSchedule("1s, 5s, then=2m..1h, jitter=20%, giveup=24h")
	fmt.Println(schedule, err)
	// Output: 1s,5s,then=2m..1h,jitter=0.2,giveup=24h <nil>
}
