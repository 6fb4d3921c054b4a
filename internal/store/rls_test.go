package store_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// logins makes a login for each role and has Migrate grant it.
func logins(t *testing.T, server *pgtest.Server, db string) (api, delivery string) {
	t.Helper()
	urls := [2]string{}
	for i, role := range []string{"api", "delivery"} {
		name := db + "_" + role
		urls[i] = server.URL(db, name, server.Login(t, name, ""))
		t.Cleanup(func() { server.Exec(t, "postgres", "drop role "+name) })
	}
	if _, err := store.Migrate(t.Context(), store.MigrateConfig{URL: server.AdminURL(db), APIURL: urls[0], DeliveryURL: urls[1]}); err != nil {
		t.Fatal(err)
	}
	return urls[0], urls[1]
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func newWalker(t *testing.T) *walker {
	t.Helper()
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	api, delivery := logins(t, server, db)
	return &walker{admin: connect(t, server.AdminURL(db)), api: connect(t, api), delivery: connect(t, delivery)}
}

// newPooledWalker attacks through a pooler in transaction mode.
func newPooledWalker(t *testing.T) *walker {
	t.Helper()
	p := newPooled(t)
	return &walker{admin: connect(t, p.server.AdminURL(p.db)), api: connect(t, p.api+unnamed), delivery: connect(t, p.delivery+unnamed)}
}

// No tenant reads, changes, refers to or detects another's rows, in any table.
func TestRowLevelSecurity(t *testing.T) {
	for name, walker := range map[string]func(*testing.T) *walker{"direct": newWalker, "pooler": newPooledWalker} {
		t.Run(name, func(t *testing.T) {
			found, err := walker(t).walk(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range found {
				t.Error(text)
			}
		})
	}
}

// The walker finds what it is for: each statement makes one hole, in a table x of its own.
func TestWalkerFinds(t *testing.T) {
	const good = `create table x (tenant_id uuid not null references tenants (id), id uuid not null, v text not null, primary key (tenant_id, id));
		call app_protect('x', api => true, delivery => true);`
	w := newWalker(t)
	holes := []struct {
		name, ddl, want string
	}{
		{"no_policies", "create table x (tenant_id uuid not null)", "x: no policies"},
		{"not_forced", good + "alter table x no force row level security", "x: row-level security is not enabled and forced"},
		{"no_tenant", "create table x (id uuid primary key)", "x: no column says whose"},
		{"one_grant", good + "grant select on x to postrider_api", `x: postrider_api has the grants "s", expected are ""`},
		{"public_grant", good + "grant insert on x to public", `x: postrider_delivery has the grants "i"`},
		{"library", "create schema lib; create table lib.x (id bigint); grant select on lib.x to postrider_api", "x: postrider_api has"},
		{"unique_value", good + "grant insert, select on x to postrider_api; alter table x add constraint once unique (v)", "x: the API for B detects the unique once of A"},
		{
			"plain_key", "alter table sessions add constraint plain unique (id);" + good +
				"alter table x add y uuid not null constraint to_session references sessions (id); grant insert, select on x to postrider_api",
			"x: the API for B detects the key to_session of A",
		},
		{
			"open_policy", good + "create policy open on x to postrider_api using (true); grant select, update, delete on x to postrider_api",
			"x: the API for B deletes 1 rows of others",
		},
		{
			"open_writes", good + "create policy open on x for insert to postrider_api with check (true); grant insert on x to postrider_api",
			"x: the API for B adds a new row of A: 1 rows",
		},
		{"unrestricted", good + "drop policy delivery_tenant on x; grant select on x to postrider_delivery", "x: delivery for B sees 1 rows"},
		{"owner_view", "create view x as select * from users; grant select on x to postrider_api", "the view x shows rows"},
		{"copied_view", "create materialized view x as select 1", "the materialized view x"},
		{"definer", "create function x() returns int language sql security definer return 1", "the function x runs"},
		{"open_schema", "grant create on schema public to postrider_api", "may create things in the schema public"},
		{"shared_sequence", "create sequence x; grant usage on sequence x to postrider_api", "the sequence x"},
	}
	for _, h := range holes {
		if _, err := w.admin.Exec(t.Context(), lonelyX.ReplaceAllString(h.ddl, h.name)); err != nil {
			t.Fatalf("%s: %v", h.name, err)
		}
	}
	found, err := w.walk(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(found, "\n")
	for _, h := range holes {
		if want := lonelyX.ReplaceAllString(h.want, h.name); !strings.Contains(text, want) {
			t.Errorf("not found: %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
	if _, err := w.admin.Exec(t.Context(), "create table unknown (tenant_id uuid, p point not null)"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.walk(t.Context()); err == nil || !strings.Contains(err.Error(), "table unknown cannot be seeded") {
		t.Errorf("a table that cannot be seeded: %v", err)
	}
}

var lonelyX = regexp.MustCompile(`\bx\b`)
