// Package retry says when a failed attempt is made again: a Schedule is a list of waits, then waits that double
// up to a bound, spread by jitter, until a give-up time (RFC 5321 §4.5.4.1). It is arithmetic: it does not make
// attempts, does not know which failures are worth another attempt, and keeps no state. The root client and the
// service's spool call it.
package retry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Schedule says when to try again. The zero value never tries again. A Schedule is a plain value: copies are
// independent as long as nobody changes the elements of Delays. Its text form is described at ParseSchedule.
type Schedule struct {
	// Delays are the waits before attempts 2, 3, …. A wait of 0 means at once. Nil: only the growing part.
	Delays []time.Duration
	// Base is the first wait after Delays are used up; the next are 2*Base, 4*Base and so on. 0: stop after Delays.
	Base time.Duration
	// Max bounds the growing part, before jitter. 0: no bound.
	Max time.Duration
	// Jitter spreads each wait d evenly over [d*(1-Jitter), d*(1+Jitter)], so that messages deferred together do
	// not come back together. From 0, no spread, to 1.
	Jitter float64
	// GiveUpAfter is the time since the first attempt began after which no attempt is made: a wait that would end
	// later is not begun. 0: no limit.
	GiveUpAfter time.Duration
}

// Default is the library's schedule: 1 s, 5 s, 30 s with a jitter of 0.2, then no more.
func Default() Schedule {
	return Schedule{Delays: quick(), Jitter: 0.2}
}

// Durable is the service's schedule: 1 s, 5 s, 30 s, then doubling from 2 minutes to 1 hour with a jitter of 0.2,
// given up after 72 hours. RFC 5321 §4.5.4.1 asks for 4 to 5 days of a relay; people who wait for a password
// reset or an invoice want to be told sooner.
func Durable() Schedule {
	return Schedule{Delays: quick(), Base: 2 * time.Minute, Max: time.Hour, Jitter: 0.2, GiveUpAfter: 72 * time.Hour}
}

// Never is the zero Schedule: no second attempt.
func Never() Schedule { return Schedule{} }

// quick are the waits for faults that pass by themselves: a connection lost, a restart, a short overload.
func quick() []time.Duration {
	return []time.Duration{time.Second, 5 * time.Second, 30 * time.Second}
}

// Equal says whether both schedules give the same waits from the same fields.
func (s Schedule) Equal(other Schedule) bool {
	return slices.Equal(s.Delays, other.Delays) && s.Base == other.Base && s.Max == other.Max &&
		s.Jitter == other.Jitter && s.GiveUpAfter == other.GiveUpAfter
}

// Validate reports every fault of the schedule, joined; nil if there is none.
func (s Schedule) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("retry: "+format, args...)) }
	for i, d := range s.Delays {
		if d < 0 {
			fault("delays[%d] is %s; a wait cannot be negative", i, d)
		}
	}
	if s.Base < 0 {
		fault("base is %s; a wait cannot be negative", s.Base)
	}
	switch {
	case s.Max < 0:
		fault("max is %s; use 0 for no bound", s.Max)
	case s.Max > 0 && s.Base == 0:
		fault("max is %s without a base; set the base, from which waits double up to max", s.Max)
	case s.Max > 0 && s.Max < s.Base:
		fault("max %s is less than base %s; exchange them", s.Max, s.Base)
	}
	if !(s.Jitter >= 0 && s.Jitter <= 1) { // also false for NaN
		fault("jitter is %v; use 0 to 1", s.Jitter)
	}
	if s.GiveUpAfter < 0 {
		fault("the give-up time is %s; use 0 for no limit", s.GiveUpAfter)
	}
	return errors.Join(faults...)
}

// Next gives the wait before attempt n+1 after n failed attempts (n >= 1), when elapsed has passed since the
// first attempt began; ok is false if there is to be no further attempt. random, in [0,1), is the caller's
// (rand.Float64), so that Next is pure. The wait is never negative and, with GiveUpAfter set, never ends after it.
func (s Schedule) Next(n int, elapsed time.Duration, random float64) (wait time.Duration, ok bool) {
	d, ok := s.delay(n)
	if !ok {
		return 0, false
	}
	wait = spread(d, s.Jitter, random)
	// Subtracting cannot overflow, since both are at least 0; adding elapsed and wait could.
	if s.GiveUpAfter > 0 && (elapsed > s.GiveUpAfter || wait > s.GiveUpAfter-max(elapsed, 0)) {
		return 0, false
	}
	return wait, true
}

// delay is the wait after n failed attempts before jitter.
func (s Schedule) delay(n int) (time.Duration, bool) {
	if n < 1 {
		return 0, false
	}
	if n <= len(s.Delays) {
		return max(s.Delays[n-1], 0), true
	}
	if s.Base <= 0 {
		return 0, false
	}
	bound := time.Duration(math.MaxInt64)
	if s.Max > 0 {
		bound = s.Max
	}
	doublings := n - len(s.Delays) - 1
	// Base << doublings only where it cannot pass the bound, so that it cannot overflow.
	if doublings >= 63 || s.Base > bound>>doublings {
		return bound, true
	}
	return s.Base << doublings, true
}

// spread moves d to a point of [d*(1-jitter), d*(1+jitter)] that random chooses.
func spread(d time.Duration, jitter, random float64) time.Duration {
	if !(jitter > 0) || d <= 0 {
		return d
	}
	jitter = min(jitter, 1)
	if !(random >= 0) {
		random = 0
	}
	shift := float64(d) * jitter * (2*min(random, 1) - 1)
	moved := float64(d) + shift
	if moved >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(max(moved, 0))
}

// Wait returns nil after d, or the context's error as soon as ctx ends. With d of 0 or less it only looks at ctx.
func Wait(ctx context.Context, d time.Duration) error {
	if d <= 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
