package redislimit

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// breaker remembers whether Redis is away, so that not every request waits to find out.
// One failure opens it; from then on one request an interval may try, and the first that
// succeeds closes it.
type breaker struct {
	interval time.Duration
	log      *slog.Logger
	onChange func(up bool, err error)
	refuses  bool
	start    time.Time

	// epoch is even while Redis is up and odd while it is away. It grows with each change,
	// so that the late result of an earlier call changes nothing.
	epoch   atomic.Uint64
	probeAt atomic.Int64 // since start, when the next request may try
	mu      sync.Mutex   // held during a change, so that changes are told in order
}

// up reports whether Redis is used at present.
func (b *breaker) up() bool { return b.epoch.Load()%2 == 0 }

// enter reports whether a request may ask Redis, and the epoch to tell the result with.
func (b *breaker) enter() (epoch uint64, ok bool) {
	epoch = b.epoch.Load()
	if epoch%2 == 0 {
		return epoch, true
	}
	at, now := b.probeAt.Load(), int64(time.Since(b.start))
	return epoch, now >= at && b.probeAt.CompareAndSwap(at, now+int64(b.interval))
}

// leave takes the result of a request that entered in epoch.
func (b *breaker) leave(ctx context.Context, epoch uint64, err error) {
	if up := epoch%2 == 0; up == (err == nil) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.epoch.Load() != epoch {
		return
	}
	b.probeAt.Store(int64(time.Since(b.start) + b.interval))
	b.epoch.Store(epoch + 1)
	switch {
	case err == nil:
		b.log.LogAttrs(ctx, slog.LevelInfo, "rate limit: Redis answers again; counting in Redis")
	case b.refuses:
		b.log.LogAttrs(ctx, slog.LevelError, "rate limit: Redis does not answer; refusing requests until it does",
			slog.Any("error", err), slog.Duration("retry", b.interval))
	default:
		b.log.LogAttrs(ctx, slog.LevelWarn, "rate limit: Redis does not answer; each process counts for itself until it does",
			slog.Any("error", err), slog.Duration("retry", b.interval))
	}
	if b.onChange != nil {
		b.onChange(err == nil, err)
	}
}
