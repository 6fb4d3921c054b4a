package store

import (
	"context"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// listSlack is how far the time in a message's id may lie from the time of its acceptance: the id is made before the upload
// of its content.
const listSlack = 24 * time.Hour

// conditions collects a WHERE and its arguments.
type conditions struct {
	texts []string
	args  []any
	// index is what SQLite is to read by, "" for its own choice. It has no statistics of a database, takes every index for as
	// good as the next, and the key before all, since rows lie in its order: it would read all messages of the tenant.
	index string
}

// add appends a condition in which ? stands for each of args.
func (c *conditions) add(text string, args ...any) {
	for _, a := range args {
		c.args = append(c.args, a)
		text = strings.Replace(text, "?", "$"+strconv.Itoa(len(c.args)), 1)
	}
	c.texts = append(c.texts, text)
}

// where returns the conditions joined.
func (c *conditions) where() string { return "where " + strings.Join(c.texts, " and ") }

// Messages lists the tenant's messages that match, the newest first. next is empty at the end.
func (t Tenant) Messages(ctx context.Context, f MessageFilter, page Page) (list []Message, next string, err error) {
	after, err := page.position()
	if err != nil {
		return nil, "", err
	}
	c, none := f.conditions(t.id, after.id)
	if none {
		return []Message{}, "", nil
	}
	c.args = append(c.args, page.limit()+1)
	err = t.readOne(ctx, func(q tx) error {
		from := messageFrom
		if c.index != "" && !q.postgres() {
			from = strings.Replace(from, "messages m ", "messages m indexed by "+c.index+" ", 1)
		}
		text := "select " + messageColumns + from + c.where() + " order by m.id desc limit $" + strconv.Itoa(len(c.args))
		r, err := q.query(ctx, text, c.args...)
		list, err = collect(r, err, func(r *rows) (Message, error) { return scanMessage(r.Scan) })
		return err
	})
	if err != nil {
		return nil, "", err
	}
	list, next = nextPage(list, page.limit(), func(m Message) position { return position{m.CreatedAt, m.ID} })
	return list, next, nil
}

// conditions are the filter's, each such that an index finds the rows: those of open messages by the spool, which is short. none
// says that nothing can match.
func (f MessageFilter) conditions(tenant, before uuid.UUID) (c *conditions, none bool) {
	c = &conditions{}
	c.add("m.tenant_id = ?", tenant)
	c.add("m.id < ?", before)
	if f.RelayID != uuid.Nil {
		c.add("m.relay_id = ?", f.RelayID)
		c.index = "messages_relay"
	}
	if f.UserID != uuid.Nil {
		c.add("m.user_id = ?", f.UserID)
		c.index = "messages_user"
	}
	if !f.From.IsZero() {
		c.add("m.created_at >= ?", f.From)
		c.add("m.id >= ?", idAt(f.From.Add(-listSlack)))
	}
	if !f.To.IsZero() {
		c.add("m.created_at < ?", f.To)
		c.add("m.id < ?", idAt(f.To.Add(listSlack)))
	}
	if f.Recipient != "" {
		if !storable(f.Recipient) {
			return c, true
		}
		c.add("m.id in (select message_id from recipients where tenant_id = ? and address_key = lower(?) and message_id < ?)", tenant, f.Recipient, before)
	}
	if f.Tag != "" {
		if !storable(f.Tag) {
			return c, true
		}
		c.add("m.id in (select message_id from message_tags where tenant_id = ? and tag = ? and message_id < ?)", tenant, f.Tag, before)
	}
	if f.Test != nil {
		c.add("m.test = ?", *f.Test)
		if *f.Test {
			c.add("m.test")
			c.index = "messages_test"
		}
	}
	if f.Restored {
		c.add("m.id in (select message_id from spool where tenant_id = ? and restored_due is not null)", tenant)
	}
	switch state := RecipientState(f.State); {
	case f.State == "":
	case state == Sending:
		c.add("m.id in ("+openMessages+"not null)", tenant)
	case state == Queued:
		c.add("m.id in ("+openMessages+"null)", tenant)
		c.add("m.state = ?", f.State)
	case state == Deferred:
		c.add("m.other_state = ?", f.State)
		c.add("s.claim is null")
		c.index = "messages_state"
	case state == Sent:
		c.add("m.state = ?", f.State)
	default:
		c.add("m.other_state = ?", f.State)
		c.index = "messages_state"
	}
	if f.Recipient != "" || f.Tag != "" || f.State == MessageState(Queued) || f.State == MessageState(Sending) {
		c.index = "" // those are named by their ids
	}
	return c, !slices.Contains(messageStates, f.State)
}

// openMessages are the tenant's rows in the spool, by the relays that it may use or could use once.
const openMessages = `select o.message_id from relay_grants g join spool o on o.relay_id = g.relay_id and o.tenant_id = g.tenant_id
	where g.tenant_id = ? and o.claim is `

var messageStates = []MessageState{
	"", MessageState(Queued), MessageState(Sending), MessageState(Sent), MessageState(Deferred), MessageState(Failed),
	MessageState(Suppressed), MessageState(Canceled), MessageState(Unknown), MessagePartial,
}

// idAt is a UUIDv7 (RFC 9562 §5.7) below all that are made at a time.
func idAt(at time.Time) uuid.UUID {
	var id uuid.UUID
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(at.UnixMilli(), 0)))
	copy(id[:6], ms[2:])
	id[6], id[8] = 0x70, 0x80
	return id
}

// Inbox lists the test messages that would have been sent, the newest first, of one user or, for uuid.Nil, of all.
func (t Tenant) Inbox(ctx context.Context, user uuid.UUID, page Page) (list []Message, next string, err error) {
	test := true
	return t.Messages(ctx, MessageFilter{UserID: user, Test: &test, State: MessageState(Sent)}, page)
}
