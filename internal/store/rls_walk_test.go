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

// walker looks for ways past row-level security, in the catalogue and by trying.
type walker struct {
	admin         *pgx.Conn // superuser: sees all
	api, delivery *pgx.Conn // plain logins, members of one role each
	found         []string
}

func (w *walker) report(format string, args ...any) {
	w.found = append(w.found, fmt.Sprintf(format, args...))
}

// walk returns what is wrong; the error says that it could not look.
func (w *walker) walk(ctx context.Context) ([]string, error) {
	tables, err := readCatalogue(ctx, w.admin)
	if err != nil {
		return nil, err
	}
	var ours []table
	for _, t := range tables {
		if slices.Contains(sharedTables(), t.name) {
			continue
		}
		w.checkTable(t)
		if t.tenant != "" {
			ours = append(ours, t)
		}
	}
	for _, check := range []func(context.Context, []table) error{w.checkGrants, w.checkObjects, w.checkRoles} {
		if err := check(ctx, tables); err != nil {
			return nil, err
		}
	}
	a, b := uuid.New(), uuid.New()
	seeded := map[uuid.UUID]map[string]values{}
	for _, tenant := range []uuid.UUID{a, b} {
		if seeded[tenant], err = seed(ctx, w.admin, ours, tenant); err != nil {
			return nil, err
		}
	}
	for _, t := range ours {
		if err := w.attack(ctx, t, a, b, seeded); err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return w.found, nil
}

// checkTable looks at what the catalogue says of a table that may hold rows of tenants.
func (w *walker) checkTable(t table) {
	if t.tenant == "" {
		w.report("%s: no column says whose a row is, and the table is not among the shared ones", t.name)
	}
	if !t.enabled || !t.forced {
		w.report("%s: row-level security is not enabled and forced", t.name)
	}
	if t.policies == 0 {
		w.report("%s: no policies", t.name)
	}
	for _, u := range t.unique {
		// In an expression the tenant is known to the definition only.
		carries := slices.Contains(u.columns, t.tenant) || slices.Contains(u.columns, "") && strings.Contains(u.text, t.tenant)
		if _, ok := globalUnique()[u.name]; !ok && !carries {
			w.report("%s: the unique index %s does not carry the tenant", t.name, u.name)
		}
	}
	for _, k := range t.keys {
		if !slices.Contains(k.columns, t.tenant) {
			w.report("%s: the foreign key %s does not carry the tenant", t.name, k.name)
		}
	}
}

// checkGrants compares what the roles may do with what is expected.
func (w *walker) checkGrants(ctx context.Context, tables []table) error {
	expected := expectedGrants()
	for _, t := range tables {
		want := expected[t.name]
		for role, want := range map[string]string{"postrider_api": want.api, "postrider_delivery": want.delivery} {
			var have string
			err := w.admin.QueryRow(ctx, `select case when has_any_column_privilege($1, $2, 'select') then 's' else '' end
				|| case when has_any_column_privilege($1, $2, 'insert') then 'i' else '' end
				|| case when has_any_column_privilege($1, $2, 'update') then 'u' else '' end
				|| case when has_table_privilege($1, $2, 'delete') then 'd' else '' end
				|| case when has_table_privilege($1, $2, 'truncate, references, trigger') then '!' else '' end`, role, t.quoted()).Scan(&have)
			if err != nil {
				return err
			}
			if have != want {
				w.report("%s: %s has the grants %q, expected are %q", t.name, role, have, want)
			}
		}
		delete(expected, t.name)
	}
	for _, name := range slices.Sorted(maps.Keys(expected)) {
		w.report("%s: grants are expected and there is no such table", name)
	}
	return nil
}

// checkObjects looks at views, functions, sequences and schemas.
func (w *walker) checkObjects(ctx context.Context, _ []table) error {
	const outside = `n.nspname not like 'pg\_%' and n.nspname <> 'information_schema'`
	for text, query := range map[string]string{
		"the view %s shows rows with its owner's rights: security_invoker is not set": `select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where c.relkind = 'v' and ` + outside + ` and not coalesce(c.reloptions && array['security_invoker=true', 'security_invoker=on', 'security_invoker=1'], false)`,
		"the materialized view %s holds rows past the policies": `select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where c.relkind = 'm' and ` + outside,
		"the function %s runs with its owner's rights": `select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace where p.prosecdef and ` + outside,
		"a role of the service may create things in the schema %s": `select n.nspname from pg_namespace n where ` + outside + `
			and (has_schema_privilege('postrider_api', n.oid, 'create') or has_schema_privilege('postrider_delivery', n.oid, 'create'))`,
		"the sequence %s is shared by all tenants and open to the API": `select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where c.relkind = 'S' and ` + outside + ` and case when c.relkind = 'S' then has_sequence_privilege('postrider_api', c.oid, 'usage, select, update') end`,
	} {
		found, err := w.admin.Query(ctx, query)
		if err != nil {
			return err
		}
		names, err := pgx.CollectRows(found, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, name := range names {
			if _, ok := definers()[name]; !ok {
				w.report(text, name)
			}
		}
	}
	return nil
}

func (w *walker) checkRoles(ctx context.Context, _ []table) error {
	found, err := w.admin.Query(ctx, `select rolname from pg_roles r where rolname in ('postrider_api', 'postrider_delivery')
		and (rolsuper or rolbypassrls or rolcanlogin or rolcreaterole or rolcreatedb or rolreplication
			or exists (select from pg_auth_members m where m.member = r.oid)
			or exists (select from pg_class c where c.relowner = r.oid))`)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(found, pgx.RowTo[string])
	for _, name := range names {
		w.report("the role %s may do more than its grants say", name)
	}
	return err
}

// ids are replaced when two errors are compared.
var ids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\\x[0-9a-f]+`)

func shape(text string) string { return strings.TrimSpace(ids.ReplaceAllString(text, "ID")) }
