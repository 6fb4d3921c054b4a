package redislimit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/ratelimit"
)

const (
	// DefaultTimeout is Config.Timeout if that is 0: a hundred times what Redis nearby
	// needs, and little enough for a caller to wait once.
	DefaultTimeout = 100 * time.Millisecond
	// DefaultRetry is Config.Retry if that is 0.
	DefaultRetry = time.Second
	// DefaultPrefix is Config.Prefix if that is empty.
	DefaultPrefix = "ratelimit:"
)

// errNoAnswer is why, when Redis was not even asked.
var errNoAnswer = errors.New("no answer from Redis lately")

// Config sets up a Limiter.
type Config struct {
	// Client is the connection to Redis, such as Open returns. Required. A client made
	// otherwise must have ContextTimeoutEnabled, or Timeout would not bound it. The caller
	// closes it after the last Allow.
	Client redis.UniversalClient
	// Prefix begins every key in Redis. Limiters that shall count together have the same.
	// It must not contain braces. "" means DefaultPrefix.
	Prefix string
	// Timeout bounds the wait for Redis in one Allow. 0 means DefaultTimeout.
	Timeout time.Duration
	// Retry is how long Redis is left alone after it failed; then one request tries, and
	// one in each Retry after that. 0 means DefaultRetry.
	Retry time.Duration
	// Refuse makes Allow fail with ratelimit.ErrUnavailable while Redis is away, instead
	// of counting in memory. Memory is not used then.
	Refuse bool
	// Memory counts this process's share, and everything while Redis is away. nil means a
	// new one with its defaults.
	Memory *ratelimit.Memory
	// Logger takes one line for each change of state. nil means slog.Default().
	Logger *slog.Logger
	// OnChange, if set, is called at each change of state, in order: up is whether Redis is
	// used from now on, err why not. It runs within Allow, so it must be quick and must
	// not call the Limiter's Allow or Refund.
	OnChange func(up bool, err error)
}

// Limiter is a ratelimit.Limiter that counts in Redis.
type Limiter struct {
	client  redis.UniversalClient
	script  *redis.Script
	prefix  string
	timeout time.Duration
	memory  *ratelimit.Memory // nil if it refuses
	breaker breaker
	clock   func() int64 // in tests, instead of the server's

	inRedis, inMemory, failures atomic.Uint64
}

// Stats is a look at a Limiter, for metrics and readiness.
type Stats struct {
	// Up is false while Redis is away.
	Up bool
	// Redis and Memory count the decisions made in each since the start. Memory includes
	// refusals for which Redis was not asked.
	Redis, Memory uint64
	// Failures counts the calls to Redis that failed.
	Failures uint64
}

var (
	_ ratelimit.Limiter  = (*Limiter)(nil)
	_ ratelimit.Refunder = (*Limiter)(nil)
)

// New returns a Limiter. It does not ask Redis for anything: a Redis that is away at the
// start is as one that goes away later. The error names everything that is wrong in cfg.
func New(cfg Config) (*Limiter, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l := &Limiter{
		client:  cfg.Client,
		script:  redis.NewScript(script),
		prefix:  cmp.Or(cfg.Prefix, DefaultPrefix),
		timeout: cmp.Or(cfg.Timeout, DefaultTimeout),
		breaker: breaker{
			interval: cmp.Or(cfg.Retry, DefaultRetry),
			log:      cmp.Or(cfg.Logger, slog.Default()),
			onChange: cfg.OnChange,
			refuses:  cfg.Refuse,
			start:    time.Now(),
		},
	}
	if cfg.Refuse {
		return l, nil
	}
	if l.memory = cfg.Memory; l.memory == nil {
		var err error
		if l.memory, err = ratelimit.NewMemory(ratelimit.MemoryConfig{}); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (cfg Config) validate() error {
	var faults []error
	if cfg.Client == nil {
		faults = append(faults, errors.New("redislimit: Config.Client is nil; set what Open returns"))
	}
	for _, c := range []byte(cfg.Prefix) {
		if c == '{' || c == '}' {
			faults = append(faults, fmt.Errorf("redislimit: prefix %q: braces mark the part that chooses a cluster's node; leave them out", cfg.Prefix))
			break
		}
	}
	if cfg.Timeout < 0 || cfg.Retry < 0 {
		faults = append(faults, fmt.Errorf("redislimit: timeout %s, retry %s: use positive times, or 0 for the defaults", cfg.Timeout, cfg.Retry))
	}
	obeys := true
	switch c := cfg.Client.(type) {
	case *redis.Client:
		obeys = c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		obeys = c.Options().ContextTimeoutEnabled
	case *redis.Ring:
		obeys = c.Options().ContextTimeoutEnabled
	}
	if !obeys {
		faults = append(faults, errors.New("redislimit: the client does not obey the context; set ContextTimeoutEnabled in its options, or use Open"))
	}
	return errors.Join(faults...)
}

// Allow implements ratelimit.Limiter. It waits for Redis for Config.Timeout at most.
func (l *Limiter) Allow(ctx context.Context, key string, p ratelimit.Policy) (ratelimit.Decision, error) {
	if p.IsOff() {
		return ratelimit.Decision{Allowed: true}, nil
	}
	if err := p.Validate(); err != nil {
		return ratelimit.Decision{}, err
	}
	if err := ctx.Err(); err != nil {
		return ratelimit.Decision{}, err
	}
	var own ratelimit.Decision
	if l.memory != nil {
		// The request is counted here before Redis is asked. So the count here is never
		// behind, and whoever finds Redis away next finds all that was let through.
		var err error
		if own, err = l.memory.Allow(ctx, key, p); err != nil {
			return ratelimit.Decision{}, err
		}
		// What this process let through alone fills the window; Redis knows no less. A
		// refusal for what other keys did, since memory is short, is for Redis to judge.
		if !own.Allowed && !own.Shared {
			l.probe(ctx, key, p)
			l.inMemory.Add(1)
			return own, nil
		}
	}
	epoch, ok := l.breaker.enter()
	if !ok {
		return l.withoutRedis(own, errNoAnswer)
	}
	d, err := l.ask(ctx, key, p)
	if gone := ended(ctx); err != nil && gone != nil {
		// The caller gave up, which says nothing about Redis.
		_ = l.forget(ctx, key, p, own)
		return ratelimit.Decision{}, gone
	}
	l.breaker.leave(ctx, epoch, err)
	if err != nil {
		l.failures.Add(1)
		return l.withoutRedis(own, err)
	}
	l.inRedis.Add(1)
	if !d.Allowed {
		_ = l.forget(ctx, key, p, own)
		return d, nil
	}
	if !own.Shared {
		// A place in a count shared with other keys is not worth giving back.
		d.Receipt[0] = own.Receipt[0]
	}
	if l.memory != nil && !own.Shared && own.Remaining < d.Remaining {
		// Redis has come back without what was let through meanwhile.
		d.Remaining, d.Reset = own.Remaining, own.Reset
	}
	return d, nil
}

// ended is the context's error. It does not rely on the context's timer, which may be later
// than that of the connection.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// probe asks Redis for no more than a sign of life, on the key's node, if it is away and it
// is time to: a request that is refused anyhow shall not be counted. Without it, a process
// whose callers are all over the limit would not see that Redis is back.
func (l *Limiter) probe(ctx context.Context, key string, p ratelimit.Policy) {
	if l.breaker.up() {
		return
	}
	epoch, ok := l.breaker.enter()
	if !ok || epoch%2 == 0 {
		return
	}
	asking, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	err := l.client.LLen(asking, redisKey(l.prefix, key, p.Name)).Err()
	if err == nil || ended(ctx) == nil {
		l.breaker.leave(ctx, epoch, err)
	}
}

// withoutRedis is the answer when Redis has none.
func (l *Limiter) withoutRedis(own ratelimit.Decision, err error) (ratelimit.Decision, error) {
	if l.memory == nil {
		return ratelimit.Decision{}, fmt.Errorf("%w: %w", ratelimit.ErrUnavailable, err)
	}
	l.inMemory.Add(1)
	return own, nil
}

// ask runs the script.
func (l *Limiter) ask(ctx context.Context, key string, p ratelimit.Policy) (ratelimit.Decision, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	window := int64((p.Window + time.Microsecond - 1) / time.Microsecond)
	args := []any{p.Limit, window}
	if l.clock != nil {
		args = append(args, l.clock())
	}
	// EVALSHA, and EVAL once after the server has forgotten the script.
	reply, err := l.script.Run(ctx, l.client, []string{redisKey(l.prefix, key, p.Name)}, args...).Int64Slice()
	if err != nil {
		return ratelimit.Decision{}, err
	}
	if len(reply) != 4 {
		return ratelimit.Decision{}, fmt.Errorf("the script replied with %d numbers instead of 4", len(reply))
	}
	d := ratelimit.Decision{
		Allowed:   reply[0] == 1,
		Limit:     p.Limit,
		Remaining: int(reply[1]),
		Reset:     time.Duration(reply[2]) * time.Microsecond,
	}
	if d.Allowed {
		d.Receipt[1] = reply[3]
	} else {
		d.RetryAfter = d.Reset
	}
	return d, nil
}

// Refund implements ratelimit.Refunder. A request that was counted in Redis stays counted
// there if Redis is away now; the error then wraps ratelimit.ErrUnavailable.
func (l *Limiter) Refund(ctx context.Context, key string, p ratelimit.Policy, d ratelimit.Decision) error {
	if !d.Allowed {
		return nil
	}
	if err := l.forget(ctx, key, p, d); err != nil {
		return err
	}
	if d.Receipt[1] == 0 {
		return nil
	}
	if !l.breaker.up() {
		return fmt.Errorf("%w: %w", ratelimit.ErrUnavailable, errNoAnswer)
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	// From the tail, where the newest are. What is not there any more is not counted either.
	if err := l.client.LRem(ctx, redisKey(l.prefix, key, p.Name), -1, d.Receipt[1]).Err(); err != nil {
		return fmt.Errorf("%w: %w", ratelimit.ErrUnavailable, err)
	}
	return nil
}

// forget takes a request out of this process's count.
func (l *Limiter) forget(ctx context.Context, key string, p ratelimit.Policy, own ratelimit.Decision) error {
	if l.memory == nil || !own.Allowed {
		return nil
	}
	return l.memory.Refund(ctx, key, p, own)
}

// Stats returns numbers for metrics and readiness. They are each right, but not of one
// moment.
func (l *Limiter) Stats() Stats {
	return Stats{Up: l.breaker.up(), Redis: l.inRedis.Load(), Memory: l.inMemory.Load(), Failures: l.failures.Load()}
}
