package store

import (
	"context"
	"io"
	"time"

	"github.com/google/uuid"
)

const messageColumns = `m.id, m.user_id, m.relay_id, m.class, m.state, m.mail_from, m.header_from, m.subject, m.header_id, m.size, m.smtputf8,
	m.eight_bit, m.require_tls, m.dsn, m.on_unknown, m.tags, m.metadata, m.test, m.attempts, m.created_at, m.send_at, m.give_up_at,
	m.finished_at, m.content_purged, s.due, case when s.claim is null then 0 else 1 end, s.restored_due`

const messageFrom = ` from messages m left join spool s on s.tenant_id = m.tenant_id and s.message_id = m.id `

func scanMessage(scan func(...any) error) (Message, error) {
	var m Message
	var claimed int
	var restored time.Time
	err := scan(&m.ID, &m.UserID, &m.RelayID, &m.Class, &m.State, &m.MailFrom, &m.HeaderFrom, &m.Subject, &m.MessageID, &m.Size, &m.SMTPUTF8,
		&m.EightBit, &m.RequireTLS, &m.DSN, &m.OnUnknown, &m.Tags, &m.Metadata, &m.Test, &m.Attempts, &m.CreatedAt, &m.SendAt, &m.GiveUpAt,
		&m.FinishedAt, &m.ContentPurged, &m.NextDue, &claimed, &restored)
	if m.Restored = !restored.IsZero(); m.Restored {
		m.NextDue = time.Time{}
	}
	if claimed != 0 {
		m.State = MessageState(Sending)
		m.NextDue = time.Time{}
	}
	return m, err
}

// Message returns a message with its recipients and attempts.
func (t Tenant) Message(ctx context.Context, id uuid.UUID) (MessageDetail, error) {
	var d MessageDetail
	err := t.read(ctx, func(q tx) error {
		m, err := scanMessage(q.row(ctx, "select "+messageColumns+messageFrom+"where m.tenant_id = $1 and m.id = $2", t.id, id).Scan)
		if err != nil {
			return err
		}
		d = MessageDetail{Message: m}
		b := &batch{}
		b.query(func(r *rows) error {
			var rc Recipient
			var again bool
			if err := r.Scan(&rc.N, &rc.Address, &rc.Field, &rc.State, &again, &rc.Notify, &rc.ORcpt, &rc.Code, &rc.Enhanced, &rc.Text, &rc.UpdatedAt); err != nil {
				return err
			}
			if m.State == MessageState(Sending) && (rc.State.open() || again) {
				rc.State = Sending
			}
			d.Recipients = append(d.Recipients, rc)
			return nil
		}, `select n, address, field, state, again, notify, orcpt, code, enhanced, text, updated_at from recipients
			where tenant_id = $1 and message_id = $2 order by n`, t.id, id)
		b.query(func(r *rows) error {
			var a AttemptRecord
			if err := r.Scan(&a.N, &a.StartedAt, &a.EndedAt, &a.Phase, &a.Status, &a.Code, &a.Enhanced, &a.Text, &a.Transcript); err != nil {
				return err
			}
			d.Attempts = append(d.Attempts, a)
			return nil
		}, `select n, started_at, ended_at, phase, status, code, enhanced, text, transcript from attempts
			where tenant_id = $1 and message_id = $2 order by n, id`, t.id, id) // ids come from the clocks of the nodes
		return q.batch(ctx, b)
	})
	return d, err
}

// Content reads a message's content, a piece at a time, and tells its length in bytes. The error is ErrContentGone when it was
// removed since.
func (t Tenant) Content(ctx context.Context, id uuid.UUID) (io.ReadCloser, int64, error) {
	var content uuid.UUID
	var size int64
	err := t.readOne(ctx, func(q tx) error {
		return q.row(ctx, "select content_id, size from messages where tenant_id = $1 and id = $2", t.id, id).Scan(&content, &size)
	})
	if err != nil {
		return nil, 0, err
	}
	r, err := openContent(ctx, t.id, content, func(fn func(tx) error) error { return t.readOne(ctx, fn) })
	if err != nil {
		return nil, 0, err
	}
	return r, size, nil
}
