package store

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"
)

var (
	insertContents = insertInto("contents", "", column{"id", "uuid"}, column{"piece", "bigint"}, column{"data", "bytea"})

	insertMessages = insertInto("messages", "",
		column{"id", "uuid"}, column{"user_id", "uuid"}, column{"relay_id", "uuid"}, column{"class", "bigint"}, column{"state", "text"},
		column{"content_id", "uuid"}, column{"mail_from", "text"}, column{"header_from", "text"}, column{"subject", "text"},
		column{"header_id", "text"}, column{"size", "bigint"}, column{"smtputf8", "boolean"}, column{"eight_bit", "boolean"},
		column{"require_tls", "boolean"}, column{"dsn", "jsonb"}, column{"on_unknown", "text"}, column{"tags", "jsonb"},
		column{"metadata", "jsonb"}, column{"test", "boolean"}, column{"created_at", "timestamptz"}, column{"send_at", "timestamptz"},
		column{"give_up_at", "timestamptz"}, column{"finished_at", "timestamptz"})

	insertTags = insertInto("message_tags", "on conflict do nothing", column{"tag", "text"}, column{"message_id", "uuid"})

	insertRecipients = insertInto("recipients", "",
		column{"message_id", "uuid"}, column{"n", "bigint"}, column{"address", "text"}, column{"field", "text"}, column{"state", "text"},
		column{"notify", "text"}, column{"orcpt", "text"}, column{"updated_at", "timestamptz"})

	insertSpool = insertInto("spool", "",
		column{"message_id", "uuid"}, column{"relay_id", "uuid"}, column{"class", "bigint"}, column{"due", "timestamptz"},
		column{"recipients", "bigint"}, column{"hold", "boolean"})
)

// write inserts the accepted messages of the group, in the order of their ids.
func (g *acceptGroup) write(b *batch, t tx) {
	g.release(b)
	var contents, messages, tags, recipients, spool [][]any
	for _, m := range g.written() {
		if m.ContentID == uuid.Nil {
			contents = append(contents, []any{m.ID, int64(0), m.Content})
		} else {
			b.exec(nil, "delete from uploads where tenant_id = $1 and id = $2", g.tenant, m.ContentID)
		}
		state, finished := Queued, time.Time{}
		if m.open() {
			spool = append(spool, []any{m.ID, m.RelayID, int64(m.Class), m.due(), int64(len(m.Recipients)), m.OnUnknown == OnUnknownHold})
		} else {
			state, finished = Suppressed, m.at
		}
		var tagList json.RawMessage
		if len(m.Tags) > 0 {
			tagList, _ = json.Marshal(m.Tags) // strings always can
		}
		messages = append(messages, []any{
			m.ID, m.UserID, m.RelayID, int64(m.Class), string(state), m.content(), m.MailFrom, m.HeaderFrom, m.Subject, m.MessageID, m.Size,
			m.SMTPUTF8, m.EightBit, m.RequireTLS, m.DSN, m.OnUnknown, tagList, m.Metadata, m.Test, m.at, m.SendAt, m.GiveUpAt, finished,
		})
		for _, tag := range m.Tags {
			tags = append(tags, []any{tag, m.ID})
		}
		for i, r := range m.Recipients {
			recipients = append(recipients, []any{m.ID, int64(i + 1), r.Address, r.Field, string(r.State), r.Notify, r.ORcpt, m.at})
		}
	}
	insertContents.add(b, t, g.tenant, contents)
	insertMessages.add(b, t, g.tenant, messages)
	insertTags.add(b, t, g.tenant, tags)
	insertRecipients.add(b, t, g.tenant, recipients)
	insertSpool.add(b, t, g.tenant, spool)
}

// count adds the group to the tenant's counters and writes its events.
func (g *acceptGroup) count(b *batch, t tx) {
	messages := g.written()
	if len(messages) == 0 {
		return
	}
	var events []Event
	var counts counts
	finished := int64(0)
	for _, m := range messages {
		if m.open() {
			events = append(events, Event{At: m.at, Kind: EventKind(Queued), MessageID: m.ID, RelayID: m.RelayID})
		} else {
			finished++
		}
		counts.add(m.at, m.RelayID, statAccepted, 1)
		for i, r := range m.Recipients {
			if r.State == Suppressed {
				events = append(events, Event{At: m.at, Kind: EventKind(Suppressed), MessageID: m.ID, RelayID: m.RelayID, N: i + 1})
				counts.add(m.at, m.RelayID, string(Suppressed), 1)
			}
		}
	}
	b.exec(nil, countUsage, g.tenant, messages[len(messages)-1].at.UTC().Format(dayLayout), len(messages))
	addFinished(b, g.tenant, finished)
	counts.write(b, t, g.tenant)
	writeEvents(b, t, g.tenant, events)
}

// addFinished counts messages that left the spool; a negative number those that came back.
func addFinished(b *batch, tenant uuid.UUID, n int64) {
	if n == 0 {
		return
	}
	b.exec(nil, `insert into tenant_finished (tenant_id, finished) values ($1, $2)
		on conflict (tenant_id) do update set finished = tenant_finished.finished + excluded.finished`, tenant, n)
}

// statAccepted counts accepted messages in message_stats; the other kinds are recipients' states.
const statAccepted = "accepted"

// counts adds up what goes into message_stats.
type counts map[countKey]int64

type countKey struct {
	hour  int64 // Unix seconds
	relay uuid.UUID
	kind  string
}

func (c *counts) add(at time.Time, relay uuid.UUID, kind string, n int64) {
	if *c == nil {
		*c = counts{}
	}
	(*c)[countKey{hour(at).Unix(), relay, kind}] += n
}

var insertCounts = insertInto("message_stats", `on conflict (tenant_id, hour, relay_id, kind) do update
	set count = message_stats.count + excluded.count`,
	column{"hour", "timestamptz"}, column{"relay_id", "uuid"}, column{"kind", "text"}, column{"count", "bigint"})

func (c counts) write(b *batch, t tx, tenant uuid.UUID) {
	keys := make([]countKey, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b countKey) int {
		return cmp.Or(cmp.Compare(a.hour, b.hour), compareIDs(a.relay, b.relay), cmp.Compare(a.kind, b.kind))
	})
	values := make([][]any, len(keys))
	for i, k := range keys {
		values[i] = []any{time.Unix(k.hour, 0).UTC(), k.relay, k.kind, c[k]}
	}
	insertCounts.add(b, t, tenant, values)
}

// sortRows orders rows by their columns of UUIDs and texts.
func sortRows(list [][]any) {
	slices.SortFunc(list, func(a, b []any) int {
		for i := range a {
			switch x := a[i].(type) {
			case uuid.UUID:
				y := b[i].(uuid.UUID)
				if c := bytes.Compare(x[:], y[:]); c != 0 {
					return c
				}
			case string:
				if c := cmp.Compare(x, b[i].(string)); c != 0 {
					return c
				}
			}
		}
		return 0
	})
}
