package redislimit_test

import (
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/redistest"
	"github.com/postrider/postrider/ratelimit"
	"github.com/postrider/postrider/ratelimit/redislimit"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(childEnv); address != "" {
		os.Exit(child(address))
	}
	goleak.VerifyTestMain(m)
}

// patient is a timeout for tests in which Redis is not away: a slow machine is no outage.
const patient = 20 * time.Second

func open(t testing.TB, address string, timeout time.Duration) redis.UniversalClient {
	t.Helper()
	c, err := redislimit.Open(address, timeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func newLimiter(t testing.TB, cfg redislimit.Config) *redislimit.Limiter {
	t.Helper()
	l, err := redislimit.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// onServer is a limiter on a server of its own.
func onServer(t testing.TB, cfg redislimit.Config) (*redislimit.Limiter, *redistest.Server) {
	t.Helper()
	s := redistest.Start(t)
	cfg.Client = open(t, s.URL(), patient)
	if cfg.Timeout == 0 {
		cfg.Timeout = patient
	}
	return newLimiter(t, cfg), s
}

func newMemory(t testing.TB, cfg ratelimit.MemoryConfig) *ratelimit.Memory {
	t.Helper()
	m, err := ratelimit.NewMemory(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
