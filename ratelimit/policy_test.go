package ratelimit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/ratelimit"
)

func TestParsePolicy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text   string
		limit  int
		window time.Duration
		fault  string // part of the error
	}{
		{"50/1m", 50, time.Minute, ""},
		{"50/60s", 50, time.Minute, ""},
		{"1/1s", 1, time.Second, ""},
		{"1000000/31d", 1_000_000, 31 * 24 * time.Hour, ""},
		{"10000/1h30m", 10_000, 90 * time.Minute, ""},
		{"off", 0, 0, ""},
		{"", 0, 0, "no slash"},
		{"50", 0, 0, "no slash"},
		{"OFF", 0, 0, "no slash"},
		{"/1m", 0, 0, "begin with a number"},
		{"0/1m", 0, 0, "begin with a number"},
		{"-1/1m", 0, 0, "begin with a number"},
		{"+1/1m", 0, 0, "begin with a number"},
		{"1.5/1m", 0, 0, "begin with a number"},
		{"1000001/1m", 0, 0, "begin with a number"},
		{"99999999999999999999/1m", 0, 0, "begin with a number"},
		{"50/", 0, 0, "end in a time"},
		{"50/m", 0, 0, "end in a time"},
		{"50/60", 0, 0, "end in a time"},
		{"50/1w", 0, 0, "end in a time"},
		{"50/999d", 0, 0, "end in a time"},
		{"50/32d", 0, 0, "whole seconds"},
		{"50/0s", 0, 0, "whole seconds"},
		{"50/-1m", 0, 0, "whole seconds"},
		{"50/1500ms", 0, 0, "whole seconds"},
		{"50/1m/2", 0, 0, "end in a time"},
		{" 50/1m", 0, 0, "begin with a number"},
	}
	for _, test := range tests {
		p, err := ratelimit.ParsePolicy("user", test.text)
		if test.fault != "" {
			if err == nil || !strings.Contains(err.Error(), test.fault) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: error %v, want %q in it", test.text, err, test.fault)
			}
			continue
		}
		if want := (ratelimit.Policy{Name: "user", Limit: test.limit, Window: test.window}); err != nil || p != want {
			t.Errorf("%q: got %+v, %v", test.text, p, err)
		}
		if again, err := ratelimit.ParsePolicy("user", p.String()); err != nil || again != p {
			t.Errorf("%q is printed as %q, which is %+v, %v", test.text, p, again, err)
		}
	}
}

func TestPolicyValidate(t *testing.T) {
	t.Parallel()
	for fault, p := range map[string]ratelimit.Policy{
		"0 characters":    {Limit: 1, Window: time.Second},
		"65 characters":   {Name: strings.Repeat("x", 65), Limit: 1, Window: time.Second},
		"visible ASCII":   {Name: "a\n", Limit: 1, Window: time.Second},
		"limit of 0":      {Name: "a", Window: time.Second},
		"limit of -1":     {Name: "a", Limit: -1, Window: time.Second},
		"limit of 100000": {Name: "a", Limit: 1_000_001, Window: time.Second},
		"window of 0s":    {Name: "a", Limit: 1},
		"window of 745h":  {Name: "a", Limit: 1, Window: 745 * time.Hour},
	} {
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%+v: error %v, want %q in it", p, err, fault)
		}
	}
	if err := ratelimit.DefaultPolicy().Validate(); err != nil {
		t.Error(err)
	}
}

func FuzzParsePolicy(f *testing.F) {
	for _, text := range []string{"50/1m", "off", "1/1s", "1000000/31d", "9/9d9", "/", "1/1h1m1s", "50/1e9s", "0x10/1m", "1_0/1m"} {
		f.Add("user", text)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		p, err := ratelimit.ParsePolicy(name, text)
		if err != nil {
			return
		}
		if err := p.Validate(); err != nil {
			t.Fatalf("%q is taken: %v", text, err)
		}
		if again, err := ratelimit.ParsePolicy(name, p.String()); err != nil || again != p {
			t.Fatalf("%q: %+v is printed as %q, which is %+v, %v", text, p, p, again, err)
		}
	})
}
