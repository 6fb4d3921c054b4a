package ratelimit_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/ratelimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newMemory(t testing.TB, cfg ratelimit.MemoryConfig) *ratelimit.Memory {
	t.Helper()
	m, err := ratelimit.NewMemory(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ticker is a clock that stands until it is told to go on.
type ticker struct{ at time.Time }

func newTicker() *ticker { return &ticker{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *ticker) now() time.Time       { return c.at }
func (c *ticker) pass(d time.Duration) { c.at = c.at.Add(d) }
func (c *ticker) memory(t testing.TB) *ratelimit.Memory {
	return newMemory(t, ratelimit.MemoryConfig{Now: c.now})
}

func allow(t testing.TB, l ratelimit.Limiter, key string, p ratelimit.Policy) ratelimit.Decision {
	t.Helper()
	d, err := l.Allow(t.Context(), key, p)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
