package redistest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/redistest"
)

func do(t *testing.T, s *redistest.Server, words ...string) string {
	t.Helper()
	reply, err := s.Do(words...)
	if err != nil {
		t.Fatalf("%v: %v", words, err)
	}
	return reply
}

func TestServer(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--maxmemory-policy", "noeviction")
	if got := do(t, s, "SET", "a", "b"); got != "OK" {
		t.Errorf("SET: %q", got)
	}
	if got := do(t, s, "GET", "a"); got != "b" {
		t.Errorf("GET: %q", got)
	}
	if !strings.HasPrefix(s.URL(), "unix:///") {
		t.Errorf("URL %q", s.URL())
	}
	s.Kill()
	s.Kill()
	if _, err := s.Do("PING"); err == nil {
		t.Error("a killed server answers")
	}
	s.Restart()
	if got := do(t, s, "DBSIZE"); got != "0" {
		t.Errorf("keys after a restart: %s", got)
	}
	s.Freeze()
	s.Thaw()
	if got := do(t, s, "PING"); got != "PONG" {
		t.Errorf("PING: %q", got)
	}
	if _, err := s.Do("NONSENSE"); err == nil {
		t.Error("no error for a command that there is not")
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	nodes := redistest.StartCluster(t, 2)
	refused := 0
	for i := range 8 {
		for _, n := range nodes {
			if _, err := n.Do("SET", fmt.Sprint("k", i), "v"); err != nil {
				if !strings.Contains(err.Error(), "MOVED") {
					t.Error(err)
				}
				refused++
			}
		}
	}
	if refused != 8 {
		t.Errorf("%d of 16 writes went to the wrong node, want 8", refused)
	}
}

// outcome is a testing.TB that remembers how the test was ended.
type outcome struct {
	testing.TB
	skipped, failed string
}

type ended struct{}

func (o *outcome) Skipf(format string, args ...any) {
	o.skipped = fmt.Sprintf(format, args...)
	panic(ended{})
}

func (o *outcome) Fatalf(format string, args ...any) {
	o.failed = fmt.Sprintf(format, args...)
	panic(ended{})
}

func TestMissingServerIsSkippedOrFails(t *testing.T) {
	t.Setenv("PATH", "/does/not/exist")
	for require, skips := range map[string]bool{"": true, "1": false} {
		t.Setenv("POSTRIDER_TEST_REQUIRE_SERVERS", require)
		o := &outcome{TB: t}
		func() {
			defer func() {
				if r := recover(); r != nil && r != (ended{}) {
					panic(r)
				}
			}()
			redistest.Start(o)
		}()
		text := o.failed
		if skips {
			text = o.skipped
		}
		if !strings.Contains(text, "real server") || !strings.Contains(text, "make test") || o.skipped != "" != skips {
			t.Errorf("with %q: skipped %q, failed %q", require, o.skipped, o.failed)
		}
	}
}
