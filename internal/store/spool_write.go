package store

import (
	"github.com/google/uuid"
)

// recordRows are the rows that a group of outcomes writes.
type recordRows struct {
	changed  [][]any // recipients
	attempts [][]any
	older    [][]any // messages whose earlier attempts give up their transcripts
	messages [][]any
	left     [][]any // rows that leave the spool
	back     [][]any // rows that stay, unclaimed
	events   []Event
	counts   counts
	finished int64
}

var (
	updateRecipients = changeEach(
		`update recipients set state = $4, again = $5, code = $6, enhanced = $7, text = $8, updated_at = $9 where tenant_id = $1 and message_id = $2 and n = $3`,
		`update recipients r set state = u.state, again = u.again, code = u.code, enhanced = u.enhanced, text = u.text, updated_at = u.updated_at from`,
		`where r.tenant_id = u.tenant_id and r.message_id = u.message_id and r.n = u.n`,
		column{"message_id", "uuid"}, column{"n", "bigint"}, column{"state", "text"}, column{"again", "boolean"}, column{"code", "bigint"},
		column{"enhanced", "text"}, column{"text", "text"}, column{"updated_at", "timestamptz"})

	insertAttempts = insertInto("attempts", "",
		column{"message_id", "uuid"}, column{"id", "uuid"}, column{"n", "bigint"}, column{"started_at", "timestamptz"},
		column{"ended_at", "timestamptz"}, column{"phase", "text"}, column{"status", "text"}, column{"code", "bigint"},
		column{"enhanced", "text"}, column{"text", "text"}, column{"transcript", "text"})

	dropTranscripts = changeEach(
		`update attempts set transcript = '' where tenant_id = $1 and message_id = $2 and transcript <> ''`,
		`update attempts a set transcript = '' from`,
		`where a.tenant_id = u.tenant_id and a.message_id = u.message_id and a.transcript <> ''`,
		column{"message_id", "uuid"})

	updateMessages = changeEach(
		`update messages set state = $3, attempts = $4, finished_at = $5 where tenant_id = $1 and id = $2`,
		`update messages m set state = u.state, attempts = u.attempts, finished_at = u.finished_at from`,
		`where m.tenant_id = u.tenant_id and m.id = u.id`,
		column{"id", "uuid"}, column{"state", "text"}, column{"attempts", "bigint"}, column{"finished_at", "timestamptz"})

	leaveSpool = changeEach(
		`delete from spool where tenant_id = $1 and message_id = $2`,
		`delete from spool s using`,
		`where s.tenant_id = u.tenant_id and s.message_id = u.message_id`,
		column{"message_id", "uuid"})

	backToSpool = changeEach(
		`update spool set claim = null, claimed_at = null, marked = 0, due = $3, attempts = $4, unknown_before = $5 where tenant_id = $1 and message_id = $2`,
		`update spool s set claim = null, claimed_at = null, marked = false, due = u.due, attempts = u.attempts, unknown_before = u.unknown_before from`,
		`where s.tenant_id = u.tenant_id and s.message_id = u.message_id`,
		column{"message_id", "uuid"}, column{"due", "timestamptz"}, column{"attempts", "bigint"}, column{"unknown_before", "boolean"})

	markSpool = changeEach(
		`update spool set marked = 1 where tenant_id = $1 and message_id = $2`,
		`update spool s set marked = true from`,
		`where s.tenant_id = u.tenant_id and s.message_id = u.message_id`,
		column{"message_id", "uuid"})
)

// change sets a recipient's state, with its event.
func (g *recordGroup) change(u *outcomeUnit, relay uuid.UUID, attempt int, r RecipientOutcome, state RecipientState, again bool) {
	enhanced, text := cleanReply(r.Enhanced, maxReplyText), cleanReply(r.Text, maxReplyText)
	g.changed = append(g.changed, []any{u.o.MessageID, int64(r.N), string(state), again, int64(r.Code), enhanced, text, u.now})
	g.events = append(g.events, Event{
		At: u.now, Kind: EventKind(state), MessageID: u.o.MessageID, RelayID: relay, N: r.N, Attempt: attempt, Code: r.Code,
		Enhanced: enhanced, Text: text,
	})
	g.counts.add(u.now, relay, string(state), 1)
}

// attempt adds the attempt's row. Only the last one keeps its transcript.
func (g *recordGroup) attempt(u *outcomeUnit, n int) {
	a := &u.o.Attempt
	if n > 1 {
		g.older = append(g.older, []any{u.o.MessageID})
	}
	g.attempts = append(g.attempts, []any{
		u.o.MessageID, NewID(), int64(n), a.StartedAt, a.EndedAt, cleanReply(a.Phase, maxReplyText), cleanReply(a.Status, maxReplyText),
		int64(a.Code), cleanReply(a.Enhanced, maxReplyText), cleanReply(a.Text, maxReplyText), cleanReply(a.Transcript, maxTranscript),
	})
}

// mark writes the marks of those whose claim stands.
func (g *recordGroup) mark(b *batch, t tx) {
	var marked [][]any
	for _, u := range g.marks {
		row := g.spool[u.message]
		if row == nil || row.claim != u.node {
			u.err = ErrNotMine
			continue
		}
		marked = append(marked, []any{u.message})
	}
	markSpool.add(b, t, g.tenant, marked)
}

func (g *recordGroup) write(b *batch, t tx) {
	updateRecipients.add(b, t, g.tenant, g.changed)
	dropTranscripts.add(b, t, g.tenant, g.older)
	insertAttempts.add(b, t, g.tenant, g.attempts)
	updateMessages.add(b, t, g.tenant, g.messages)
	leaveSpool.add(b, t, g.tenant, g.left)
	backToSpool.add(b, t, g.tenant, g.back)
}

func (g *recordGroup) count(b *batch, t tx) {
	addFinished(b, g.tenant, g.finished)
	g.counts.write(b, t, g.tenant)
	writeEvents(b, t, g.tenant, g.events)
}
