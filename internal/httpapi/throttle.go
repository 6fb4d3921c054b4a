package httpapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/ratelimit"
)

// tries are the places that one attempt to prove a password took: by account and by address. A password that was right
// gives them back, so that only failures count.
type tries struct {
	s    *Server
	list []try
}

type try struct {
	key      string
	policy   ratelimit.Policy
	decision ratelimit.Decision
}

// throttle counts an attempt at the password of an account, which need not exist, before the password is looked at. The
// error is the answer if there were too many.
func (s *Server) throttle(ctx context.Context, tenant uuid.UUID, email string) (*tries, error) {
	rec := recordOf(ctx)
	t := &tries{s: s}
	for _, one := range []try{
		{key: ratelimit.AddrKey(rec.addr), policy: s.cfg.Limits.LoginAddress},
		{key: tenant.String() + strings.ToLower(email), policy: s.cfg.Limits.LoginAccount},
	} {
		if one.policy.IsOff() {
			continue
		}
		var err error
		if one.decision, err = s.cfg.Limiter.Allow(ctx, one.key, one.policy); err != nil {
			t.forgive(ctx)
			return nil, limiterUnavailable(err)
		}
		ratelimit.SetHeader(rec.Header(), ratelimit.Result{Policy: one.policy, Decision: one.decision})
		if !one.decision.Allowed {
			t.forgive(ctx)
			s.metrics.limited.WithLabelValues(one.policy.Name).Inc()
			p := rateLimited(one.policy.Name)
			p.retryAfter = int((one.decision.RetryAfter + time.Second - 1) / time.Second)
			return nil, p
		}
		t.list = append(t.list, one)
	}
	return t, nil
}

// forgive gives the places back.
func (t *tries) forgive(ctx context.Context) {
	refunder, ok := t.s.cfg.Limiter.(ratelimit.Refunder)
	if !ok {
		return
	}
	for _, one := range t.list {
		_ = refunder.Refund(ctx, one.key, one.policy, one.decision) // if it fails, one try too many is counted
	}
}

// Header is the header of the answer; outside of a request one that nobody sees.
func (rec *record) Header() http.Header {
	if rec.ResponseWriter == nil {
		return http.Header{}
	}
	return rec.ResponseWriter.Header()
}
