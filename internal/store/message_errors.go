package store

import (
	"errors"
	"time"
)

// What callers of the message side can tell apart. They may come wrapped.
var (
	// ErrIdempotencyMismatch refuses a key that was used with another request.
	ErrIdempotencyMismatch = errors.New("store: this idempotency key was used with another request")
	// ErrInFlight says that a request with the same key has not ended in good time. Nothing was accepted.
	ErrInFlight = errors.New("store: a request with this idempotency key is still in flight")
	// ErrClaimed says that a node is sending the message now, so that it cannot be changed.
	ErrClaimed = errors.New("store: the message is being sent now")
	// ErrFinished says that nothing of the message is left to send or to withdraw.
	ErrFinished = errors.New("store: the message has no open recipients")
	// ErrNotOwner refuses to change a relay that is shared with the tenant.
	ErrNotOwner = errors.New("store: the relay is the operator's to change")
	// ErrInUse refuses to remove a relay that messages wait for.
	ErrInUse = errors.New("store: messages wait for this relay: cancel them, or wait until they are sent")
	// ErrContentGone says that the content was removed when its time was over.
	ErrContentGone = errors.New("store: the content was removed")
)

// QuotaError refuses messages since they would exceed one of the tenant's quotas.
type QuotaError struct {
	// Name is messages_per_day, messages_per_month or queued.
	Name string
	// Limit is the quota.
	Limit int64
	// RetryAfter is when asking again may help.
	RetryAfter time.Duration
}

// Error names the quota.
func (e *QuotaError) Error() string { return "store: the tenant's quota " + e.Name + " is used up" }
