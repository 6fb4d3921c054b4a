package httpapi

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/ratelimit"
)

// Limits say how often whom may ask. A Policy's name is what callers see in the header fields; an empty one gets the
// name given here. The zero Policy is off, so start from DefaultLimits.
type Limits struct {
	// User bounds the requests of a user's tokens, all of them together. Named "user".
	User ratelimit.Policy
	// APIKey bounds the requests of all API keys of a user together: making another key gets nobody more. Named
	// "api_key".
	APIKey ratelimit.Policy
	// Operator bounds the requests with the operator key. Named "operator".
	Operator ratelimit.Policy
	// Address bounds requests without a good credential, those that were refused too, by address. Named "address".
	Address ratelimit.Policy
	// LoginAccount bounds the failed logins to an account, whether it exists or not. Named "login".
	LoginAccount ratelimit.Policy
	// LoginAddress bounds the failed logins from an address. Named "login_address".
	LoginAddress ratelimit.Policy
	// Routes bounds, beside the above, what a user or the operator does with one operation; the key is its
	// operationId in the OpenAPI document. Named after it.
	Routes map[string]ratelimit.Policy
}

// DefaultLimits are 50 requests a minute for each user and for each address, 6000 for the API keys of each user, which are
// programs that hand in mail one by one, and a login that is for people: 10 failures in 15 minutes an account, 30 an address.
func DefaultLimits() Limits {
	every := func(name, text string) ratelimit.Policy {
		p, err := ratelimit.ParsePolicy(name, text)
		if err != nil {
			p = ratelimit.DefaultPolicy() // the texts below are right: cannot happen
		}
		return p
	}
	return Limits{
		User: every("user", "50/1m"), APIKey: every("api_key", "6000/1m"), Operator: every("operator", "300/1m"), Address: every("address", "50/1m"),
		LoginAccount: every("login", "10/15m"), LoginAddress: every("login_address", "30/15m"),
	}
}

// named gives the policies that have no name the ones that Limits documents.
func (l Limits) named() Limits {
	for name, p := range map[string]*ratelimit.Policy{
		"user": &l.User, "api_key": &l.APIKey, "operator": &l.Operator, "address": &l.Address, "login": &l.LoginAccount, "login_address": &l.LoginAddress,
	} {
		if p.Name == "" {
			p.Name = name
		}
	}
	routes := make(map[string]ratelimit.Policy, len(l.Routes))
	for id, p := range l.Routes {
		if p.Name == "" {
			p.Name = id
		}
		routes[id] = p
	}
	l.Routes = routes
	return l
}

// checkRoutes names the limits that are set for operations that there are not.
func (s *Server) checkRoutes() error {
	var faults []error
	for id := range s.cfg.Limits.Routes {
		if !s.operations[id] {
			faults = append(faults, fmt.Errorf("httpapi: a limit is set for the operation %.60q, which there is not: /openapi.json names them all", id))
		}
	}
	return errors.Join(faults...)
}

// newLimiters makes the two middlewares of the chain.
func (s *Server) newLimiters() error {
	refuse := func(w http.ResponseWriter, r *http.Request, refusal ratelimit.Refusal) {
		w.Header().Del("WWW-Authenticate") // of the refusal that was too many
		if refusal.Status == http.StatusServiceUnavailable {
			writeProblem(w, r, limiterUnavailable(refusal.Err))
			return
		}
		s.metrics.limited.WithLabelValues(refusal.Policy.Name).Inc()
		writeProblem(w, r, rateLimited(refusal.Policy.Name))
	}
	l := s.cfg.Limits
	var err, faults error
	s.byAddress, err = ratelimit.New(ratelimit.Config{
		Limiter: s.cfg.Limiter, Policies: []ratelimit.Policy{l.Address}, Refuse: refuse,
		Keys: []ratelimit.KeyFunc{func(r *http.Request) (string, string, bool) {
			return ratelimit.AddrKey(recordOf(r.Context()).addr), l.Address.Name, true
		}},
	})
	faults = errors.Join(faults, err)

	policies := []ratelimit.Policy{l.User, l.APIKey, l.Operator}
	for _, p := range l.Routes {
		policies = append(policies, p)
	}
	s.byCaller, err = ratelimit.New(ratelimit.Config{
		Limiter: s.cfg.Limiter, Policies: policies, Refuse: refuse,
		Keys: []ratelimit.KeyFunc{
			func(r *http.Request) (string, string, bool) {
				p, limited := l.Routes[recordOf(r.Context()).operation]
				return callerKey(r), p.Name, limited
			},
			func(r *http.Request) (string, string, bool) {
				switch p, _ := auth.FromContext(r.Context()); p.Kind {
				case auth.KindAPIKey:
					return callerKey(r), l.APIKey.Name, true
				case auth.KindOperator:
					return callerKey(r), l.Operator.Name, true
				default:
					return callerKey(r), l.User.Name, true
				}
			},
		},
	})
	return errors.Join(faults, err)
}

// callerKey is under whom a verified caller is counted. It never depends on what callers can make more of, such as
// keys and tokens.
func callerKey(r *http.Request) string {
	p, _ := auth.FromContext(r.Context())
	if p.Kind == auth.KindOperator {
		return string(auth.KindOperator)
	}
	var key [32]byte
	copy(key[:16], p.TenantID[:])
	copy(key[16:], p.UserID[:])
	return string(key[:])
}
