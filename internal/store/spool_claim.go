package store

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"
)

// claimedContent is the size up to which content comes with the claim, so that a claim of some hundred messages stays
// within a few megabytes.
const claimedContent = 32 << 10

// unheld is what "may send now" asks beside the times: that nobody holds the relay, the tenant or everything. s is the row
// of the spool, r its relay. A relay that refused our password may be used again when not_before has passed: that is the
// probe.
const unheld = `r.deleted_at is null and r.pause_kind in ('', 'auth')
	and exists (select 1 from tenants t where t.id = s.tenant_id and t.state = 'active')
	and exists (select 1 from relay_grants g where g.tenant_id = s.tenant_id and g.relay_id = s.relay_id and g.active)
	and not exists (select 1 from service_pause p where p.paused)`

// maySend is the one rule of what may be sent now, for every query that looks for work. $1 is the time.
const maySend = `s.claim is null and s.due <= $1 and (r.not_before is null or r.not_before <= $1) and ` + unheld

// inTime keeps back what was tried and is past its give-up time: it is given up, not tried once more. What was never tried
// has its one attempt however late it is. See GiveUp.
const inTime = ` and (s.attempts = 0 or not exists (select 1 from messages m
	where m.tenant_id = s.tenant_id and m.id = s.message_id and m.give_up_at <= $1))`

// Two statements, since SQLite has no row locks and no UPDATE inside of WITH. SQLite plans a statement anew for each value of a bare
// LIMIT.
const (
	claimPostgres = `with picked as materialized (
			select s.message_id from spool s join relays r on r.id = s.relay_id
			where s.relay_id = $2 and s.tenant_id = $3 and s.class = $4 and ` + maySend + inTime + `
			order by s.due, s.message_id limit $5 for update of s skip locked)
		update spool set claim = $6, claimed_at = $1, marked = false from picked
		where spool.tenant_id = $3 and spool.message_id = picked.message_id
		returning spool.message_id, spool.attempts, spool.unknown_before`

	claimSQLite = `update spool set claim = $6, claimed_at = $1, marked = 0 where tenant_id = $3 and message_id in (
			select s.message_id from spool s join relays r on r.id = s.relay_id
			where s.relay_id = $2 and s.tenant_id = $3 and s.class = $4 and ` + maySend + inTime + `
			order by s.due, s.message_id limit ($5 + 0))
		returning message_id, attempts, unknown_before`
)

// Claim takes messages of one turn that may be sent now, the longest due first, and returns them with their open
// recipients. They are this node's until Record, or until another node resolves its claims.
func (s *Store) Claim(ctx context.Context, req ClaimRequest) ([]Claimed, error) {
	now := req.Now
	if now.IsZero() {
		now = s.now()
	}
	if req.Node == uuid.Nil {
		return nil, &InvalidError{Field: "node", Reason: "is missing"}
	}
	var list []Claimed
	err := s.asDelivery(ctx, readWrite, func(t tx) error {
		var err error
		if list, err = claimRows(ctx, t, req, now); err != nil || !t.postgres() {
			return err
		}
		return loadClaimed(ctx, t, list)
	})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	if s.cfg.URL == "" { // the rows are ours: SQLite's one writer need not wait for them to be read
		err = s.asDelivery(ctx, readOnly, func(t tx) error { return loadClaimed(ctx, t, list) })
		if err != nil {
			s.unclaim(context.WithoutCancel(ctx), req, list)
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b Claimed) int { return compareIDs(a.MessageID, b.MessageID) })
	return list, nil
}

func claimRows(ctx context.Context, t tx, req ClaimRequest, now time.Time) ([]Claimed, error) {
	t.setTenant(req.Tenant)
	text := claimSQLite
	if t.postgres() {
		text = claimPostgres
	}
	r, err := t.query(ctx, text, now, req.Relay, req.Tenant, int(req.Class), max(req.Limit, 1), req.Node)
	return collect(r, err, func(r *rows) (Claimed, error) {
		c := Claimed{TenantID: req.Tenant, RelayID: req.Relay, Class: req.Class, ClaimedAt: now}
		err := r.Scan(&c.MessageID, &c.Attempt, &c.UnknownBefore)
		c.Attempt++
		return c, err
	})
}

const claimedMessages = `select m.id, m.content_id, m.created_at, m.give_up_at, m.mail_from, m.size, m.smtputf8, m.eight_bit, m.require_tls, m.test, m.dsn,
	m.on_unknown, case when m.size <= $3 then (select c.data from contents c where c.tenant_id = m.tenant_id and c.id = m.content_id and c.piece = 0) end
	from messages m `

// claimedBy finds the rows m of the tenant $1 whose column id is one of $2, each by its key: see byKey.
func claimedBy(t tx, id string) string {
	if t.postgres() {
		return "join (select $1::uuid as tenant_id, x.id from unnest($2::uuid[]) as x(id) offset 0) u on u.tenant_id = m.tenant_id and u.id = m." + id + " where true"
	}
	return "where m.tenant_id = $1 and m." + id + " " + oneOf(t, "$2")
}

// loadClaimed fills in what the spool's rows do not hold. Nobody else changes it while the claim stands.
func loadClaimed(ctx context.Context, t tx, list []Claimed) error {
	if len(list) == 0 {
		return nil
	}
	tenant := list[0].TenantID
	t.setTenant(tenant)
	place := make(map[uuid.UUID]int, len(list))
	all := make([]uuid.UUID, len(list))
	for i, c := range list {
		place[c.MessageID] = i
		all[i] = c.MessageID
	}
	b := &batch{}
	byKey(b, t)
	b.query(func(r *rows) error {
		var id uuid.UUID
		var c Claimed
		if err := r.Scan(&id, &c.ContentID, &c.CreatedAt, &c.GiveUpAt, &c.MailFrom, &c.Size, &c.SMTPUTF8, &c.EightBit, &c.RequireTLS,
			&c.Test, &c.DSN, &c.OnUnknown, &c.Content); err != nil {
			return err
		}
		d := &list[place[id]]
		c.MessageID, c.TenantID, c.RelayID, c.Class, c.Attempt, c.UnknownBefore = d.MessageID, d.TenantID, d.RelayID, d.Class, d.Attempt, d.UnknownBefore
		c.Recipients, c.ClaimedAt = d.Recipients, d.ClaimedAt
		*d = c
		return nil
	}, claimedMessages+claimedBy(t, "id"), tenant, manyIDs(t, all), claimedContent)
	b.query(func(r *rows) error {
		var id uuid.UUID
		var rc ClaimedRecipient
		if err := r.Scan(&id, &rc.N, &rc.Address, &rc.State, &rc.Notify, &rc.ORcpt); err != nil {
			return err
		}
		c := &list[place[id]]
		c.Recipients = append(c.Recipients, rc)
		return nil
	}, "select m.message_id, m.n, m.address, m.state, m.notify, m.orcpt from recipients m "+claimedBy(t, "message_id")+
		" and (m.state in ('queued', 'deferred') or m.again)", tenant, manyIDs(t, all))
	if err := t.batch(ctx, b); err != nil {
		return err
	}
	for i := range list {
		slices.SortFunc(list[i].Recipients, func(a, b ClaimedRecipient) int { return cmp.Compare(a.N, b.N) })
	}
	return nil
}

// unclaim gives back what was just claimed.
func (s *Store) unclaim(ctx context.Context, req ClaimRequest, list []Claimed) {
	for _, c := range list {
		err := s.Record(ctx, Outcome{Node: req.Node, TenantID: req.Tenant, MessageID: c.MessageID, Release: true, ClaimedAt: c.ClaimedAt})
		if err != nil {
			s.cfg.Logger.ErrorContext(ctx, "a claim could not be given back: it is resolved when the relay changes hands", "message", c.MessageID, "error", err)
		}
	}
}

// Unclaim gives back what a Claim may have taken of which the caller never heard: it failed, and its connection may have
// broken during the commit. Nobody else would, for this node lives. req is the request that failed, with its Now. It returns
// how many messages are due again.
func (s *Store) Unclaim(ctx context.Context, req ClaimRequest) (int, error) {
	if req.Node == uuid.Nil || req.Now.IsZero() {
		return 0, &InvalidError{Field: "now", Reason: "the node and the time of the failed claim must be given"}
	}
	var n int64
	err := s.asDelivery(ctx, readWrite, func(t tx) (err error) {
		t.setTenant(req.Tenant)
		n, err = t.exec(ctx, `update spool set claim = null, claimed_at = null where relay_id = $1 and tenant_id = $2 and class = $3
			and claim = $4 and claimed_at = $5 and not marked`, req.Relay, req.Tenant, int(req.Class), req.Node, req.Now)
		return err
	})
	return int(n), err
}

// oneOf is the condition that a column of ids has one of the values of manyIDs.
func oneOf(t tx, place string) string {
	if t.postgres() {
		return "= any(" + place + ")"
	}
	return "in (select unhex(value) from json_each(" + place + "))"
}

func manyIDs(t tx, list []uuid.UUID) any {
	if t.postgres() {
		return ids(list)
	}
	texts := make([]string, len(list))
	for i, id := range list {
		texts[i] = hex.EncodeToString(id[:])
	}
	text, _ := json.Marshal(texts) // strings always can
	return string(text)
}
