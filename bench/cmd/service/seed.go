package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // registers pgx
	_ "modernc.org/sqlite"             // registers sqlite
)

// seedSpan is how far back the seeded messages lie: none is old enough to be removed.
const seedSpan = 20 * time.Hour

// seedPiece is how many messages a transaction seeds.
const seedPiece = 50_000

// dialect is what differs between the databases' words for the same.
type dialect struct {
	columns string // of the table $1, in order; not those that the database makes itself
	series  string // the numbers g from $1 to $2
	id      string // a UUIDv7 of the time %[1]s in milliseconds, the kind %[2]d and the number g
	at      string // a time from milliseconds
	begin   []string
	end     []string
}

func dialectOf(db string) dialect {
	if db == postgresql {
		return dialect{
			columns: "select column_name from information_schema.columns where table_schema = current_schema() and table_name = $1 and is_generated = 'NEVER' order by ordinal_position",
			series:  "(select g from generate_series($1::bigint, $2::bigint) g)",
			id:      "(lpad(to_hex((%[1]s)::bigint), 12, '0') || '700%[2]d8' || lpad(to_hex(g.g), 15, '0'))::uuid",
			at:      "to_timestamp((%s) / 1000.0)",
			// The keys hold, since all rows of a message are made together.
			begin: []string{"set session_replication_role = replica", "set synchronous_commit = off"},
			end:   []string{"vacuum (analyze) messages", "vacuum (analyze) recipients", "vacuum (analyze) attempts", "vacuum (analyze) events", "checkpoint"},
		}
	}
	return dialect{
		columns: "select name from pragma_table_info($1)",
		series:  "(with recursive n(g) as (select $1 union all select g + 1 from n where g < $2) select g from n)",
		id:      "unhex(printf('%%012x700%[2]d8%%015x', %[1]s, g.g))",
		at:      "(%s) * 1000",
		begin:   []string{"pragma journal_mode = wal", "pragma synchronous = off", "pragma foreign_keys = off", "pragma cache_size = -262144"},
		end:     []string{"pragma wal_checkpoint(truncate)"},
	}
}

// open opens the lab's database as its owner; one connection, so that settings hold.
func (l *lab) open() (*sql.DB, error) {
	driver, name := "sqlite", filepath.Join(l.dir, "data", "postrider.db")
	if l.db == postgresql {
		driver, name = "pgx", l.url
	}
	db, err := sql.Open(driver, name)
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// seed copies the one message that was sent, with all its rows, n times: each with an id, times and a recipient of
// its own, its content removed. No node may be running.
func (l *lab) seed(ctx context.Context, n int) (err error) {
	if n == 0 {
		return nil
	}
	db, err := l.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	d := dialectOf(l.db)
	for _, s := range d.begin {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	statements, err := seedStatements(ctx, db, d, n)
	if err != nil {
		return err
	}
	for first := 0; first < n; first += seedPiece {
		last := min(first+seedPiece, n) - 1
		if err := seedPart(ctx, db, statements, first, last); err != nil {
			return err
		}
	}
	for _, s := range append(seedCounters(n), d.end...) {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

func seedPart(ctx context.Context, db *sql.DB, statements []string, first, last int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	for _, s := range statements {
		if _, err := tx.ExecContext(ctx, s, first, last); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return tx.Commit()
}

// seedStatements copy the rows of the message for the numbers $1 to $2.
func seedStatements(ctx context.Context, db *sql.DB, d dialect, n int) ([]string, error) {
	var events, last int64
	if err := db.QueryRowContext(ctx, "select count(*), coalesce(max(seq), 0) from events where message_id is not null").Scan(&events, &last); err != nil {
		return nil, err
	}
	step := max(1, seedSpan.Milliseconds()/int64(n))
	ms := fmt.Sprintf("%d + g.g * %d", time.Now().Add(-seedSpan-time.Hour).UnixMilli(), step)
	at := fmt.Sprintf(d.at, ms)
	message := fmt.Sprintf(d.id, ms, 0)
	var statements []string
	for _, t := range []struct {
		table, where string
		columns      map[string]string
	}{
		{"messages", "", map[string]string{
			"id": message, "content_id": fmt.Sprintf(d.id, ms, 1), "created_at": at, "finished_at": at, "content_purged": "true",
		}},
		{"recipients", "", map[string]string{
			"message_id": message, "address": "'user' || (g.g % 100000) || '@example.net'", "updated_at": at,
		}},
		{"attempts", "", map[string]string{"message_id": message, "id": fmt.Sprintf(d.id, ms, 2), "started_at": at, "ended_at": at}},
		{"events", " where t.message_id is not null", map[string]string{
			"message_id": message, "at": at, "seq": fmt.Sprintf("%d + g.g * %d + t.seq", last, max(last, events)),
		}},
	} {
		var into, from []string
		rows, err := db.QueryContext(ctx, d.columns, t.table)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return nil, errors.Join(err, rows.Close())
			}
			value, ok := t.columns[name]
			if !ok {
				value = "t." + name
			}
			into, from = append(into, name), append(from, value)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
		// A copy of the rows that are there now: what this statement adds must not be copied again.
		template := fmt.Sprintf("create temporary table seed_%s as select * from %s t%s", t.table, t.table, t.where)
		if _, err := db.ExecContext(ctx, template); err != nil {
			return nil, fmt.Errorf("%s: %w", template, err)
		}
		statements = append(statements, fmt.Sprintf("insert into %s (%s) select %s from %s g cross join seed_%s t",
			t.table, strings.Join(into, ", "), strings.Join(from, ", "), d.series, t.table))
	}
	return statements, nil
}

// seedCounters bring what is counted up to what is there.
func seedCounters(n int) []string {
	return []string{
		"update event_counters set last = (select max(seq) from events e where e.tenant_id = event_counters.tenant_id)",
		fmt.Sprintf("update tenant_usage set accepted = accepted + %d", n),
		fmt.Sprintf("update tenant_finished set finished = finished + %d", n),
	}
}
