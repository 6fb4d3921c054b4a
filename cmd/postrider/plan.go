package main

import (
	"strings"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/ratelimit"
)

// plan is what the settings mean: everything about them has been checked before anything is opened.
type plan struct {
	settings    *config.Settings
	keys        *keyring
	limits      httpapi.Limits
	roles       map[string]auth.Role
	certificate *certificate // nil: HTTP
	migrate     bool
}

// newPlan turns settings into what the packages want, and reports every fault. makeKeys makes keys that are missing.
func newPlan(s *config.Settings, makeKeys bool) (*plan, config.Faults) {
	p := plan{settings: s}
	var faults config.Faults
	p.keys, faults = readKeys(s, makeKeys)
	say := func(key, format string, a ...any) { faults = append(faults, s.Fault(key, format, a...)) }

	limit := func(key, name, text string) ratelimit.Policy {
		policy, err := ratelimit.ParsePolicy(name, text)
		if err != nil {
			say(key, "%s", strings.TrimPrefix(err.Error(), "ratelimit: "))
		}
		return policy
	}
	p.limits = httpapi.Limits{
		User:         limit("rate_limit", "user", s.RateLimit),
		APIKey:       limit("rate_limit_api_key", "api_key", s.RateLimitAPIKey),
		Operator:     limit("rate_limit_operator", "operator", s.RateLimitOperator),
		Address:      limit("rate_limit_address", "address", s.RateLimitAddress),
		LoginAccount: limit("rate_limit_login", "login", s.RateLimitLogin),
		LoginAddress: limit("rate_limit_login_address", "login_address", s.RateLimitLoginAddress),
		Routes:       map[string]ratelimit.Policy{},
	}
	for _, pair := range s.RateLimitRoutes {
		p.limits.Routes[pair.Name] = limit("rate_limit_routes", pair.Name, pair.Value)
	}

	if len(s.JWKSRoles) > 0 {
		p.roles = map[string]auth.Role{}
		for _, pair := range s.JWKSRoles {
			role, err := auth.ParseRole(pair.Value)
			if err != nil {
				say("jwks_roles", "%q is no role of ours: use user or admin", pair.Value)
			}
			p.roles[pair.Name] = role
		}
	}
	if s.TLSCert != "" && s.TLSKey != "" {
		var err error
		if p.certificate, err = loadCertificate(s.TLSCert, s.TLSKey); err != nil {
			say("tls_cert", "%v", err)
		}
	}
	return &p, faults
}

// limiterName is under which the nodes of an installation count together in Redis.
const limiterName = "postrider:limit:"
