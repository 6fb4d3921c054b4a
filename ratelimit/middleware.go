package ratelimit

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// KeyFunc says whose request r is and which policy applies to it. The key is any text that
// cannot be chosen freely by who is to be limited: a verified user's id, an AddrKey. Keys
// of different kinds need policies of different names. The policy is the name of one in
// Config.Policies. ok is false if the function has no say about r.
type KeyFunc func(r *http.Request) (key, policy string, ok bool)

// Config sets up a Middleware.
type Config struct {
	// Limiter counts. Required. If it is a Refunder, a request that one policy refuses is
	// given back to those that had allowed it.
	Limiter Limiter
	// Policies are what the functions in Keys may name. Those that are off limit nothing
	// and are not in any header field.
	Policies []Policy
	// Keys are asked in this order, and the request must be allowed by each that has a
	// say. The first refusal ends it. Required. Put the policy that refuses most often
	// first.
	Keys []KeyFunc
	// Refuse answers a refused request. The header fields about limits, and Retry-After,
	// are set already; it writes the status and the body. nil is WriteProblem.
	Refuse func(w http.ResponseWriter, r *http.Request, refusal Refusal)
	// RetryUnavailable is the Retry-After of a 503, at least. 0 means 1 s.
	RetryUnavailable time.Duration
	// OnDecision, if set, sees each decision, for metrics and logs. It must be quick. err
	// is the Limiter's.
	OnDecision func(r *http.Request, p Policy, d Decision, err error)
}

// Refusal says why a request was refused.
type Refusal struct {
	// Status is 429, or 503 if the Limiter could not decide.
	Status int
	// RetryAfter is that of the header field of this name: whole seconds, at least 1.
	RetryAfter time.Duration
	// Policy is the one that refused, or about which the Limiter could not decide. It is
	// zero if a KeyFunc named a policy that there is not.
	Policy Policy
	// Err is the Limiter's error with a Status of 503. It is for a log, not for the
	// client.
	Err error
}

// Middleware limits the requests to a handler. It is safe for concurrent use.
type Middleware struct {
	limiter          Limiter
	refunder         Refunder // nil if limiter is none
	policies         map[string]policyFields
	keys             []KeyFunc
	refuse           func(http.ResponseWriter, *http.Request, Refusal)
	retryUnavailable time.Duration
	onDecision       func(*http.Request, Policy, Decision, error)
}

// ask is a request's place under one policy: what was asked, and the answer.
type ask struct {
	policyFields
	key      string
	decision Decision
	decided  bool
}

// usualAsks is how many policies a request may have before their list is allocated.
const usualAsks = 4

// New returns a Middleware. The error names everything that is wrong in cfg.
func New(cfg Config) (*Middleware, error) {
	var faults []error
	m := &Middleware{
		limiter:          cfg.Limiter,
		policies:         make(map[string]policyFields, len(cfg.Policies)),
		keys:             slices.Clone(cfg.Keys),
		refuse:           cfg.Refuse,
		retryUnavailable: cmp.Or(cfg.RetryUnavailable, time.Second),
		onDecision:       cfg.OnDecision,
	}
	if cfg.Limiter == nil {
		faults = append(faults, errors.New("ratelimit: Config.Limiter is nil; set one, such as NewMemory's"))
	}
	if len(cfg.Keys) == 0 || slices.ContainsFunc(cfg.Keys, func(f KeyFunc) bool { return f == nil }) {
		faults = append(faults, errors.New("ratelimit: Config.Keys is empty or has a nil; set at least one function"))
	}
	if cfg.RetryUnavailable < 0 {
		faults = append(faults, fmt.Errorf("ratelimit: Config.RetryUnavailable is %s; use a positive time, or 0 for 1s", cfg.RetryUnavailable))
	}
	for _, p := range cfg.Policies {
		if err := p.Validate(); err != nil {
			faults = append(faults, err)
		}
		if _, twice := m.policies[p.Name]; twice {
			faults = append(faults, fmt.Errorf("ratelimit: policy %q stands twice in Config.Policies; give each its own name", p.Name))
		}
		m.policies[p.Name] = newPolicyFields(p)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if m.refuse == nil {
		m.refuse = WriteProblem
	}
	m.refunder, _ = cfg.Limiter.(Refunder)
	return m, nil
}

// Wrap returns a handler that passes on to next what the limits allow. Around one handler
// there may be several, each with a Config of its own: their header fields are joined.
func (m *Middleware) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.pass(w, r) {
			next.ServeHTTP(w, r)
		}
	})
}

// pass decides about r and sets the header fields. If it returns false the answer has been
// written.
func (m *Middleware) pass(w http.ResponseWriter, r *http.Request) bool {
	var space [usualAsks]ask
	asks := space[:0]
	for _, f := range m.keys {
		key, name, ok := f(r)
		if !ok {
			continue
		}
		p, known := m.policies[name]
		if !known {
			m.refuseUnavailable(w, r, nil, Policy{}, fmt.Errorf("ratelimit: no policy is named %q; add it to Config.Policies", name))
			return false
		}
		if !p.IsOff() {
			asks = append(asks, ask{policyFields: p, key: key})
		}
	}
	for i := range asks {
		a := &asks[i]
		var err error
		a.decision, err = m.limiter.Allow(r.Context(), a.key, a.Policy)
		if m.onDecision != nil {
			m.onDecision(r, a.Policy, a.decision, err)
		}
		if err == nil && a.decision.Allowed {
			a.decided = true
			continue
		}
		m.refund(r, asks[:i])
		if err != nil {
			m.refuseUnavailable(w, r, asks, a.Policy, err)
			return false
		}
		a.decided = true
		setFields(w.Header(), asks)
		refusal := Refusal{Status: http.StatusTooManyRequests, Policy: a.Policy}
		refusal.RetryAfter = setRetryAfter(w.Header(), retryAfter(asks))
		m.refuse(w, r, refusal)
		return false
	}
	setFields(w.Header(), asks)
	return true
}

func (m *Middleware) refuseUnavailable(w http.ResponseWriter, r *http.Request, asks []ask, p Policy, err error) {
	setFields(w.Header(), asks)
	refusal := Refusal{Status: http.StatusServiceUnavailable, Policy: p, Err: err}
	refusal.RetryAfter = setRetryAfter(w.Header(), max(m.retryUnavailable, retryAfter(asks)))
	m.refuse(w, r, refusal)
}

// refund gives back what was allowed before another policy refused. That it may fail is
// of no consequence for the answer: then a request too many is counted.
func (m *Middleware) refund(r *http.Request, asks []ask) {
	if m.refunder == nil {
		return
	}
	for i := range asks {
		a := &asks[i]
		if m.refunder.Refund(r.Context(), a.key, a.Policy, a.decision) == nil {
			a.decision.Remaining++
			if a.decision.Remaining == a.decision.Limit {
				a.decision.Reset = 0
			}
		}
	}
}

// retryAfter is the time until no policy is exhausted. A RateLimit field with r=0 says by
// t when there is more, and Retry-After does not point earlier.
func retryAfter(asks []ask) time.Duration {
	var d time.Duration
	for i := range asks {
		if a := &asks[i]; a.decided && a.decision.Remaining == 0 {
			d = max(d, a.decision.RetryAfter, a.decision.Reset)
		}
	}
	return d
}
