package redislimit_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/ratelimit"
	"github.com/postrider/postrider/ratelimit/redislimit"
)

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	_, err := redislimit.New(redislimit.Config{Prefix: "a{b}", Timeout: -1})
	for _, want := range []string{"Client is nil", "braces", "timeout -1ns"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	deaf := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer deaf.Close()
	if _, err := redislimit.New(redislimit.Config{Client: deaf}); err == nil || !strings.Contains(err.Error(), "ContextTimeoutEnabled") {
		t.Errorf("error %v", err)
	}
}

func TestOpenFaults(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"http://:secret@127.0.0.1", "redis://:secret@127.0.0.1:6379/x", "redis://:secret%zz@127.0.0.1",
		"redis://:secret@127.0.0.1:6379?addr=127.0.0.1:7000&nonsense=1", "://secret",
	} {
		c, err := redislimit.Open(address, 0)
		if err == nil {
			c.Close()
			t.Errorf("%s: no error", address)
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows the password: %v", address, err)
		}
	}
	if _, err := redislimit.Open("redis://127.0.0.1", -1); err == nil {
		t.Error("a negative timeout is taken")
	}
}

func TestPolicyFaults(t *testing.T) {
	t.Parallel()
	client := open(t, "redis://127.0.0.1:1", 0)
	l := newLimiter(t, redislimit.Config{Client: client})
	if _, err := l.Allow(t.Context(), "k", ratelimit.Policy{Name: "x", Limit: 1}); err == nil {
		t.Error("a policy without a window is taken")
	}
	if d, err := l.Allow(t.Context(), "k", ratelimit.Policy{Name: "x"}); err != nil || !d.Allowed {
		t.Errorf("a policy that is off: %+v, %v", d, err)
	}
}

func TestKeysDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, key := range []string{"", "a", "{a}", "a}", "#", "#a", "a}:user{", strings.Repeat("a", 128), strings.Repeat("a", 129), strings.Repeat("a", 130)} {
		for _, policy := range []string{"user", "user}", "}:user"} {
			got := redislimit.Key("p:", key, policy)
			name := key + "\x00" + policy
			if other, twice := seen[got]; twice {
				t.Errorf("%q and %q are counted as one in %q", other, name, got)
			}
			seen[got] = name
			if !strings.HasPrefix(got, "p:{") || strings.IndexByte(got, '}') < 4 || len(got) > 160 {
				t.Errorf("key %q", got)
			}
		}
	}
}
