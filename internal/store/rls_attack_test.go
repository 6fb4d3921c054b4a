package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// refused is the SQLSTATE insufficient_privilege: no grant, or a policy.
const refused = "42501"

// as runs fn in a transaction with a scope, which is taken back.
func as(ctx context.Context, conn *pgx.Conn, tenant, operator string, fn func() error) error {
	if _, err := conn.Exec(ctx, "begin"); err != nil {
		return err
	}
	defer func() { _, _ = conn.Exec(context.WithoutCancel(ctx), "rollback") }()
	if _, err := conn.Exec(ctx, "select set_config('app.tenant_id', $1, true), set_config('app.operator', $2, true)", tenant, operator); err != nil {
		return err
	}
	return fn()
}

// result is what a statement said: a SQLSTATE with text, or the number of rows.
type result struct {
	code, text string
	rows       int64
}

func (r result) String() string {
	if r.code != "" {
		return r.code + " " + r.text
	}
	return fmt.Sprintf("%d rows", r.rows)
}

// try runs a statement under a savepoint and takes it back.
func try(ctx context.Context, conn *pgx.Conn, sql string) (result, error) {
	if _, err := conn.Exec(ctx, "savepoint s"); err != nil {
		return result{}, err
	}
	tag, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	if _, back := conn.Exec(ctx, "rollback to s"); back != nil {
		return result{}, back
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return result{code: e.Code, text: shape(e.Message + " " + e.Detail)}, nil
	}
	return result{rows: tag.RowsAffected()}, err
}

// attack tries, as tenant b and with statements that name no tenant, to get at the rows of tenant a.
func (w *walker) attack(ctx context.Context, t table, a, b uuid.UUID, seeded map[uuid.UUID]map[string]values) error {
	for name, conn := range map[string]*pgx.Conn{"the API": w.api, "delivery": w.delivery} {
		who := name + " for B"
		if err := as(ctx, conn, b.String(), "", func() error {
			return errors.Join(
				w.reads(ctx, conn, who, t, b),
				w.writes(ctx, conn, who, t, a, b, seeded),
				w.detects(ctx, conn, who, t, a, b, seeded),
			)
		}); err != nil {
			return err
		}
	}
	for operator, allowed := range map[string][]string{"": nil, "on": operatorTables()} {
		if slices.Contains(allowed, t.name) {
			continue
		}
		if err := as(ctx, w.api, "", operator, func() error {
			r, err := try(ctx, w.api, "select from "+t.quoted())
			if err == nil && r.rows > 0 {
				w.report("%s: without a tenant (operator %q) the API sees %d rows", t.name, operator, r.rows)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// reads looks for rows of others.
func (w *walker) reads(ctx context.Context, conn *pgx.Conn, who string, t table, b uuid.UUID) error {
	r, err := try(ctx, conn, "select from "+t.quoted()+" where "+pgx.Identifier{t.tenant}.Sanitize()+" is distinct from '"+b.String()+"'")
	if err == nil && r.rows > 0 {
		w.report("%s: %s sees %d rows of others", t.name, who, r.rows)
	}
	return err
}

// writes tries to change, take over, delete and add rows of a.
func (w *walker) writes(ctx context.Context, conn *pgx.Conn, who string, t table, a, b uuid.UUID, seeded map[uuid.UUID]map[string]values) error {
	tenant := pgx.Identifier{t.tenant}.Sanitize()
	var own int64 // triggers may have added some
	if err := w.admin.QueryRow(ctx, "select count(*) from "+t.quoted()+" where "+tenant+" = $1", b).Scan(&own); err != nil {
		return err
	}
	for _, c := range t.columns {
		name := pgx.Identifier{c.name}.Sanitize()
		r, err := try(ctx, conn, "update "+t.quoted()+" set "+name+" = "+name)
		if err != nil {
			return err
		}
		if r.rows > own {
			w.report("%s: %s updates %d rows of others", t.name, who, r.rows-own)
		}
	}
	r, err := try(ctx, conn, "update "+t.quoted()+" set "+tenant+" = '"+a.String()+"'")
	if err != nil {
		return err
	}
	if r.rows > 0 || r.code != "" && r.code != refused {
		w.report("%s: %s gives rows to A: %s", t.name, who, r)
	}
	if r, err = try(ctx, conn, "delete from "+t.quoted()); err != nil {
		return err
	}
	if r.rows > own {
		w.report("%s: %s deletes %d rows of others", t.name, who, r.rows-own)
	}
	fresh, err := t.fresh(a, seeded[a])
	if err != nil {
		return err
	}
	for what, statement := range map[string]string{
		"a new row":                  t.insert(fresh, ""),
		"a row that exists":          t.insert(seeded[a][t.name], ""),
		"a row, on conflict nothing": t.insert(seeded[a][t.name], "on conflict do nothing"),
	} {
		r, err := try(ctx, conn, statement)
		if err != nil {
			return err
		}
		if r.code != refused {
			w.report("%s: %s adds %s of A: %s", t.name, who, what, r)
		}
	}
	return nil
}

// detects compares what b hears when its row holds a value of a's with what it hears of a value that nobody has.
func (w *walker) detects(ctx context.Context, conn *pgx.Conn, who string, t table, a, b uuid.UUID, seeded map[uuid.UUID]map[string]values) error {
	compare := func(what, baseline string, columns, from []string, source values) error {
		for _, suffix := range []string{"", "on conflict do nothing"} {
			var heard [2]result
			for i := range heard {
				v, err := t.fresh(b, seeded[b])
				if err != nil {
					return err
				}
				for j, name := range columns {
					if name == t.tenant {
						continue
					}
					if i == 0 {
						v[name] = source[from[j]]
					} else {
						v[name] = t.column(name).sample()
					}
				}
				// The tenant's own row must not be in the way, so the other unique values are new; those by keys cannot be.
				if heard[i], err = try(ctx, conn, t.insert(v, suffix)); err != nil {
					return err
				}
			}
			if code := heard[1].code; code != baseline && code != refused {
				w.report("%s: %s: the walker cannot tell about %s, since a value of nobody gives: %s", t.name, who, what, heard[1])
			}
			if heard[0] != heard[1] {
				w.report("%s: %s detects %s of A (%q): %s, but of nobody: %s", t.name, who, what, strings.TrimSpace(suffix), heard[0], heard[1])
			}
		}
		return nil
	}
	for _, u := range t.unique {
		if _, ok := globalUnique()[u.name]; ok {
			continue
		}
		columns := slices.DeleteFunc(slices.Clone(u.columns), func(c string) bool { return c == "" || t.keyColumn(c) || t.column(c).literal != "" })
		if slices.Equal(columns, []string{t.tenant}) || len(columns) == 0 {
			continue
		}
		if err := compare("the unique "+u.name, "", columns, columns, seeded[a][t.name]); err != nil {
			return err
		}
	}
	for _, k := range t.keys {
		if k.to == t.name || len(k.columns) == 1 && k.columns[0] == t.tenant {
			continue
		}
		if err := compare("the key "+k.name, "23503", k.columns, k.references, maps.Clone(seeded[a][k.to])); err != nil {
			return err
		}
	}
	return nil
}

func (t table) column(name string) column {
	for _, c := range t.columns {
		if c.name == name {
			return c
		}
	}
	return column{}
}
