// Package smtppool keeps SMTP sessions open and lends them out. A Pool is one relay as one user: a hard cap on
// connections, waiters in order, reuse without NOOP, limits of age, idleness and messages, and a pause after a
// failed dial so that a dead relay or a wrong password is not hammered. A Set keeps many pools apart by relay and
// credentials, so that a session never serves another user.
//
// It does not retry: the one exception is the silent move of Pool.Send from a connection that the server had
// already given up to a fresh one, when nothing can have been accepted. It does not look at messages. The root
// client and the service's delivery call it; it calls package smtp, whose rules (RFC 5321, RFC 2920, RFC 3030)
// it does not repeat.
package smtppool

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Config says how a Pool behaves. The zero value is good for most relays.
type Config struct {
	// MaxConns is the hard cap on live connections: those being dialled, in use, idle and saying QUIT. 0: 10.
	MaxConns int
	// MaxIdleTime is how long a connection may lie unused. 0: 300 s, after which RFC 5321 §4.5.3.2.7 lets a server
	// hang up. Negative: no limit. Some relays close much earlier (Amazon SES after about 10 s): set less than they do.
	MaxIdleTime time.Duration
	// MaxAge is how long a connection may live, spread by 10 % so that connections opened together do not end
	// together. 0: 3600 s. Negative: no limit. A message in transfer is never cut short.
	MaxAge time.Duration
	// MaxMessages is how many transactions a connection carries. 0: 100. -1: no limit.
	MaxMessages int
	// Backoff says how long no dial is tried after one failed.
	Backoff Backoff
	// Logger gets failed dials at level Warn, the rest at Debug; never a secret. Nil: no log.
	Logger *slog.Logger
}

// Backoff is the pause after a failed dial. It doubles with each failure in a row, is spread upward by up to
// 30 % but never over its maximum, and ends with a success. While it lasts, callers are told the last failure.
type Backoff struct {
	// Min and Max bound the pause after transient failures. 0: 1 s and 1 minute.
	Min, Max time.Duration
	// RelayMin and RelayMax bound the pause when the relay refuses this configuration: a wrong password, a bad
	// certificate. Longer, because repeating a wrong password locks accounts. 0: 1 minute and 15 minutes.
	RelayMin, RelayMax time.Duration
}

const (
	defaultMaxConns    = 10
	defaultMaxIdleTime = 300 * time.Second
	defaultMaxAge      = 3600 * time.Second
	defaultMaxMessages = 100 // Postfix's smtpd_client limits and most providers' session limits are no lower
	ageJitter          = 0.1
	backoffSpread      = 0.3
)

// withDefaults returns a copy whose zero fields are filled in.
func (c Config) withDefaults() Config {
	fill := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	if c.MaxConns == 0 {
		c.MaxConns = defaultMaxConns
	}
	if c.MaxMessages == 0 {
		c.MaxMessages = defaultMaxMessages
	}
	fill(&c.MaxIdleTime, defaultMaxIdleTime)
	fill(&c.MaxAge, defaultMaxAge)
	b := &c.Backoff
	fill(&b.Min, time.Second)
	fill(&b.Max, max(time.Minute, b.Min))
	fill(&b.RelayMin, time.Minute)
	fill(&b.RelayMax, max(15*time.Minute, b.RelayMin))
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate reports every fault of the configuration, joined; nil if there is none. Zero fields are no fault.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("smtppool: "+format, args...)) }
	if c.MaxConns < 0 {
		fault("MaxConns is %d; use 1 or more, or 0 for %d", c.MaxConns, defaultMaxConns)
	}
	if c.MaxMessages < -1 {
		fault("MaxMessages is %d; use 1 or more, 0 for %d, or -1 for no limit", c.MaxMessages, defaultMaxMessages)
	}
	filled := c.withDefaults().Backoff
	for _, pair := range []struct {
		name     string
		low, max time.Duration
	}{
		{"Backoff.", filled.Min, filled.Max}, {"Backoff.Relay", filled.RelayMin, filled.RelayMax},
	} {
		switch {
		case pair.low < 0 || pair.max < 0:
			fault("%[1]sMin and %[1]sMax are %[2]s and %[3]s; a pause cannot be negative", pair.name, pair.low, pair.max)
		case pair.low > pair.max:
			fault("%[1]sMin %[2]s is more than %[1]sMax %[3]s; exchange them", pair.name, pair.low, pair.max)
		}
	}
	return errors.Join(faults...)
}

// ErrClosed is returned to whoever wants a connection of a pool or set that is closed or closing.
var ErrClosed = errors.New("smtppool: the pool is closed")

// BackoffError tells that no connection can be had because the last dial failed and the next is not yet due. It
// wraps that dial's error, so that the questions of package smtp (IsTransient, IsRelayFault, …) are answered alike.
type BackoffError struct {
	Until time.Time     // when the next dial is allowed
	Wait  time.Duration // the same, from the moment of the error
	Err   error         // of the dial that failed, an *smtp.Error
}

// Error is one line: the dial's error and when the next try is.
func (e *BackoffError) Error() string {
	return fmt.Sprintf("%v (next try in %s)", e.Err, e.Wait.Round(time.Millisecond))
}

// Unwrap returns the dial's error.
func (e *BackoffError) Unwrap() error { return e.Err }
