package httpapi

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/ratelimit"
)

// newGuard makes step 8 of the chain from what verifies credentials.
func (s *Server) newGuard() error {
	var err error
	s.keys, err = auth.NewAPIKeys(auth.APIKeysConfig{
		Store:    s.store,
		CacheFor: standingFor, // with the look-up itself, well within the 2 s in which a revocation must be everywhere
		OnUse:    s.uses.add,
		Now:      s.cfg.Now,
	})
	if err != nil {
		return err
	}
	s.guard, err = auth.New(auth.Config{
		Tokens: s.cfg.Tokens, OtherTokens: s.cfg.OtherTokens, APIKeys: s.keys, Operator: s.cfg.Operator,
		Directory: s.standing.Directory,
		// The address was worked out once, for the record.
		ClientAddr: func(r *http.Request) netip.Addr { return recordOf(r.Context()).addr },
		Refuse:     s.refuse,
		OnDecision: s.decided,
		Realm:      "postrider",
	})
	return err
}

// refuse answers who was refused by auth. Somebody without a good credential is counted by address, and gets 429 in
// place of the refusal when that was too often; a verified caller was counted already. While credentials cannot be
// checked nobody is counted: callers who try again are doing what we ask of them.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, e *auth.Error) {
	answer := func(w http.ResponseWriter, r *http.Request) { writeProblem(w, r, problemOf(e)) }
	_, verified := auth.FromContext(r.Context())
	switch {
	case verified:
		answer(w, r)
	case e.Status() == http.StatusServiceUnavailable:
		p := s.cfg.Limits.Address
		ratelimit.SetHeader(w.Header(), ratelimit.Result{Policy: p, Decision: ratelimit.Decision{Limit: p.Limit, Remaining: p.Limit}})
		answer(w, r)
	default:
		s.byAddress.Wrap(http.HandlerFunc(answer)).ServeHTTP(w, r)
	}
}

// decided hears of every decision about callers: refusals go into the record, the metrics and the audit log.
func (s *Server) decided(d auth.Decision) {
	rec := recordOf(d.Request.Context())
	if d.Allowed {
		if d.Check == auth.CheckCredential {
			rec.principal = d.Principal
		}
		return
	}
	rec.reason = d.Reason
	s.metrics.refusals.WithLabelValues(string(d.Reason)).Inc()
	s.denyDecision(d, rec)
}

// narrow lets nobody act with more than is stored of them: a token or a key whose role lies above the user's counts as
// the user's. A role that is taken away revokes the tokens that bear it; this holds for tokens of an outside issuer
// who does not know, and for API keys.
func (s *Server) narrow(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := auth.FromContext(r.Context())
		if p.Role == auth.RoleAdmin {
			role, err := s.standing.role(r.Context(), p)
			if err != nil {
				writeProblem(w, r, problemOf(err))
				return
			}
			if role != p.Role {
				p.Role = role
				recordOf(r.Context()).principal = p
				r = r.WithContext(auth.NewContext(r.Context(), p))
			}
		}
		next.ServeHTTP(w, r)
	})
}

// caller is who sent the request: behind the guard there always is one.
func caller(ctx context.Context) auth.Principal {
	p, _ := auth.FromContext(ctx)
	return p
}
