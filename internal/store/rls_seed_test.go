package store_test

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// table is what the catalogue says of a table.
type table struct {
	schema, name string
	tenant       string // the column that says whose a row is; "" if there is none
	columns      []column
	unique       []uniqueIndex
	keys         []foreignKey
	enabled      bool // row-level security
	forced       bool
	policies     int
}

type column struct {
	name, kind string
	notNull    bool
	defaulted  bool
	literal    string // the first that a check constraint of this column alone allows
}

type uniqueIndex struct {
	name    string
	columns []string
	text    string // the whole definition
}

type foreignKey struct {
	name       string
	columns    []string
	to         string
	references []string
}

func (t table) quoted() string { return pgx.Identifier{t.schema, t.name}.Sanitize() }

// readCatalogue lists all tables that are not PostgreSQL's own.
func readCatalogue(ctx context.Context, conn *pgx.Conn) ([]table, error) {
	found, err := conn.Query(ctx, `select n.nspname, c.relname, c.relrowsecurity, c.relforcerowsecurity,
		(select count(*) from pg_policy p where p.polrelid = c.oid)
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind in ('r', 'p') and n.nspname not like 'pg\_%' and n.nspname <> 'information_schema' order by 1, 2`)
	if err != nil {
		return nil, err
	}
	tables, err := pgx.CollectRows(found, func(r pgx.CollectableRow) (t table, err error) {
		err = r.Scan(&t.schema, &t.name, &t.enabled, &t.forced, &t.policies)
		return t, err
	})
	if err != nil {
		return nil, err
	}
	for i := range tables {
		if err := tables[i].read(ctx, conn); err != nil {
			return nil, fmt.Errorf("%s: %w", tables[i].name, err)
		}
	}
	return tables, nil
}

// allowed finds the first value in "CHECK ((role = ANY (ARRAY['user'::text, …])))" and "… ARRAY[0, 1]".
var allowed = regexp.MustCompile(`'([^']*)'::text|ARRAY\[\(?(\d+)`)

func (t *table) read(ctx context.Context, conn *pgx.Conn) error {
	found, err := conn.Query(ctx, `select a.attname, format_type(a.atttypid, null), a.attnotnull,
		a.atthasdef or a.attidentity <> '' or a.attgenerated <> '',
		coalesce((select pg_get_constraintdef(k.oid) from pg_constraint k
			where k.conrelid = a.attrelid and k.contype = 'c' and k.conkey = array[a.attnum] limit 1), '')
		from pg_attribute a where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum`, t.quoted())
	if err != nil {
		return err
	}
	t.columns, err = pgx.CollectRows(found, func(r pgx.CollectableRow) (c column, err error) {
		var check string
		err = r.Scan(&c.name, &c.kind, &c.notNull, &c.defaulted, &check)
		if m := allowed.FindStringSubmatch(check); m != nil {
			c.literal = m[1] + m[2]
		}
		return c, err
	})
	if err != nil {
		return err
	}
	t.tenant = tenantColumns()[t.name]
	for _, c := range t.columns {
		if c.name == "tenant_id" && t.tenant == "" {
			t.tenant = c.name
		}
	}
	// An index of an expression has no column there: it counts as an empty name.
	found, err = conn.Query(ctx, `select i.indexrelid::regclass::text,
		array(select coalesce(a.attname, '') from unnest(i.indkey::int2[]) with ordinality k(n, o)
			left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.n and k.n > 0 order by k.o)::text[], pg_get_indexdef(i.indexrelid)
		from pg_index i where i.indrelid = $1::regclass and i.indisunique`, t.quoted())
	if err != nil {
		return err
	}
	if t.unique, err = pgx.CollectRows(found, func(r pgx.CollectableRow) (u uniqueIndex, err error) {
		err = r.Scan(&u.name, &u.columns, &u.text)
		return u, err
	}); err != nil {
		return err
	}
	found, err = conn.Query(ctx, `select k.conname, c.relname,
		array(select a.attname from unnest(k.conkey) with ordinality x(n, o) join pg_attribute a on a.attrelid = k.conrelid and a.attnum = x.n order by x.o)::text[],
		array(select a.attname from unnest(k.confkey) with ordinality x(n, o) join pg_attribute a on a.attrelid = k.confrelid and a.attnum = x.n order by x.o)::text[]
		from pg_constraint k join pg_class c on c.oid = k.confrelid where k.conrelid = $1::regclass and k.contype = 'f'`, t.quoted())
	if err != nil {
		return err
	}
	t.keys, err = pgx.CollectRows(found, func(r pgx.CollectableRow) (k foreignKey, err error) {
		err = r.Scan(&k.name, &k.to, &k.columns, &k.references)
		return k, err
	})
	return err
}

// values are a row: for each column an SQL expression.
type values map[string]string

// fresh makes a new row for a tenant; seeded are the tenant's rows in the other tables.
func (t table) fresh(tenant uuid.UUID, seeded map[string]values) (values, error) {
	v := values{}
	for _, c := range t.columns {
		given, ok := seedValues()[t.name+"."+c.name]
		switch {
		case c.name == t.tenant:
			v[c.name] = literal(tenant.String(), "uuid")
		case ok:
			v[c.name] = given
		case (c.notNull && !c.defaulted) || t.inUnique(c.name):
			v[c.name] = c.sample()
			if v[c.name] == "" {
				return nil, fmt.Errorf("no sample for column %s of type %s: add it to seedValues", c.name, c.kind)
			}
		}
	}
	for _, k := range t.keys {
		to, ok := seeded[k.to]
		if !ok && k.to != t.name {
			return nil, fmt.Errorf("refers to %s, which has no row", k.to)
		}
		for i, from := range k.columns {
			if from == t.tenant {
				continue
			}
			if _, needed := v[from]; needed {
				v[from] = to[k.references[i]]
				if k.to == t.name { // to itself
					v[from] = v[k.references[i]]
				}
			}
		}
	}
	return v, nil
}

func (t table) inUnique(name string) bool {
	return slices.ContainsFunc(t.unique, func(u uniqueIndex) bool { return slices.Contains(u.columns, name) })
}

func (t table) keyColumn(name string) bool {
	return slices.ContainsFunc(t.keys, func(k foreignKey) bool { return slices.Contains(k.columns, name) })
}

// sample is a new value for a column.
func (c column) sample() string {
	id := uuid.New()
	if c.literal != "" {
		return literal(c.literal, c.kind)
	}
	switch c.kind {
	case "uuid":
		return literal(id.String(), "uuid")
	case "text", "character varying":
		return literal("v"+id.String(), "text")
	case "bytea":
		return fmt.Sprintf("decode('%x%x', 'hex')", id[:], id[:])
	case "bigint", "integer", "smallint":
		return fmt.Sprint(1 + int(id[0]) + int(id[1])<<6)
	case "double precision", "numeric":
		return "1"
	case "boolean":
		return "false"
	case "timestamp with time zone":
		return "now()"
	case "jsonb", "json":
		return "'{}'"
	}
	return ""
}

func literal(text, kind string) string {
	return "'" + strings.ReplaceAll(text, "'", "''") + "'::" + kind
}

// insert is the statement that adds a row.
func (t table) insert(v values, suffix string) string {
	names := slices.Sorted(maps.Keys(v))
	exprs := make([]string, len(names))
	for i, name := range names {
		exprs[i] = v[name]
		names[i] = pgx.Identifier{name}.Sanitize()
	}
	return "insert into " + t.quoted() + " (" + strings.Join(names, ", ") + ") values (" + strings.Join(exprs, ", ") + ") " + suffix
}

// seed adds a row of a tenant to every table, referred ones first, and returns the rows.
func seed(ctx context.Context, conn *pgx.Conn, tables []table, tenant uuid.UUID) (map[string]values, error) {
	rows := map[string]values{}
	todo := slices.Clone(tables)
	for len(todo) > 0 {
		var left []table
		for _, t := range todo {
			waits := slices.ContainsFunc(t.keys, func(k foreignKey) bool { _, ok := rows[k.to]; return !ok && k.to != t.name })
			if waits {
				left = append(left, t)
				continue
			}
			v, err := t.fresh(tenant, rows)
			if err == nil {
				_, err = conn.Exec(ctx, t.insert(v, ""))
			}
			if err != nil {
				return nil, fmt.Errorf("table %s cannot be seeded: %w", t.name, err)
			}
			rows[t.name] = v
		}
		if len(left) == len(todo) {
			return nil, fmt.Errorf("tables refer to each other in a circle: %s", left[0].name)
		}
		todo = left
	}
	return rows, nil
}
