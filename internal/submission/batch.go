package submission

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/mail"
)

// Receipt says what was accepted.
type Receipt struct {
	// ID names the message from now on.
	ID uuid.UUID
	// MessageID is the header field Message-ID with its angle brackets.
	MessageID string
	// RelayID is the relay that it goes to.
	RelayID uuid.UUID
	// Size is the number of octets of the frozen message.
	Size int64
	// SendAt is when it is due; zero: now.
	SendAt time.Time
	// Test messages go to the inbox and nowhere else.
	Test bool
	// Recipients are the forward-paths, each once.
	Recipients []ReceiptRecipient
}

// ReceiptRecipient is one of a message's forward-paths.
type ReceiptRecipient struct {
	Address string
	// Field is to, cc or bcc.
	Field string
	State store.RecipientState
}

// Once is a caller's promise that requests with one key are one request.
type Once struct {
	// Scope is the route, Key what ParseIdempotencyKey gave.
	Scope, Key string
	// Answer gives what is stored with the messages and answered to whoever repeats the request. Its status is 2xx.
	Answer func([]Receipt) (status int, body []byte, err error)
}

// Replay is the answer to a request that was done before.
type Replay struct {
	Status int
	Body   []byte
}

// maxInline is how many octets of contents a batch holds in memory until it is committed; beyond it contents are
// written to the store at once.
const maxInline = 8 << 20

// Batch gathers messages that are accepted together or not at all. It is for one goroutine.
type Batch struct {
	s        *Submission
	p        auth.Principal
	once     *Once
	messages []store.NewMessage
	contents []*store.ContentWriter
	receipts []Receipt
	inline   int
	print    []byte // of all requests so far, if there is a key
}

// NewBatch begins a batch of p's. With once, it is idempotent. Discard must be called at the end, whatever happened.
func (s *Submission) NewBatch(p auth.Principal, once *Once) *Batch {
	return &Batch{s: s, p: p, once: once}
}

// Accept takes one message in and returns after it is on disk. The error is mail.Faults with everything that is wrong with
// the request, or one of the store: *store.QuotaError, store.ErrIdempotencyMismatch, store.ErrInFlight,
// store.ErrUnavailable. After an error nothing was accepted, except that after store.ErrUnavailable it may have been.
func (s *Submission) Accept(ctx context.Context, p auth.Principal, q *Request, once *Once) (Receipt, *Replay, error) {
	b := s.NewBatch(p, once)
	defer b.Discard()
	if err := b.Add(ctx, q); err != nil {
		return Receipt{}, nil, err
	}
	receipts, replay, err := b.Commit(ctx)
	if err != nil || replay != nil {
		return Receipt{}, replay, err
	}
	return receipts[0], nil, nil
}

// Add judges and renders one message. After an error that is mail.Faults the batch is as before, and may go on without
// it; after others it should be discarded.
func (b *Batch) Add(ctx context.Context, q *Request) error {
	if b.once != nil {
		print, err := b.s.fingerprint(q)
		if err != nil {
			return asFaults(err)
		}
		b.print = append(b.print, print[:]...)
	}
	j, r, err := b.s.examine(ctx, b.p, q)
	if err != nil {
		return err
	}
	now := b.s.cfg.Now()
	m := store.NewMessage{
		ID: store.NewID(), UserID: b.p.UserID, RelayID: j.relay.ID, Class: j.class,
		MailFrom: r.envelope.MailFrom, HeaderFrom: r.headerFrom, Subject: r.subject, MessageID: r.composed.MessageID(), Size: r.composed.Size(),
		SMTPUTF8: r.envelope.SMTPUTF8, EightBit: r.envelope.EightBit, RequireTLS: r.envelope.RequireTLS, DSN: r.dsn(),
		SendAt: j.sendAt, GiveUpAt: j.giveUpAt(now), OnUnknown: j.onUnknown, Tags: q.Tags, Metadata: q.Metadata, Test: b.p.Test,
	}
	notify := r.notify()
	receipt := Receipt{ID: m.ID, MessageID: m.MessageID, RelayID: m.RelayID, Size: m.Size, SendAt: m.SendAt, Test: m.Test}
	for _, one := range r.recipients {
		m.Recipients = append(m.Recipients, store.NewRecipient{Address: one.address, Field: one.field, State: store.Queued, Notify: notify})
		receipt.Recipients = append(receipt.Recipients, ReceiptRecipient{one.address, one.field, store.Queued})
	}
	if err := b.write(ctx, r.composed, &m); err != nil {
		return err
	}
	b.messages = append(b.messages, m)
	b.receipts = append(b.receipts, receipt)
	return nil
}

// write puts the octets into the message, or into the store if they are many.
func (b *Batch) write(ctx context.Context, c *mail.Composed, m *store.NewMessage) error {
	defer c.Release()
	if m.Size <= store.MaxSmallContent && b.inline+int(m.Size) <= maxInline {
		var buf bytes.Buffer
		buf.Grow(int(m.Size))
		if _, err := c.WriteTo(&buf); err != nil {
			return asFaults(err)
		}
		m.Content = buf.Bytes()
		b.inline += buf.Len()
		return nil
	}
	w := b.s.cfg.Store.Tenant(b.p.TenantID).NewContent(ctx)
	if _, err := c.WriteTo(w); err != nil {
		w.Abort()
		return asFaults(err)
	}
	id, _, err := w.Close()
	if err != nil {
		w.Abort()
		return err
	}
	m.ContentID = id
	b.contents = append(b.contents, w)
	return nil
}

// Len is how many messages were added.
func (b *Batch) Len() int { return len(b.messages) }

// Commit accepts all messages that were added, at least one, in one commit. See Accept for the errors. Of a request that
// was done before it gives the answer then.
func (b *Batch) Commit(ctx context.Context) ([]Receipt, *Replay, error) {
	var idem *store.Idempotency
	if b.once != nil {
		status, body, err := b.once.Answer(b.receipts)
		if err != nil {
			return nil, nil, err
		}
		idem = &store.Idempotency{
			Scope: scopeOf(b.once.Scope, b.p.Test), UserID: b.p.UserID, Key: b.once.Key, Fingerprint: sha256.Sum256(b.print), Response: body, Status: status,
		}
	}
	replay, err := b.s.cfg.Store.Tenant(b.p.TenantID).Accept(ctx, b.messages, idem)
	switch {
	case err != nil:
		return nil, nil, b.refused(err)
	case replay != nil:
		return nil, &Replay{Status: replay.Status, Body: replay.Response}, nil
	}
	b.contents = nil // they belong to messages now
	return b.receipts, nil, nil
}

// scopeOf keeps the keys of test requests apart: a message that went to the inbox is no answer to one that is to be sent.
func scopeOf(scope string, test bool) string {
	if test {
		return scope + " (test)"
	}
	return scope
}

// refused sorts what the store said. A relay that was taken away since it was looked at is the caller's business.
func (b *Batch) refused(err error) error {
	b.s.Forget()
	if e, ok := errors.AsType[*store.InvalidError](err); ok && e.Field == "relay_id" {
		return mail.Faults{{Field: "relay_id", Code: CodeUnknownRelay, Detail: "there is no such relay, or it may not be used"}}
	}
	return err
}

// Discard removes contents that belong to no message. What became a message's after all, in a commit whose end nobody
// has seen, stays with it: the store looks.
func (b *Batch) Discard() {
	for _, w := range b.contents {
		w.Abort()
	}
	b.contents = nil
}

// asFaults makes a list of a single fault. Other errors pass.
func asFaults(err error) error {
	if f, ok := errors.AsType[mail.Fault](err); ok {
		if _, many := errors.AsType[mail.Faults](err); !many {
			return mail.Faults{f}
		}
	}
	return err
}

// examine judges a request and renders its message. An error that is mail.Faults has everything that is wrong.
func (s *Submission) examine(ctx context.Context, p auth.Principal, q *Request) (*judgement, *rendered, error) {
	j, err := s.judge(ctx, p, q)
	if err != nil {
		return nil, nil, err
	}
	r, err := s.render(q)
	if err != nil {
		faults, ok := errors.AsType[mail.Faults](asFaults(err))
		if !ok {
			return nil, nil, err
		}
		if q.Raw == nil {
			s.checkSendersUnrendered(j, &q.Message, faults)
		}
		return j, nil, append(faults, j.faults...)
	}
	for _, domain := range r.senders {
		j.checkSender("from", domain)
	}
	j.checkSender("mail_from", senderDomain(r.envelope.MailFrom))
	if len(j.faults) > 0 {
		r.composed.Release()
		return j, nil, j.faults
	}
	return j, r, nil
}

// senderDomain is the domain of a reverse-path; empty for the null one.
func senderDomain(mailFrom string) string {
	if mailFrom == "" {
		return ""
	}
	return domainOf(mailFrom)
}

// checkSendersUnrendered does for a message with other faults what can be done without its octets.
func (s *Submission) checkSendersUnrendered(j *judgement, m *mail.Message, faults mail.Faults) {
	bad := func(field string) bool {
		for _, f := range faults {
			if f.Field == field {
				return true
			}
		}
		return false
	}
	if !m.From.IsZero() && !bad("from") {
		j.checkSender("from", domainOf(m.From.Mailbox()))
	}
	if m.MailFrom != nil && !m.MailFrom.IsZero() && !bad("mail_from") {
		j.checkSender("mail_from", domainOf(m.MailFrom.Mailbox()))
	}
}
