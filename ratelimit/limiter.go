package ratelimit

import (
	"context"
	"errors"
	"time"
)

// ErrUnavailable is what a Limiter returns, wrapped, when it cannot count at present and
// was told not to guess. Middleware answers 503.
var ErrUnavailable = errors.New("ratelimit: the limiter is unavailable")

// Limiter counts requests. Implementations are safe for concurrent use.
type Limiter interface {
	// Allow asks for one request of key under p, and counts it if it is allowed. The key
	// is counted apart for each p.Name. With p.IsOff every request is allowed and none is
	// counted. The error is that of an invalid policy, of the context, or wraps
	// ErrUnavailable; the Decision is then zero, which refuses.
	Allow(ctx context.Context, key string, p Policy) (Decision, error)
}

// Refunder is a Limiter that can take back a request it allowed, for one that was then
// not served: refused by another policy, for example. Both limiters of this module are.
type Refunder interface {
	// Refund forgets the request that d allowed for key under p. With a d that refused,
	// or whose window is over, it does nothing.
	Refund(ctx context.Context, key string, p Policy, d Decision) error
}

// Decision is the answer to one request. The zero value refuses.
type Decision struct {
	// Allowed says that the request may pass and was counted.
	Allowed bool
	// Limit is the policy's: requests in a window. 0 if the policy is off.
	Limit int
	// Remaining is how many further requests would be allowed at once.
	Remaining int
	// Reset is the time until Remaining grows: until the oldest counted request leaves
	// the window. 0 if nothing is counted.
	Reset time.Duration
	// RetryAfter is, in a refusal, the time until a request would be allowed if nobody
	// else asks in between. 0 if Allowed.
	RetryAfter time.Duration
	// Shared says that the key had to share one count with other keys, since the
	// limiter's memory is full: it may be refused for what others did.
	Shared bool
	// Receipt is the limiter's own note for Refund.
	Receipt Receipt
}

// Receipt names the place in the window that an allowed request took. What the numbers
// mean is the limiter's own affair.
type Receipt [2]int64
