package ratelimit

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The header fields, as net/http spells them; HTTP does not tell case apart.
const (
	fieldPolicy     = "Ratelimit-Policy"
	fieldState      = "Ratelimit"
	fieldLimit      = "Ratelimit-Limit"
	fieldRemaining  = "Ratelimit-Remaining"
	fieldReset      = "Ratelimit-Reset"
	fieldRetryAfter = "Retry-After"
)

// policyFields is a policy with the parts of header fields that never change.
type policyFields struct {
	Policy
	item   string // "user";q=50;w=60
	quoted string // "user"
	limit  string // 50
}

func newPolicyFields(p Policy) policyFields {
	quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(p.Name) + `"`
	return policyFields{
		Policy: p,
		item:   quoted + ";q=" + strconv.Itoa(p.Limit) + ";w=" + strconv.FormatInt(seconds(p.Window), 10),
		quoted: quoted,
		limit:  strconv.Itoa(p.Limit),
	}
}

// seconds is d in whole seconds, rounded up: who waits that long has waited long enough.
func seconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

// Result is a decision and the policy it was made under.
type Result struct {
	Policy   Policy
	Decision Decision
}

// SetHeader writes the header fields of both families for decisions that a program made
// itself by calling a Limiter, and joins them to those that are there already. Policies
// that are off are left out. It does not set Retry-After.
func SetHeader(h http.Header, results ...Result) {
	asks := make([]ask, 0, len(results))
	for _, r := range results {
		if !r.Policy.IsOff() {
			asks = append(asks, ask{policyFields: newPolicyFields(r.Policy), decision: r.Decision, decided: true})
		}
	}
	setFields(h, asks)
}

// setFields sets RateLimit-Policy for all policies, RateLimit for those decided, and the
// three fields of draft 06, which have room for one policy, for the one that is nearest
// to refusing.
func setFields(h http.Header, asks []ask) {
	if len(asks) == 0 {
		return
	}
	var (
		space  [256]byte
		policy = asks[0].item
		state  = space[:0]
		worst  *ask
	)
	for i := range asks {
		a := &asks[i]
		if i > 0 {
			policy += ", " + a.item
		}
		if !a.decided {
			continue
		}
		if len(state) > 0 {
			state = append(state, ", "...)
		}
		state = append(state, a.quoted...)
		state = append(state, ";r="...)
		state = strconv.AppendInt(state, int64(a.decision.Remaining), 10)
		state = append(state, ";t="...)
		state = strconv.AppendInt(state, seconds(a.decision.Reset), 10)
		if worst == nil || nearer(a.decision, worst.decision) {
			worst = a
		}
	}
	// One allocation for all values.
	values := make([]string, 5)
	put := func(i int, name, value string) {
		values[i] = value
		h[name] = values[i : i+1 : i+1]
	}
	put(0, fieldPolicy, join(h, fieldPolicy, policy))
	if worst == nil {
		return
	}
	put(1, fieldState, join(h, fieldState, string(state)))
	if old := h[fieldRemaining]; len(old) == 1 {
		// What an outer middleware has set stands if it is nearer to refusing.
		if n, err := strconv.Atoi(old[0]); err == nil && n < worst.decision.Remaining {
			return
		}
	}
	put(2, fieldLimit, worst.limit)
	put(3, fieldRemaining, strconv.Itoa(worst.decision.Remaining))
	put(4, fieldReset, strconv.FormatInt(seconds(worst.decision.Reset), 10))
}

// nearer reports whether a is nearer to refusing than b.
func nearer(a, b Decision) bool {
	if a.Remaining != b.Remaining {
		return a.Remaining < b.Remaining
	}
	return a.Reset > b.Reset
}

// join appends value to the list that the field holds.
func join(h http.Header, name, value string) string {
	if old := h[name]; len(old) > 0 {
		return strings.Join(old, ", ") + ", " + value
	}
	return value
}

// setRetryAfter sets the field to d in whole seconds, at least 1, and returns that.
func setRetryAfter(h http.Header, d time.Duration) time.Duration {
	n := max(1, seconds(d))
	h[fieldRetryAfter] = []string{strconv.FormatInt(n, 10)}
	return time.Duration(n) * time.Second
}
