package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// array is an argument that only PostgreSQL knows: a list of values, as pgx encodes it.
type array struct{ values any }

// column is a column of a statement that is run for many rows. Kind is the PostgreSQL type of its values.
type column struct{ name, kind string }

// bulk is a statement for many rows: on PostgreSQL one, with an array for each column; on SQLite one for sqliteRun rows, as long as
// there are as many, and one for each of the others. (There, one with json_each for all was slower than one for each row: 5.6
// against 7.9 thousand rows a second.)
type bulk struct {
	columns  []column
	sqlite   string // takes one row: $1 is the tenant, $2 … its columns
	run      string // takes sqliteRun rows, the tenant in each; "": there is none
	postgres string // takes all rows: $1 is the tenant, $2 … arrays
	// byRow says that $1 is an array too, with the tenant for each row.
	byRow bool
}

// sqliteRun is how many rows go into one statement on SQLite: what stands around a row (binding, opening of indexes, checks of
// the statement) costs as much as the row. "or fail" spares it the copies of pages for taking back the statement alone: whoever
// fails takes back the transaction, or goes back to a savepoint.
const sqliteRun = 16

// insertInto is the bulk statement that inserts rows with a tenant. suffix follows it on both databases.
func insertInto(table, suffix string, columns ...column) bulk {
	names, places, values := make([]string, len(columns)), make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		names[i], places[i] = c.name, "$"+strconv.Itoa(i+2)
		values[i] = "u." + c.name
		if c.kind == "jsonb" {
			values[i] += "::jsonb"
		}
	}
	list := strings.Join(names, ", ")
	head := fmt.Sprintf("insert into %s (tenant_id, %s) ", table, list)
	row := "(?" + strings.Repeat(", ?", len(columns)) + ")"
	return bulk{
		columns:  columns,
		run:      strings.Replace(head, "insert", "insert or fail", 1) + "values " + row + strings.Repeat(", "+row, sqliteRun-1) + " " + suffix,
		sqlite:   head + "values ($1, " + strings.Join(places, ", ") + ") " + suffix,
		postgres: head + "select $1, " + strings.Join(values, ", ") + " from " + unnest(columns) + " " + suffix,
	}
}

// changeEach is a bulk statement that changes rows by their key. On PostgreSQL the given rows are the table u, between head
// and tail, with the tenant in each: a planner that knows nothing yet of a new table's rows would otherwise take those of
// the tenant for few, and read all of them (measured: 5 ms instead of 0.1 ms a message). See also byKey.
func changeEach(sqlite, head, tail string, columns ...column) bulk {
	table := strings.Replace(unnest(columns), "unnest(", "unnest($1::uuid[], ", 1)
	table = strings.Replace(table, "u(", "u(tenant_id, ", 1)
	return bulk{columns: columns, sqlite: sqlite, postgres: head + " " + table + " " + tail, byRow: true}
}

// byKey makes PostgreSQL look up each row of changeEach by its key until the end of the transaction, whatever it guesses about
// the table's size.
func byKey(b *batch, t tx) {
	if t.postgres() {
		b.exec(nil, "select set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)")
	}
}

// unnest is the table u of a bulk statement's rows on PostgreSQL.
func unnest(columns []column) string {
	names, arrays := make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		kind := c.kind
		if kind == "jsonb" {
			kind = "text" // pgx would encode it again
		}
		names[i], arrays[i] = c.name, "$"+strconv.Itoa(i+2)+"::"+kind+"[]"
	}
	return "unnest(" + strings.Join(arrays, ", ") + ") as u(" + strings.Join(names, ", ") + ")"
}

// add appends the statement for rows to b. Every row has a value for each column.
func (s *bulk) add(b *batch, t tx, tenant uuid.UUID, rows [][]any) {
	switch {
	case len(rows) == 0:
	case t.postgres():
		var first any = tenant
		if s.byRow {
			first = ids(slices.Repeat([]uuid.UUID{tenant}, len(rows)))
		}
		b.exec(nil, s.postgres, append([]any{first}, arrays(s.columns, rows)...)...)
	default:
		var first any = tenant
		for s.run != "" && len(rows) >= sqliteRun {
			args := make([]any, 0, sqliteRun*(1+len(s.columns)))
			for _, r := range rows[:sqliteRun] {
				args = append(append(args, first), r...)
			}
			b.exec(nil, s.run, args...)
			rows = rows[sqliteRun:]
		}
		for _, r := range rows {
			b.exec(nil, s.sqlite, append(append(make([]any, 0, 1+len(r)), first), r...)...)
		}
	}
}

// arrays turns rows into an argument for each column.
func arrays(columns []column, rows [][]any) []any {
	args := make([]any, len(columns))
	for i, c := range columns {
		switch c.kind {
		case "uuid":
			args[i] = array{list(rows, i, func(v uuid.UUID) pgtype.UUID { return pgtype.UUID{Bytes: v, Valid: v != uuid.Nil} })}
		case "timestamptz":
			args[i] = array{list(rows, i, func(v time.Time) pgtype.Timestamptz {
				return pgtype.Timestamptz{Time: v.UTC().Truncate(time.Microsecond), Valid: !v.IsZero()}
			})}
		case "bigint":
			args[i] = array{list(rows, i, func(v int64) int64 { return v })}
		case "boolean":
			args[i] = array{list(rows, i, func(v bool) bool { return v })}
		case "bytea":
			args[i] = array{list(rows, i, func(v []byte) []byte { return v })}
		case "jsonb":
			args[i] = array{list(rows, i, func(v json.RawMessage) pgtype.Text { return pgtype.Text{String: string(v), Valid: v != nil} })}
		default:
			args[i] = array{list(rows, i, func(v string) string { return v })}
		}
	}
	return args
}

func list[V, A any](rows [][]any, column int, convert func(V) A) []A {
	out := make([]A, len(rows))
	for i, r := range rows {
		out[i] = convert(r[column].(V))
	}
	return out
}

// ids is the argument for "= any" of statements that only PostgreSQL runs.
func ids(list []uuid.UUID) array {
	out := make([]pgtype.UUID, len(list))
	for i, id := range list {
		out[i] = pgtype.UUID{Bytes: id, Valid: true}
	}
	return array{out}
}
