package store

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"
)

// AuditFilter narrows a list of audit entries. Empty fields do not.
type AuditFilter struct {
	Actor   string    // a user's id, a token's or key's id, or a kind of actor such as "operator"
	Action  string    // "user.create"; with a dot at the end, "user.", all that begin so
	Target  string    // a target's id
	Outcome string    // AuditDone, AuditDenied or AuditFailed
	From    time.Time // at this time or later
	To      time.Time // before this time
}

// Audit lists the tenant's audit entries, the newest first, and the cursor of the next page.
func (t Tenant) Audit(ctx context.Context, f AuditFilter, page Page) ([]AuditEntry, string, error) {
	return listAudit(ctx, t.read, t.id, f, page)
}

// Audit lists the operator's audit entries, which belong to no tenant, the newest first, and the cursor
// of the next page. Those of tenants are theirs to read.
func (o Operator) Audit(ctx context.Context, f AuditFilter, page Page) ([]AuditEntry, string, error) {
	read := func(ctx context.Context, fn func(tx) error) error { return o.s.asOperator(ctx, readOnly, fn) }
	return listAudit(ctx, read, uuid.Nil, f, page)
}

// auditColumns are what scanAudit reads, of the tables that auditTables joins.
const (
	auditColumns = `e.tenant_id, e.id, e.at, e.actor_kind, e.actor_user, e.actor_token, e.actor_role, e.request_id,
		e.action, e.target_kind, e.target_id, e.outcome, e.count, e.detail, e.actor_commitment, e.subject_commitment,
		a.salt, a.data, s.salt, s.data`
	auditPeople = `
		left join audit_people a on a.entry_id = e.id and a.part = 0 and a.tenant_id is not distinct from e.tenant_id
		left join audit_people s on s.entry_id = e.id and s.part = 1 and s.tenant_id is not distinct from e.tenant_id`
)

func listAudit(ctx context.Context, read func(context.Context, func(tx) error) error, tenant uuid.UUID, f AuditFilter, page Page) ([]AuditEntry, string, error) {
	after, err := page.position()
	if err != nil {
		return nil, "", err
	}
	where := newAuditWhere(tenant, f, after)
	limit := page.limit()
	var list []AuditEntry
	err = read(ctx, func(t tx) error {
		r, err := t.query(ctx, "select "+auditColumns+" from audit_entries e"+auditPeople+
			" where "+where.sql()+" order by e.at desc, e.id desc limit "+where.arg(limit+1), where.args...)
		list, err = collect(r, err, func(r *rows) (AuditEntry, error) {
			k, err := scanAudit(r.Scan)
			return k.AuditEntry, err
		})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	list, next := nextPage(list, limit, func(e AuditEntry) position { return position{at: e.At, id: e.ID} })
	return list, next, nil
}

// auditWhere gathers conditions and their arguments.
type auditWhere struct {
	conditions []string
	args       []any
}

func newAuditWhere(tenant uuid.UUID, f AuditFilter, after position) *auditWhere {
	w := &auditWhere{}
	if tenant == uuid.Nil {
		w.add("e.tenant_id is null")
	} else {
		w.add("e.tenant_id = %s", tenant)
	}
	w.add("(e.at, e.id) < (%s, %s)", after.at, after.id)
	if id, err := uuid.Parse(f.Actor); err == nil && id != uuid.Nil {
		w.add("(e.actor_user = %s or e.actor_token = %s)", id, f.Actor)
	} else if f.Actor != "" {
		w.add("(e.actor_kind = %s or e.actor_token = %s)", f.Actor, f.Actor)
	}
	if strings.HasSuffix(f.Action, ".") {
		w.add("substr(e.action, 1, %s) = %s", len(f.Action), f.Action)
	} else if f.Action != "" {
		w.add("e.action = %s", f.Action)
	}
	if f.Target != "" {
		w.add("e.target_id = %s", f.Target)
	}
	if f.Outcome != "" {
		w.add("e.outcome = %s", f.Outcome)
	}
	if !f.From.IsZero() {
		w.add("e.at >= %s", f.From)
	}
	if !f.To.IsZero() {
		w.add("e.at < %s", f.To)
	}
	return w
}

func (w *auditWhere) add(condition string, args ...any) {
	names := make([]any, len(args))
	for i, a := range args {
		names[i] = w.arg(a)
	}
	w.conditions = append(w.conditions, fmt.Sprintf(condition, names...))
}

func (w *auditWhere) arg(a any) string {
	w.args = append(w.args, a)
	return fmt.Sprintf("$%d", len(w.args))
}

func (w *auditWhere) sql() string { return strings.Join(w.conditions, " and ") }

// scanAudit reads an entry and what is left of its personal data. The commitments are those that the
// entry holds; a part without a side row has a commitment and no salt.
func scanAudit(scan func(...any) error, before ...any) (kept, error) {
	var k kept
	var detail json.RawMessage
	var parts [2]personal
	var data [2]json.RawMessage
	err := scan(append(before, &k.TenantID, &k.ID, &k.At, &k.Actor.Kind, &k.Actor.UserID, &k.Actor.TokenID, &k.Actor.Role,
		&k.Actor.RequestID, &k.Action, &k.TargetKind, &k.TargetID, &k.Outcome, &k.Count, &detail,
		&parts[partActor].commitment, &parts[partSubject].commitment,
		&parts[partActor].salt, &data[partActor], &parts[partSubject].salt, &data[partSubject])...)
	if err != nil {
		return kept{}, err
	}
	if k.ID == uuid.Nil { // an outer join that found no entry
		return k, nil
	}
	if k.Actor.UserID != uuid.Nil {
		k.Actor.TenantID = k.TenantID
	}
	// What cannot be read is left empty: verification must go on over a row that somebody spoiled, and
	// its hash tells that it was.
	k.Detail = readPairs(detail)
	for i := range parts {
		parts[i].part = i
		parts[i].data = readPairs(data[i])
		k.parts[i] = &parts[i]
	}
	from := parts[partActor].data
	k.Actor.UserAgent = from["user_agent"]
	k.Actor.Addr, _ = netip.ParseAddr(from["addr"])
	k.Personal = parts[partSubject].data
	return k, nil
}

func readPairs(text json.RawMessage) map[string]string {
	var m map[string]string
	if json.Unmarshal(text, &m) != nil {
		return nil
	}
	return m
}
