package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Outcomes of what an audit entry tells.
const (
	AuditDone   = "done"   // it happened, in the same transaction as the entry
	AuditDenied = "denied" // it was refused
	AuditFailed = "failed" // it was allowed and went wrong
)

// ActorNobody is the kind of a caller without a valid credential.
const ActorNobody ActorKind = "nobody"

// AuditEntry says who did what, on what, when, from where and with which outcome. Entries are never
// changed and never deleted; only personal data can be erased from them, see [Store.EraseAuditPerson].
type AuditEntry struct {
	ID       uuid.UUID // uuid.Nil: a new one is made
	TenantID uuid.UUID // whose log it stands in; uuid.Nil: the operator's
	At       time.Time // to the microsecond; zero: now
	Actor    Actor     // an empty Kind is taken as ActorNobody
	Action   string    // what, with a dot between kind and verb: "user.create"

	// TargetKind and TargetID say on what: "user" and its id. An address or a name is not an id: it
	// belongs in Personal.
	TargetKind, TargetID string

	Outcome string            // AuditDone, AuditDenied or AuditFailed; empty: AuditDone
	Count   int               // how many times, for what is summed up; 0: once
	Detail  map[string]string // what else is worth knowing. Never secrets, never personal data

	// Personal is data about the person that is the target: mail address, name. Like the actor's Addr and
	// UserAgent it is kept beside the entry and can be erased.
	Personal map[string]string
}

// Bounds, in octets, of what callers control. Longer text is cut: an entry must not fail
// because of what somebody sent.
const (
	maxAuditWord   = 200  // action, kinds, ids
	maxAuditDetail = 1000 // one value of Detail or Personal; the user agent
	maxAuditPairs  = 32   // keys of Detail, and of Personal
)

// Parts of an entry's personal data, each erased with the person whose it is.
const (
	partActor   = 0 // where the actor came from
	partSubject = 1 // the person that is the target
)

// personal is a side row.
type personal struct {
	part       int
	user       uuid.UUID // whose data it is, if that is known
	salt       []byte
	data       map[string]string
	commitment []byte
}

// kept is an entry as it is stored.
type kept struct {
	AuditEntry
	parts [2]*personal // by part; nil: none
}

// keep brings an entry into the form in which it is stored and hashed.
func (e AuditEntry) keep(now time.Time) kept {
	if e.ID == uuid.Nil {
		e.ID = NewID()
	}
	if e.At.IsZero() {
		e.At = now
	}
	e.At = e.At.UTC().Truncate(time.Microsecond)
	e.Actor.Kind = cmp.Or(e.Actor.Kind, ActorNobody)
	e.Outcome = cmp.Or(e.Outcome, AuditDone)
	e.Count = max(e.Count, 1)
	for _, s := range []*string{&e.Actor.TokenID, &e.Actor.Role, &e.Actor.RequestID, &e.Action, &e.TargetKind, &e.TargetID, &e.Outcome} {
		*s = clean(*s, maxAuditWord)
	}
	e.Actor.Kind = ActorKind(clean(string(e.Actor.Kind), maxAuditWord))
	e.Detail = cleanPairs(e.Detail)

	k := kept{AuditEntry: e}
	from := map[string]string{}
	if e.Actor.Addr.IsValid() {
		from["addr"] = e.Actor.Addr.Unmap().String()
	}
	if e.Actor.UserAgent != "" {
		from["user_agent"] = e.Actor.UserAgent
	}
	k.parts[partActor] = newPersonal(partActor, e.Actor.UserID, from)
	var subject uuid.UUID
	if e.TargetKind == "user" {
		subject, _ = uuid.Parse(e.TargetID) // a target without an id: nobody to erase it with
	}
	k.parts[partSubject] = newPersonal(partSubject, subject, e.Personal)
	return k
}

func newPersonal(part int, user uuid.UUID, data map[string]string) *personal {
	data = cleanPairs(data)
	if len(data) == 0 {
		return nil
	}
	salt := make([]byte, 16)
	rand.Read(salt) // never fails
	return &personal{part: part, user: user, salt: salt, data: data, commitment: commitment(salt, data)}
}

// committed returns the commitment of a part, or nil if the entry has none.
func (k kept) committed(part int) []byte {
	if k.parts[part] == nil {
		return nil
	}
	return k.parts[part].commitment
}

// clean cuts text to at most limit octets and takes out what a database cannot keep.
func clean(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "")
}

// cleanPairs is clean for a map, which it copies. Of too many keys the first in their order stay.
func cleanPairs(m map[string]string) map[string]string {
	out := make(map[string]string, min(len(m), maxAuditPairs))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if len(out) == maxAuditPairs {
			break
		}
		out[clean(k, maxAuditWord)] = clean(m[k], maxAuditDetail)
	}
	return out
}

// AddAudit writes entries that tell of no change: denials, logins. It is one transaction, and may be
// repeated with the same IDs when it is not known whether it succeeded.
func (s *Store) AddAudit(ctx context.Context, entries []AuditEntry) error {
	if len(entries) == 0 {
		return nil
	}
	// In the order of tenants, so that two calls never wait for each other, and the scope changes
	// once a tenant.
	sorted := slices.SortedStableFunc(slices.Values(entries), func(a, b AuditEntry) int {
		return slices.Compare(a.TenantID[:], b.TenantID[:])
	})
	now := s.now()
	return s.asOperator(ctx, readWrite, func(t tx) error {
		var b batch
		tenant := uuid.Nil
		for _, e := range sorted {
			if e.TenantID != tenant {
				tenant = e.TenantID
				b.setTenant(tenant)
			}
			if err := addAudit(&b, now, e); err != nil {
				return err
			}
		}
		return t.batch(ctx, &b)
	})
}

// audit writes an entry in the transaction of the change that it tells of.
func (s *Store) audit(ctx context.Context, t tx, e AuditEntry) error {
	var b batch
	if err := addAudit(&b, s.now(), e); err != nil {
		return err
	}
	return t.batch(ctx, &b)
}

// addAudit adds the statements that write an entry to b, which runs in the scope of the entry's tenant.
func addAudit(b *batch, now time.Time, e AuditEntry) error {
	k := e.keep(now)
	detail, err := json.Marshal(k.Detail)
	if err != nil {
		return fmt.Errorf("store: the details of an audit entry: %w", err)
	}
	// An entry that is written again, because it was not known whether the first attempt reached the
	// database, is there already.
	b.exec(nil, `insert into audit_entries (tenant_id, id, at, actor_kind, actor_user, actor_token, actor_role, request_id,
		action, target_kind, target_id, outcome, count, detail, actor_commitment, subject_commitment)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) on conflict do nothing`,
		k.TenantID, k.ID, k.At, k.Actor.Kind, k.Actor.UserID, k.Actor.TokenID, k.Actor.Role, k.Actor.RequestID,
		k.Action, k.TargetKind, k.TargetID, k.Outcome, k.Count, json.RawMessage(detail), k.committed(partActor), k.committed(partSubject))
	for _, p := range k.parts {
		if p == nil {
			continue
		}
		data, err := json.Marshal(p.data)
		if err != nil {
			return fmt.Errorf("store: the personal data of an audit entry: %w", err)
		}
		b.exec(nil, `insert into audit_people (tenant_id, entry_id, part, user_id, salt, data)
			values ($1, $2, $3, $4, $5, $6) on conflict do nothing`,
			k.TenantID, k.ID, p.part, p.user, p.salt, json.RawMessage(data))
	}
	return nil
}
