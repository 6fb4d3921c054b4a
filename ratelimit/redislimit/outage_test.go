package redislimit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/redistest"
	"github.com/postrider/postrider/ratelimit"
	"github.com/postrider/postrider/ratelimit/redislimit"
)

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

// change is one call of OnChange.
type change struct {
	up  bool
	err error
}

// outage is a limiter that asks a server which the test kills, and what it tells.
type outage struct {
	*redislimit.Limiter
	server  *redistest.Server
	log     *lines
	changes chan change
}

func newOutage(t *testing.T, cfg redislimit.Config) *outage {
	t.Helper()
	o := &outage{server: redistest.Start(t), log: new(lines), changes: make(chan change, 100)}
	cfg.Client = open(t, o.server.URL(), cfg.Timeout)
	cfg.Retry = 10 * time.Millisecond
	cfg.Logger = slog.New(slog.NewTextHandler(o.log, nil))
	cfg.OnChange = func(up bool, err error) { o.changes <- change{up, err} }
	o.Limiter = newLimiter(t, cfg)
	return o
}

// becomes waits until the limiter says that Redis is up, or away.
func (o *outage) becomes(t *testing.T, up bool) {
	t.Helper()
	for {
		select {
		case c := <-o.changes:
			if c.up != (c.err == nil) {
				t.Errorf("up %t with error %v", c.up, c.err)
			}
			if c.up == up {
				return
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("still not up=%t", up)
		}
	}
}

// load asks for requests of one key from several goroutines until stop is called, which
// returns how many were allowed and the errors.
func load(l ratelimit.Limiter, p ratelimit.Policy) (stop func() (allowed int, errs []error)) {
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		allowed int
		errs    []error
		done    = make(chan struct{})
	)
	for range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				d, err := l.Allow(context.Background(), "somebody", p)
				// Redis is asked for a key of its own that is never full: the other is
				// refused by this process alone.
				_, err2 := l.Allow(context.Background(), fmt.Sprint("other ", n), p)
				mu.Lock()
				if d.Allowed {
					allowed++
				}
				if err := errors.Join(err, err2); err != nil && len(errs) < 1000 {
					errs = append(errs, err)
				}
				mu.Unlock()
			}
		})
	}
	return func() (int, []error) {
		close(done)
		wg.Wait()
		return allowed, errs
	}
}

func TestRedisKilledAndRestartedUnderLoad(t *testing.T) {
	t.Parallel()
	o := newOutage(t, redislimit.Config{Timeout: patient})
	p := ratelimit.Policy{Name: "user", Limit: 50, Window: time.Hour}
	stop := load(o, p)
	for range 3 {
		o.server.Kill()
		o.becomes(t, false)
		o.server.Restart()
		o.becomes(t, true)
	}
	allowed, errs := stop()
	if len(errs) > 0 {
		t.Errorf("requests failed: %v", errs[0])
	}
	// The server has forgotten everything three times; this process has not.
	if allowed != p.Limit {
		t.Errorf("%d requests were allowed in an hour, want %d", allowed, p.Limit)
	}
	if away, back := o.log.count("counts for itself"), o.log.count("answers again"); away < 3 || away != back {
		t.Errorf("the log says %d times away and %d times back", away, back)
	}
	if s := o.Stats(); !s.Up || s.Redis == 0 || s.Memory == 0 || s.Failures == 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestRefuseWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	o := newOutage(t, redislimit.Config{Refuse: true, Timeout: patient})
	p := ratelimit.DefaultPolicy()
	stop := load(o, p)
	o.server.Kill()
	o.becomes(t, false)
	if _, err := o.Allow(t.Context(), "somebody", p); !errors.Is(err, ratelimit.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	o.server.Restart()
	o.becomes(t, true)
	_, errs := stop()
	if len(errs) == 0 {
		t.Error("no request failed")
	}
	for _, err := range errs {
		if !errors.Is(err, ratelimit.ErrUnavailable) {
			t.Errorf("error %v", err)
		}
	}
	if d, err := o.Allow(t.Context(), "another", p); err != nil || !d.Allowed {
		t.Errorf("after the outage: %+v, %v", d, err)
	}
	if o.log.count("level=ERROR") == 0 || o.log.count("refusing requests") == 0 {
		t.Error("the log does not say that requests are refused")
	}
}

func TestFrozenRedisHoldsUpOneRequest(t *testing.T) {
	t.Parallel()
	o := newOutage(t, redislimit.Config{Timeout: 200 * time.Millisecond})
	p := ratelimit.DefaultPolicy()
	ask := func() {
		t.Helper()
		if d, err := o.Allow(t.Context(), "somebody", p); err != nil || !d.Allowed {
			t.Errorf("%+v, %v", d, err)
		}
	}
	ask()
	o.server.Freeze()
	ask()
	o.becomes(t, false)
	o.server.Thaw()
	// More than the limit: also callers who are refused find out that Redis is back.
	for !o.Stats().Up {
		if _, err := o.Allow(t.Context(), "no matter", p); err != nil {
			t.Fatal(err)
		}
	}
	o.becomes(t, true)
}

func TestRedisAwayAtStart(t *testing.T) {
	t.Parallel()
	client := open(t, "redis://127.0.0.1:1", 0)
	l := newLimiter(t, redislimit.Config{Client: client, Logger: slog.New(slog.DiscardHandler)})
	p := ratelimit.Policy{Name: "user", Limit: 2, Window: time.Hour}
	for i, want := range []bool{true, true, false} {
		d, err := l.Allow(t.Context(), "somebody", p)
		if err != nil || d.Allowed != want {
			t.Errorf("request %d: %+v, %v", i+1, d, err)
		}
	}
}

func TestCallerGivesUp(t *testing.T) {
	t.Parallel()
	o := newOutage(t, redislimit.Config{Timeout: patient})
	p := ratelimit.Policy{Name: "user", Limit: 1, Window: time.Hour}
	o.server.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := o.Allow(ctx, "somebody", p); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if _, err := o.Allow(ctx, "somebody", p); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if s := o.Stats(); !s.Up || s.Failures != 0 {
		t.Errorf("a caller that gave up counts as an outage: %+v", s)
	}
	o.server.Thaw()
}

func TestScriptForgotten(t *testing.T) {
	t.Parallel()
	l, server := onServer(t, redislimit.Config{Refuse: true})
	p := ratelimit.Policy{Name: "user", Limit: 3, Window: time.Hour}
	for i := range 3 {
		if d, err := l.Allow(t.Context(), "somebody", p); err != nil || d.Remaining != 2-i {
			t.Errorf("%+v, %v", d, err)
		}
		if _, err := server.Do("SCRIPT", "FLUSH"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKeysExpire(t *testing.T) {
	t.Parallel()
	l, server := onServer(t, redislimit.Config{})
	p := ratelimit.Policy{Name: "user", Limit: 3, Window: time.Minute}
	if _, err := l.Allow(t.Context(), "somebody", p); err != nil {
		t.Fatal(err)
	}
	ttl, err := server.Do("PTTL", "ratelimit:{somebody}:user")
	if err != nil {
		t.Fatal(err)
	}
	var ms int
	if _, err := fmt.Sscan(ttl, &ms); err != nil || ms < 1000 || ms > 61_000 {
		t.Errorf("time to live %q ms", ttl)
	}
}
