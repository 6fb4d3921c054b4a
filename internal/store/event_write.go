package store

import (
	"strings"

	"github.com/google/uuid"
)

var insertEvents = insertInto("events", "",
	column{"seq", "bigint"}, column{"at", "timestamptz"}, column{"kind", "text"}, column{"message_id", "uuid"},
	column{"relay_id", "uuid"}, column{"n", "bigint"}, column{"attempt", "bigint"}, column{"code", "bigint"},
	column{"enhanced", "text"}, column{"text", "text"})

// The counter's row stays locked until the commit: whoever comes next gets greater numbers and commits later. On PostgreSQL
// numbers are given in the same statement that inserts.
var (
	nextEvents = `insert into event_counters (tenant_id, last) values ($1, $2)
		on conflict (tenant_id) do update set last = event_counters.last + excluded.last returning last`

	insertEventsPostgres = `with c as (` + nextEvents + `) insert into events (tenant_id, seq, at, kind, message_id, relay_id, n, attempt, code, enhanced, text)
		select $1, c.last - $2 + u.place, u.at, u.kind, u.message_id, u.relay_id, u.n, u.attempt, u.code, u.enhanced, u.text
		from c, unnest($3::bigint[], $4::timestamptz[], $5::text[], $6::uuid[], $7::uuid[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::text[])
		as u(place, at, kind, message_id, relay_id, n, attempt, code, enhanced, text)`

	// SQLite has one writer: the counter is raised first, and each row takes its place below it.
	insertEventSQLite = `insert into events (tenant_id, seq, at, kind, message_id, relay_id, n, attempt, code, enhanced, text)
		values ($1, (select last from event_counters where tenant_id = $1) - $2 + $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`

	// The same for sqliteRun rows.
	insertEventsSQLite = `insert or fail into events (tenant_id, seq, at, kind, message_id, relay_id, n, attempt, code, enhanced, text)
		select c.tenant_id, c.last - ? + u.column1, u.column2, u.column3, u.column4, u.column5, u.column6, u.column7, u.column8, u.column9, u.column10
		from event_counters c, (values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)` + strings.Repeat(", (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", sqliteRun-1) + `) u
		where c.tenant_id = ?`
)

// writeEvents gives events their numbers and writes them. It must stand last in a transaction, and tenants in the order of
// their ids.
func writeEvents(b *batch, t tx, tenant uuid.UUID, events []Event) {
	if len(events) == 0 {
		return
	}
	total := int64(len(events))
	values := make([][]any, len(events))
	for i, e := range events {
		values[i] = []any{
			int64(i + 1), e.At, string(e.Kind), e.MessageID, e.RelayID, int64(e.N), int64(e.Attempt), int64(e.Code), e.Enhanced, e.Text,
		}
	}
	if t.postgres() {
		b.exec(nil, insertEventsPostgres, append([]any{tenant, total}, arrays(insertEvents.columns, values)...)...)
		return
	}
	b.exec(nil, `insert into event_counters (tenant_id, last) values ($1, $2)
		on conflict (tenant_id) do update set last = event_counters.last + excluded.last`, tenant, total)
	for len(values) >= sqliteRun {
		args := append(make([]any, 0, 2+sqliteRun*len(values[0])), total)
		for _, row := range values[:sqliteRun] {
			args = append(args, row...)
		}
		b.exec(nil, insertEventsSQLite, append(args, tenant)...)
		values = values[sqliteRun:]
	}
	for _, row := range values {
		b.exec(nil, insertEventSQLite, append([]any{tenant, total}, row...)...)
	}
}
