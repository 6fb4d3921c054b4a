package relaytest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/relaytest"
)

// outcome is a testing.TB that remembers how the test was ended. It ends it by
// a panic, which end recovers: the deferred calls of the harness still run.
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

func end(t *testing.T, f func(t testing.TB)) (o *outcome) {
	t.Helper()
	o = &outcome{TB: t}
	defer func() {
		if r := recover(); r != nil && r != (ended{}) {
			panic(r)
		}
	}()
	f(o)
	return o
}

func TestMissingServerIsSkippedOrFails(t *testing.T) {
	t.Setenv("POSTRIDER_TEST_EXIM", "/does/not/exist")
	start := func(t testing.TB) { relaytest.StartExim(t, relaytest.EximConfig{}) }

	t.Setenv("POSTRIDER_TEST_REQUIRE_SERVERS", "")
	o := end(t, start)
	if !strings.Contains(o.skipped, "real server") || !strings.Contains(o.skipped, "make test") {
		t.Errorf("skipped with %q", o.skipped)
	}
	t.Setenv("POSTRIDER_TEST_REQUIRE_SERVERS", "1")
	o = end(t, start)
	if !strings.Contains(o.failed, "real server") || o.skipped != "" {
		t.Errorf("failed with %q, skipped with %q", o.failed, o.skipped)
	}
}

func TestFaultyConfigurationIsReported(t *testing.T) {
	tests := map[string]struct {
		start func(t testing.TB)
		want  string
	}{
		"postfix main.cf value": {
			func(t testing.TB) {
				relaytest.StartPostfix(t, relaytest.PostfixConfig{Extra: map[string]string{"a": "b\nc"}})
			},
			"parameter a contains a line break",
		},
		"postfix reply": {
			func(t testing.TB) {
				relaytest.StartPostfix(t, relaytest.PostfixConfig{RecipientReplies: map[string]string{"a@b": "250 fine"}})
			},
			"not a 4yz or 5yz reply",
		},
		"postfix does not start": {
			func(t testing.TB) {
				relaytest.StartPostfix(t, relaytest.PostfixConfig{Extra: map[string]string{"inet_protocols": "none"}})
			},
			"inet_protocols",
		},
		"exim does not start": {
			func(t testing.TB) {
				relaytest.StartExim(t, relaytest.EximConfig{Extra: map[string]string{"no_such_option": "1"}})
			},
			"no_such_option",
		},
		"exim keyword": {
			func(t testing.TB) { relaytest.StartExim(t, relaytest.EximConfig{DiscardEHLO: []string{"x"}}) },
			`EHLO keyword "x"`,
		},
		"exim mechanism": {
			func(t testing.TB) { relaytest.StartExim(t, relaytest.EximConfig{Mechanisms: []string{"X"}}) },
			`SASL mechanism "X"`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := end(t, test.start)
			if o.skipped != "" {
				t.Skip(o.skipped)
			}
			if !strings.Contains(o.failed, test.want) {
				t.Errorf("failed with %q, want %q in it", o.failed, test.want)
			}
		})
	}
}

func TestWithoutTrace(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"trace and folds":    {"Return-Path: <>\nReceived: a\n\tb\n c\nSubject: x\n\nb\n", "Subject: x\r\n\r\nb\r\n"},
		"no trace":           {"Subject: x\r\n\r\nReceived: b\r\n", "Subject: x\r\n\r\nReceived: b\r\n"},
		"only trace":         {"Received: a\n\nbody\n", "\r\nbody\r\n"},
		"no line end":        {"Received", "Received"},
		"fold without field": {" folded\n", " folded\r\n"},
		"empty":              {"", ""},
	}
	for name, test := range tests {
		if got := string(relaytest.WithoutTrace([]byte(test.in))); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
