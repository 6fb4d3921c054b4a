package ratelimit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxLimit is the largest Policy.Limit. A window remembers a time, 8 octets, for each
	// request in it: 8 MB for one key at this limit.
	MaxLimit = 1_000_000
	// MinWindow is the shortest Policy.Window. Below it the time that a request travels
	// decides more than the policy.
	MinWindow = time.Millisecond
	// MaxWindow is the longest Policy.Window: a month of 31 days.
	MaxWindow = 31 * 24 * time.Hour
	// maxName bounds Policy.Name: it goes into a header field of every answer.
	maxName = 64
)

// Policy is a limit: never more than Limit requests in any Window. The zero value is off.
type Policy struct {
	// Name tells policies apart in counts, header fields and refusals: 1 to 64 visible
	// ASCII characters or spaces, such as "user". Clients see it.
	Name string
	// Limit is the number of requests, 1 to MaxLimit; 0 with a Window of 0 is off.
	Limit int
	// Window is MinWindow to MaxWindow. Header fields carry whole seconds: there it is
	// rounded up.
	Window time.Duration
}

// DefaultPolicy is 50 requests in 60 s, named "user".
func DefaultPolicy() Policy {
	return Policy{Name: "user", Limit: 50, Window: time.Minute}
}

// ParsePolicy reads a limit as people write it in settings: "50/1m" is 50 requests in any
// minute, "off" is no limit. The window is in the form of time.ParseDuration, or whole
// days as in "1000/7d", and is at least 1 s and a whole number of seconds, which is all
// that the header fields can say.
func ParsePolicy(name, text string) (Policy, error) {
	p := Policy{Name: name}
	fault := func(why string) (Policy, error) {
		return Policy{}, fmt.Errorf("ratelimit: policy %q: %.40q %s; write requests/window as in \"50/1m\", or \"off\"", name, text, why)
	}
	if text != "off" {
		limit, window, found := strings.Cut(text, "/")
		if !found {
			return fault("has no slash")
		}
		n, err := strconv.ParseUint(limit, 10, 32)
		if err != nil || n == 0 || n > MaxLimit {
			return fault(fmt.Sprintf("does not begin with a number from 1 to %d", MaxLimit))
		}
		d, err := parseWindow(window)
		if err != nil {
			return fault("does not end in a time such as 1m")
		}
		if d < time.Second || d > MaxWindow || d%time.Second != 0 {
			return fault("needs a window of whole seconds, 1s to 31d")
		}
		p.Limit, p.Window = int(n), d
	}
	if err := p.Validate(); err != nil {
		return Policy{}, err
	}
	return p, nil
}

func parseWindow(text string) (time.Duration, error) {
	days, found := strings.CutSuffix(text, "d")
	if !found {
		return time.ParseDuration(text)
	}
	// Eight bits are enough for 31 and cannot overflow a Duration.
	n, err := strconv.ParseUint(days, 10, 8)
	return time.Duration(n) * 24 * time.Hour, err
}

// String is the policy as ParsePolicy reads it, without the name: "50/1m0s" or "off".
func (p Policy) String() string {
	if p.IsOff() {
		return "off"
	}
	return strconv.Itoa(p.Limit) + "/" + p.Window.String()
}

// IsOff reports whether the policy limits nothing.
func (p Policy) IsOff() bool { return p.Limit == 0 && p.Window == 0 }

// Validate reports what is wrong with the policy, in one line.
func (p Policy) Validate() error {
	if p.Name == "" || len(p.Name) > maxName {
		return fmt.Errorf("ratelimit: policy name %.70q has %d characters; use 1 to %d", p.Name, len(p.Name), maxName)
	}
	for _, c := range []byte(p.Name) {
		// RFC 9651 §3.3.3: a String is of these. The name is also part of keys and logs.
		if c < 0x20 || c > 0x7e {
			return fmt.Errorf("ratelimit: policy name %q: use visible ASCII characters and spaces", p.Name)
		}
	}
	return p.usable()
}

// usable checks the numbers alone: it runs on every request.
func (p Policy) usable() error {
	switch {
	case p.IsOff():
		return nil
	case p.Limit < 1 || p.Limit > MaxLimit:
		return fmt.Errorf("ratelimit: policy %q: a limit of %d requests; use 1 to %d", p.Name, p.Limit, MaxLimit)
	case p.Window < MinWindow || p.Window > MaxWindow:
		return fmt.Errorf("ratelimit: policy %q: a window of %s; use %s to %s", p.Name, p.Window, MinWindow, MaxWindow)
	}
	return nil
}
