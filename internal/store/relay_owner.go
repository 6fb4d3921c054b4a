package store

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
)

// relayOwner is who owns relays: a tenant, or the operator when tenant is uuid.Nil.
type relayOwner struct {
	s      *Store
	tenant uuid.UUID
	write  func(context.Context, func(tx) error) error
	entry  func(by Actor, action string, relay uuid.UUID, detail map[string]string) AuditEntry
}

func (t Tenant) relayOwner() relayOwner {
	return relayOwner{t.s, t.id, t.write, func(by Actor, action string, relay uuid.UUID, detail map[string]string) AuditEntry {
		return t.entry(by, action, "relay", relay, detail)
	}}
}

func (o Operator) relayOwner() relayOwner {
	write := func(ctx context.Context, fn func(tx) error) error { return o.s.asOperator(ctx, readWrite, fn) }
	return relayOwner{o.s, uuid.Nil, write, func(by Actor, action string, relay uuid.UUID, detail map[string]string) AuditEntry {
		return AuditEntry{Actor: by, Action: action, TargetKind: "relay", TargetID: relay.String(), Detail: detail}
	}}
}

const relayColumns = `r.id, r.tenant_id, r.name, r.host, r.port, r.tls, r.username, r.has_password, r.helo, r.from_domains, r.limits,
	r.retry_schedule, r.give_up_after, r.ca_cert, r.skip_verify, r.pause_kind, r.pause_reason, r.paused_at, r.not_before,
	case when r.fingerprint is null then 0 else 1 end, r.created_at, r.updated_at`

func scanRelay(scan func(...any) error, more ...any) (Relay, error) {
	var r Relay
	var limits, schedule json.RawMessage
	var giveUp int64
	var inline int
	err := scan(append([]any{
		&r.ID, &r.OwnerTenant, &r.Name, &r.Host, &r.Port, &r.TLS, &r.Username, &r.HasPassword, &r.HELO, &r.FromDomains, &limits,
		&schedule, &giveUp, &r.CACert, &r.DangerouslySkipTLSVerify, &r.Pause.Kind, &r.Pause.Reason, &r.Pause.At, &r.NotBefore,
		&inline, &r.CreatedAt, &r.UpdatedAt,
	}, more...)...)
	if err != nil {
		return Relay{}, err
	}
	r.Inline = inline != 0
	r.GiveUpAfter = time.Duration(giveUp) * time.Millisecond
	var waits []int64
	if err := errors.Join(json.Unmarshal(limits, &r.Limits), json.Unmarshal(schedule, &waits)); err != nil {
		return Relay{}, err
	}
	for _, w := range waits {
		r.RetrySchedule = append(r.RetrySchedule, time.Duration(w)*time.Millisecond)
	}
	return r, nil
}

func relayJSON(r Relay) (domains, limits, schedule json.RawMessage, err error) {
	if r.FromDomains == nil {
		r.FromDomains = []string{}
	}
	waits := make([]int64, len(r.RetrySchedule))
	for i, w := range r.RetrySchedule {
		waits[i] = w.Milliseconds()
	}
	domains, err1 := json.Marshal(r.FromDomains)
	limits, err2 := json.Marshal(r.Limits)
	schedule, err3 := json.Marshal(waits)
	return domains, limits, schedule, errors.Join(err1, err2, err3)
}

// check refuses what no relay can have; whether a host may be dialled is decided by those who dial.
func (r Relay) check() error {
	switch {
	case !r.Inline && (r.Name == "" || len(r.Name) > maxName || !printable(r.Name)):
		return &InvalidError{Field: "name", Reason: "must have 1 to 200 characters and no control characters"}
	case r.Host == "" || len(r.Host) > 253 || !printable(r.Host) || strings.ContainsAny(r.Host, " /@"):
		return &InvalidError{Field: "host", Reason: "is not a host name or address"}
	case r.Port < 1 || r.Port > 65535:
		return &InvalidError{Field: "port", Reason: "must be 1 to 65535"}
	case r.TLS != "none" && r.TLS != "tls" && r.TLS != "ssl":
		return &InvalidError{Field: "tls", Reason: "use none, tls (STARTTLS) or ssl (implicit TLS)"}
	case !storable(append([]string{r.Username, r.HELO, r.CACert}, r.FromDomains...)...):
		return &InvalidError{Field: "relay", Reason: "has text that is not valid UTF-8 or contains NUL"}
	case r.GiveUpAfter < 0 || min(r.Limits.MaxConns, r.Limits.MessagesPerConn, r.Limits.MessagesPerMinute, r.Limits.RecipientsPerDay) < 0:
		return &InvalidError{Field: "limits", Reason: "cannot be negative"}
	}
	for _, w := range r.RetrySchedule {
		if w <= 0 {
			return &InvalidError{Field: "retry_schedule", Reason: "each wait must be positive"}
		}
	}
	return nil
}

func (n NewRelay) relay(owner uuid.UUID, now time.Time) Relay {
	if n.ID == uuid.Nil {
		n.ID = NewID()
	}
	return Relay{
		ID: n.ID, OwnerTenant: owner, Name: n.Name, Host: n.Host, Port: n.Port, TLS: n.TLS, Username: n.Username,
		HasPassword: len(n.SealedPassword) > 0, HELO: n.HELO, FromDomains: n.FromDomains, Limits: n.Limits, RetrySchedule: n.RetrySchedule,
		GiveUpAfter: n.GiveUpAfter.Truncate(time.Millisecond), CACert: n.CACert, DangerouslySkipTLSVerify: n.DangerouslySkipTLSVerify,
		CreatedAt: now, UpdatedAt: now,
	}
}

// create inserts a relay, its password and, for a tenant, its grant.
func (o relayOwner) create(ctx context.Context, q tx, r Relay, sealed, fingerprint []byte) error {
	if err := r.check(); err != nil {
		return err
	}
	domains, limits, schedule, err := relayJSON(r)
	if err != nil {
		return err
	}
	if _, err := q.exec(ctx, `insert into relays (id, tenant_id, name, fingerprint, host, port, tls, username, has_password, helo, from_domains,
		limits, retry_schedule, give_up_after, ca_cert, skip_verify, created_at, updated_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $17)`,
		r.ID, o.tenant, r.Name, fingerprint, r.Host, r.Port, r.TLS, r.Username, r.HasPassword, r.HELO, domains,
		limits, schedule, r.GiveUpAfter.Milliseconds(), r.CACert, r.DangerouslySkipTLSVerify, r.CreatedAt); err != nil {
		return relayConflict(err)
	}
	if err := o.setPassword(ctx, q, r.ID, sealed); err != nil || o.tenant == uuid.Nil {
		return err
	}
	_, err = q.exec(ctx, "insert into relay_grants (tenant_id, relay_id, active, created_at) values ($1, $2, $3, $4)",
		o.tenant, r.ID, true, r.CreatedAt)
	return err
}

// relayConflict names the field: the index is on an expression, whose name SQLite tells instead.
func relayConflict(err error) error {
	if _, ok := errors.AsType[*ConflictError](err); ok {
		return &ConflictError{Field: "name"}
	}
	return err
}

func (o relayOwner) setPassword(ctx context.Context, q tx, relay uuid.UUID, sealed []byte) error {
	_, err := q.exec(ctx, "delete from relay_credentials where relay_id = $1 and tenant_id is not distinct from $2", relay, o.tenant)
	if err != nil || len(sealed) == 0 {
		return err
	}
	_, err = q.exec(ctx, "insert into relay_credentials (relay_id, tenant_id, sealed) values ($1, $2, $3)", relay, o.tenant, sealed)
	return err
}

// own reads a relay of the owner and locks it. ErrNotOwner: it may be used, but is another's.
func (o relayOwner) own(ctx context.Context, q tx, id uuid.UUID) (Relay, error) {
	r, err := scanRelay(q.row(ctx, "select "+relayColumns+" from relays r where r.id = $1 and r.tenant_id is not distinct from $2 and r.deleted_at is null"+
		forUpdate(q), id, o.tenant).Scan)
	if !errors.Is(err, ErrNotFound) || o.tenant == uuid.Nil {
		return r, err
	}
	var shared int
	if err := q.row(ctx, "select count(*) from relay_grants where tenant_id = $1 and relay_id = $2 and active", o.tenant, id).Scan(&shared); err != nil {
		return r, err
	}
	if shared > 0 {
		return r, ErrNotOwner
	}
	return r, ErrNotFound
}

func (o relayOwner) update(ctx context.Context, id uuid.UUID, patch RelayPatch, by Actor) (Relay, error) {
	var r Relay
	err := o.write(ctx, func(q tx) error {
		old, err := o.own(ctx, q, id)
		if err != nil {
			return err
		}
		r = patch.apply(old)
		r.UpdatedAt = o.s.now()
		r.GiveUpAfter = r.GiveUpAfter.Truncate(time.Millisecond)
		if err := r.check(); err != nil {
			return err
		}
		if r.Pause.Kind == PauseAuth { // what was refused may be right now
			r.Pause = Pause{}
		}
		r.NotBefore = time.Time{} // another server, or other limits: it is tried anew
		domains, limits, schedule, err := relayJSON(r)
		if err != nil {
			return err
		}
		if patch.SealedPassword != nil {
			if err := o.setPassword(ctx, q, id, *patch.SealedPassword); err != nil {
				return err
			}
		}
		if _, err := q.exec(ctx, `update relays set name = $3, host = $4, port = $5, tls = $6, username = $7, has_password = $8, helo = $9,
			from_domains = $10, limits = $11, retry_schedule = $12, give_up_after = $13, ca_cert = $14, skip_verify = $15, pause_kind = $16,
			pause_reason = $17, paused_at = $18, not_before = $19, updated_at = $20 where id = $1 and tenant_id is not distinct from $2`,
			id, o.tenant, r.Name, r.Host, r.Port, r.TLS, r.Username, r.HasPassword, r.HELO, domains, limits, schedule,
			r.GiveUpAfter.Milliseconds(), r.CACert, r.DangerouslySkipTLSVerify, r.Pause.Kind, r.Pause.Reason, r.Pause.At, r.NotBefore, r.UpdatedAt); err != nil {
			return relayConflict(err)
		}
		if err := o.s.audit(ctx, q, o.entry(by, "relay.update", id, map[string]string{"fields": strings.Join(patch.changed(), " ")})); err != nil {
			return err
		}
		if old.Pause.Kind != PauseNone && r.Pause.Kind == PauseNone {
			return relayEvent(ctx, q, r, EventRelayResumed, "the relay was changed", r.UpdatedAt)
		}
		return nil
	})
	return r, err
}

// pause sets or ends (PauseNone) a pause.
func (o relayOwner) pause(ctx context.Context, id uuid.UUID, p Pause, by Actor) (Relay, error) {
	if !storable(p.Reason) {
		return Relay{}, &InvalidError{Field: "reason", Reason: "is not valid UTF-8 or contains NUL"}
	}
	var r Relay
	err := o.write(ctx, func(q tx) error {
		old, err := o.own(ctx, q, id)
		if err != nil {
			return err
		}
		r = old
		r.Pause, r.NotBefore = p, time.Time{} // whoever resumes wants it tried now
		now := o.s.now()
		action, kind := "relay.resume", EventRelayResumed
		if p.Kind != PauseNone {
			action, kind = "relay.pause", EventRelayPaused
			r.Pause.At = now
		}
		if _, err := q.exec(ctx, `update relays set pause_kind = $3, pause_reason = $4, paused_at = $5, not_before = null, updated_at = $6
			where id = $1 and tenant_id is not distinct from $2`, id, o.tenant, r.Pause.Kind, r.Pause.Reason, r.Pause.At, now); err != nil {
			return err
		}
		if err := o.s.audit(ctx, q, o.entry(by, action, id, nil)); err != nil {
			return err
		}
		if old.Pause.Kind == p.Kind {
			return nil
		}
		return relayEvent(ctx, q, r, kind, p.Reason, now)
	})
	return r, err
}

// remove hides a relay for ever. ErrInUse: messages wait for it.
func (o relayOwner) remove(ctx context.Context, id uuid.UUID, by Actor) error {
	return o.write(ctx, func(q tx) error {
		if _, err := o.own(ctx, q, id); err != nil {
			return err
		}
		if o.tenant != uuid.Nil { // the operator sees no spool: what waits there is failed by Sweep
			var waiting uuid.UUID
			err := q.row(ctx, "select message_id from spool where relay_id = $2 and tenant_id = $1 limit 1", o.tenant, id).Scan(&waiting)
			if err == nil {
				return ErrInUse
			}
			if !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		now := o.s.now()
		b := &batch{}
		b.exec(nil, "delete from relay_credentials where relay_id = $1 and tenant_id is not distinct from $2", id, o.tenant)
		b.exec(nil, "update relay_grants set active = $2 where relay_id = $1", id, false)
		b.exec(nil, "update relays set deleted_at = $3, has_password = $4 where id = $1 and tenant_id is not distinct from $2", id, o.tenant, now, false)
		if err := q.batch(ctx, b); err != nil {
			return err
		}
		return o.s.audit(ctx, q, o.entry(by, "relay.delete", id, nil))
	})
}

// relayEvent tells the tenant that owns a relay. The operator's relays have nobody to tell here.
func relayEvent(ctx context.Context, q tx, r Relay, kind EventKind, text string, at time.Time) error {
	if r.OwnerTenant == uuid.Nil {
		return nil
	}
	b := &batch{}
	writeEvents(b, q, r.OwnerTenant, []Event{{At: at, Kind: kind, RelayID: r.ID, Text: cleanReply(text, maxReplyText)}})
	return q.batch(ctx, b)
}
