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
	// gatherFor is how long uses of keys and denied attempts are gathered before they are written. A machine that
	// dies takes as much of them with it: they are about requests that changed nothing.
	gatherFor = 5 * time.Second
	// gatherMost bounds each of the two, so that a flood of requests is not a flood of memory.
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

// denials gathers refused attempts, equal ones as one with a count: the audit log shows that somebody tried, and is
// not filled by who tries all day.
type denials struct {
	mu   sync.Mutex
	sums map[denial]*denied
	now  func() time.Time
	lost prometheus.Counter
}

// denial is what makes attempts equal.
type denial struct {
	tenant, user uuid.UUID
	kind         auth.Kind
	tokenID      string
	role         auth.Role
	addr         netip.Addr
	check        auth.Check
	reason       auth.Reason
	operation    string
}

// denied is what is noted of the first of them.
type denied struct {
	count     int
	at        time.Time
	requestID string
	userAgent string
}

// add takes one refusal. A request without any credential is no attempt, and a store that is away is nobody's.
func (d *denials) add(decision auth.Decision, rec *record) {
	switch {
	case decision.Reason == auth.ReasonNoHeader, decision.Code == auth.CodeUnavailable:
		return
	}
	p := decision.Principal
	if decision.Code == auth.CodeRevoked { // a revoked token speaks for nobody any more
		p = auth.Principal{}
	}
	key := denial{
		tenant: p.TenantID, user: p.UserID, kind: p.Kind, tokenID: p.TokenID, role: p.Role, addr: rec.addr,
		check: decision.Check, reason: decision.Reason, operation: rec.operation,
	}
	d.sum(key, rec)
}

// sum adds one to the attempts that are equal.
func (d *denials) sum(key denial, rec *record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sums == nil {
		d.sums = make(map[denial]*denied)
	}
	sum := d.sums[key]
	if sum == nil {
		if len(d.sums) >= gatherMost {
			d.lost.Inc()
			return
		}
		sum = &denied{at: d.now(), requestID: rec.id, userAgent: rec.agent}
		d.sums[key] = sum
	}
	sum.count++
}

func (d *denials) take() []store.AuditEntry {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]store.AuditEntry, 0, len(d.sums))
	for key, sum := range d.sums {
		list = append(list, store.AuditEntry{
			ID: store.NewID(), TenantID: key.tenant, At: sum.at,
			Actor: store.Actor{
				Kind: store.ActorKind(key.kind), TenantID: key.tenant, UserID: key.user, TokenID: key.tokenID, Role: string(key.role),
				Addr: key.addr, RequestID: sum.requestID, UserAgent: sum.userAgent,
			},
			Action: "access." + string(key.check), TargetKind: "operation", TargetID: key.operation, Outcome: store.AuditDenied, Count: sum.count,
			Detail: map[string]string{"reason": string(key.reason)},
		})
	}
	d.sums = nil
	return list
}

// Run writes down what requests leave behind: when API keys were used, and which attempts were denied. It returns nil
// when ctx ends, after a last writing; call it beside the server, and end ctx after the server has shut down.
func (s *Server) Run(ctx context.Context) error {
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

// flush writes what was gathered. What cannot be written is counted and gone: keeping it would only gather more while
// the database is away.
func (s *Server) flush(ctx context.Context) {
	for piece := range slices.Chunk(s.uses.take(), gatherPiece) {
		if err := s.store.TouchAPIKeys(ctx, piece); err != nil {
			s.metrics.keyUsesLost.Add(float64(len(piece)))
			s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "the time of uses of API keys could not be written", slog.Int("keys", len(piece)), slog.String("error", err.Error()))
		}
	}
	for piece := range slices.Chunk(s.denials.take(), gatherPiece) {
		if err := s.store.AddAudit(ctx, piece); err != nil {
			s.metrics.auditLost.Add(float64(len(piece)))
			s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "denied attempts could not be written to the audit log", slog.Int("entries", len(piece)), slog.String("error", err.Error()))
		}
	}
}
