package httpapi

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

const (
	// gatherFor is how long uses of keys are gathered before they are written. A machine that dies takes as much of
	// them with it.
	gatherFor = 5 * time.Second
	// gatherMost bounds them, so that a flood of requests is not a flood of memory.
	gatherMost = 10_000
	// gatherPiece is how many are written in one transaction.
	gatherPiece = 500
	// flushWait bounds the last writing, when the program ends.
	flushWait = 5 * time.Second
)

// uses gathers when and from where API keys were used last.
type uses struct {
	mu   sync.Mutex
	last map[uuid.UUID]store.KeyUse // by key
	lost prometheus.Counter
}

// add is auth.APIKeysConfig's OnUse: it must not block.
func (u *uses) add(_ context.Context, key auth.APIKeyRecord, from netip.Addr, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = make(map[uuid.UUID]store.KeyUse)
	}
	if _, known := u.last[key.ID]; !known && len(u.last) >= gatherMost {
		u.lost.Inc()
		return
	}
	u.last[key.ID] = store.KeyUse{Tenant: key.TenantID, Key: key.ID, Addr: from, At: at}
}

func (u *uses) take() []store.KeyUse {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := make([]store.KeyUse, 0, len(u.last))
	for _, use := range u.last {
		list = append(list, use)
	}
	u.last = nil
	return list
}

// denial is what makes refused attempts equal: store.Denials sums them up.
type denial struct {
	tenant, user uuid.UUID
	kind         auth.Kind
	tokenID      string
	role         auth.Role
	check        auth.Check
	reason       auth.Reason
}

// denyDecision takes one refusal. A request without any credential is no attempt, and a store that is away is nobody's.
func (s *Server) denyDecision(decision auth.Decision, rec *record) {
	switch {
	case decision.Reason == auth.ReasonNoHeader, decision.Code == auth.CodeUnavailable:
		return
	}
	p := decision.Principal
	if decision.Code == auth.CodeRevoked { // a revoked token speaks for nobody any more
		p = auth.Principal{}
	}
	s.deny(denial{
		tenant: p.TenantID, user: p.UserID, kind: p.Kind, tokenID: p.TokenID, role: p.Role,
		check: decision.Check, reason: decision.Reason,
	}, rec)
}

// deny notes an attempt of the request of rec for the audit log.
func (s *Server) deny(d denial, rec *record) {
	s.denials.Add(store.AuditEntry{
		TenantID: d.tenant,
		Actor: store.Actor{
			Kind: store.ActorKind(d.kind), TenantID: d.tenant, UserID: d.user, TokenID: d.tokenID, Role: string(d.role),
			Addr: rec.addr, RequestID: rec.id, UserAgent: rec.agent,
		},
		Action: "access." + string(d.check), TargetKind: "operation", TargetID: rec.operation,
		Detail: map[string]string{"reason": string(d.reason)},
	})
}

// Run writes down what requests leave behind: when API keys were used, and which attempts were denied. It returns nil
// when ctx ends, after a last writing; call it beside the server, and end ctx after the server has shut down.
func (s *Server) Run(ctx context.Context) error {
	var denials sync.WaitGroup
	denials.Go(func() { _ = s.denials.Run(ctx) }) // it returns nil
	defer denials.Wait()
	tick := time.NewTicker(gatherFor)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.flush(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWait)
			defer cancel()
			s.flush(last)
			return nil
		}
	}
}

// flush writes when API keys were used. What cannot be written is counted and gone: keeping it would only gather more while
// the database is away.
func (s *Server) flush(ctx context.Context) {
	for piece := range slices.Chunk(s.uses.take(), gatherPiece) {
		if err := s.store.TouchAPIKeys(ctx, piece); err != nil {
			s.metrics.keyUsesLost.Add(float64(len(piece)))
			s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "the time of uses of API keys could not be written", slog.Int("keys", len(piece)), slog.String("error", err.Error()))
		}
	}
}
