package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// How an audited act ended.
const (
	AuditDone   = "done"
	AuditDenied = "denied"
	AuditFailed = "failed"
)

// AuditEntry is one line of the audit log: who did what, on what, when, from where, and how it ended.
type AuditEntry struct {
	ID       uuid.UUID // uuid.Nil: a new one
	TenantID uuid.UUID // uuid.Nil: the operator's
	At       time.Time // zero: now
	Actor    Actor
	Action   string // "user.create"
	// TargetKind and TargetID say on what: "user" and its id.
	TargetKind, TargetID string
	Outcome              string // empty: AuditDone
	Count                int    // how many such acts are summed up here; 0: 1
	// Detail tells more, in words of ours. It never holds secrets or personal data.
	Detail map[string]string
}

const auditSalt = 16

// audit writes an entry in the transaction of the change that it tells of.
func (s *Store) audit(ctx context.Context, t tx, e AuditEntry) error {
	if e.ID == uuid.Nil {
		e.ID = NewID()
	}
	if e.At.IsZero() {
		e.At = s.now()
	}
	if e.Outcome == "" {
		e.Outcome = AuditDone
	}
	detail, err := json.Marshal(e.Detail)
	if err != nil {
		return fmt.Errorf("store: audit: %w", err)
	}
	if e.Detail == nil {
		detail = []byte("{}")
	}
	b := &batch{}
	b.exec(nil, `insert into audit_entries (tenant_id, id, at, actor_kind, actor_user, actor_token, actor_role, action, target_kind, target_id,
		outcome, count, request_id, detail) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		e.TenantID, e.ID, e.At, e.Actor.Kind, e.Actor.UserID, e.Actor.TokenID, e.Actor.Role, e.Action, e.TargetKind, e.TargetID,
		e.Outcome, max(e.Count, 1), e.Actor.RequestID, json.RawMessage(detail))
	if e.Actor.Addr.IsValid() || e.Actor.UserAgent != "" {
		salt := make([]byte, auditSalt)
		_, _ = rand.Read(salt) // never fails (crypto/rand)
		b.exec(nil, "insert into audit_people (tenant_id, entry_id, addr, user_agent, salt) values ($1, $2, $3, $4, $5)",
			e.TenantID, e.ID, e.Actor.Addr, e.Actor.UserAgent, salt)
	}
	return t.batch(ctx, b)
}
