package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// chainedPostgres is newChained on PostgreSQL, and a connection with the superuser's rights.
func chainedPostgres(t *testing.T) (*chained, *pgx.Conn) {
	t.Helper()
	var c *chained
	var url string
	open := func(change ...func(*store.Config)) *store.Store {
		return storetest.Postgres(t, append(change, func(cfg *store.Config) { url = cfg.URL })...)
	}
	c = newChained(t, open, text)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return c, conn
}

// actAs runs a statement in a role and a scope, and takes back what it did.
func actAs(t *testing.T, conn *pgx.Conn, role string, tenant uuid.UUID, operator bool, statement string) (rows int64, err error) {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	scope := []string{"set local role " + role}
	if tenant != uuid.Nil {
		scope = append(scope, "set local app.tenant_id = '"+tenant.String()+"'")
	}
	if operator {
		scope = append(scope, "set local app.operator = 'on'")
	}
	for _, s := range scope {
		if _, err := tx.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	tag, err := tx.Exec(t.Context(), statement)
	return tag.RowsAffected(), err
}

func isRefused(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "42501" // insufficient privilege: a grant, a policy or the trigger
}

func TestRightsOnTheAuditLog(t *testing.T) {
	c, conn := chainedPostgres(t)
	other := store.NewID()
	const api, delivery = "postrider_api", "postrider_delivery"
	insert := func(tenant string) string {
		return `insert into audit_entries (tenant_id, id, at, actor_kind, actor_token, actor_role, request_id, action, target_kind, target_id, outcome, count, detail)
			values (` + tenant + `, gen_random_uuid(), now(), 'x', '', '', '', 'x', '', '', 'done', 1, '{}')`
	}
	person := func(tenant string) string {
		return "insert into audit_people (tenant_id, entry_id, part, salt, data) values (" + tenant + ", gen_random_uuid(), 0, '', '{}')"
	}
	own := "'" + c.tenant.String() + "'"
	const refused = -1
	for _, tc := range []struct {
		role      string
		tenant    uuid.UUID
		operator  bool
		statement string
		want      int64
	}{
		{api, c.tenant, false, "select * from audit_entries", 10},
		{api, c.tenant, false, "select * from audit_people", 20},
		{api, other, false, "select * from audit_entries", 0},
		{api, other, false, "select * from audit_people", 0},
		{api, uuid.Nil, false, "select * from audit_entries", 0},
		{api, uuid.Nil, true, "select * from audit_entries", 0},
		{api, uuid.Nil, true, "select * from audit_people", 0},
		{delivery, uuid.Nil, false, "select * from audit_entries", 10},
		{delivery, other, false, "select * from audit_entries", 0},
		{delivery, other, false, "select * from audit_chain", 0},

		{api, c.tenant, false, insert(own), 1},
		{api, other, false, insert(own), refused},
		{api, c.tenant, false, insert("null"), refused},
		{api, uuid.Nil, true, insert("null"), 1},
		{api, uuid.Nil, true, insert(own), refused},
		{api, c.tenant, false, person(own), 1},
		{api, other, false, person(own), refused},
		{api, c.tenant, false, person("null"), refused},

		{delivery, uuid.Nil, false, "delete from audit_people", 0}, // a tenant must be named
		{delivery, other, false, "delete from audit_people", 0},
		{delivery, c.tenant, false, "delete from audit_people", 20},
		{delivery, uuid.Nil, false, "update audit_pending set entry_id = entry_id", refused},
	} {
		t.Run(fmt.Sprintf("%s %s", tc.role, tc.statement), func(t *testing.T) {
			n, err := actAs(t, conn, tc.role, tc.tenant, tc.operator, tc.statement)
			switch {
			case tc.want == refused && !isRefused(err):
				t.Errorf("got %d rows, %v; want it refused", n, err)
			case tc.want != refused && (err != nil || n != tc.want):
				t.Errorf("got %d rows, %v; want %d", n, err, tc.want)
			}
		})
	}
	// Nobody changes or deletes; the API does not even see the chain.
	for _, table := range []string{"audit_entries", "audit_people", "audit_chain", "audit_checkpoints", "audit_pending"} {
		for _, role := range []string{api, delivery, "postgres"} {
			for _, statement := range []string{"select * from %s", "delete from %s", "truncate %s", "update %s set tenant_id = null", "update %s set at = now()", "update %s set seq = 1", "update %s set salt = ''"} {
				if role != api && (strings.HasPrefix(statement, "select") || table == "audit_pending" || table == "audit_people" && strings.HasPrefix(statement, "delete")) {
					continue
				}
				if role == api && strings.HasPrefix(statement, "select") && (table == "audit_entries" || table == "audit_people") {
					continue
				}
				statement := fmt.Sprintf(statement, table)
				_, err := actAs(t, conn, role, c.tenant, false, statement)
				if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "42703" { // no such column
					continue
				}
				if !isRefused(err) {
					t.Errorf("%s: %s: %v", role, statement, err)
				}
			}
		}
	}
	if r := c.verify(store.VerifyConfig{}); !r.OK() || r.Erased != 0 {
		t.Errorf("after all that: %+v", r)
	}
}

func TestSQLiteRefusesToChangeTheAuditLog(t *testing.T) {
	var path string
	s := storetest.SQLite(t, func(c *store.Config) { c.Checkpoint, path = newSigner(t), c.Path })
	addEntries(t, s, 3)
	chainAll(t, s)
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=busy_timeout(10000)"}).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, table := range auditTables() {
		for _, statement := range []string{"delete from %s", "update %s set rowid = rowid + 7"} {
			if table == "audit_people" && strings.HasPrefix(statement, "delete") {
				continue // that is how a person is erased
			}
			statement = fmt.Sprintf(statement, table)
			if _, err := db.ExecContext(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "append-only") {
				t.Errorf("%s: %v", statement, err)
			}
		}
	}
}

func TestAPersonIsErasedFromTheAuditLog(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		s := open(func(c *store.Config) { c.Checkpoint = newSigner(t) })
		tenant, user, admin := store.NewID(), store.NewID(), store.NewID()
		addr := netip.MustParseAddr("192.0.2.7")
		entry := func(tenant, actor, target uuid.UUID) store.AuditEntry {
			return store.AuditEntry{
				TenantID: tenant, At: at(1), Action: "user.update", TargetKind: "user", TargetID: target.String(), Outcome: "done", Count: 1,
				Actor:  store.Actor{Kind: store.ActorToken, UserID: actor, Addr: addr, UserAgent: "curl"},
				Detail: map[string]string{}, Personal: map[string]string{"email": "ann@example.com"},
			}
		}
		elsewhere := store.NewID()
		list := []store.AuditEntry{entry(tenant, user, user), entry(tenant, admin, user), entry(tenant, user, admin), entry(elsewhere, user, user)}
		for range 600 { // more than one piece
			list = append(list, entry(tenant, user, admin))
		}
		if err := s.AddAudit(t.Context(), list[:2]); err != nil {
			t.Fatal(err)
		}
		chainAll(t, s)
		if err := s.AddAudit(t.Context(), list[2:]); err != nil { // and some that are not chained yet
			t.Fatal(err)
		}
		n, err := s.EraseAuditPerson(t.Context(), tenant, user, store.Actor{Kind: store.ActorToken, UserID: user, Addr: addr})
		if err != nil || n != 604 {
			t.Fatalf("erased %d, %v", n, err)
		}
		chainAll(t, s)
		if r := must[store.AuditReport](t)(s.VerifyAudit(t.Context(), store.VerifyConfig{})); !r.OK() || r.Erased != 604 || r.Entries != 605 {
			t.Errorf("verified: %+v", r)
		}
		got := must[[]store.AuditEntry](t)(first(s.Tenant(tenant).Audit(t.Context(), store.AuditFilter{}, store.Page{Limit: 200})))
		if e := got[0]; e.Action != "audit.erase" || e.TargetID != user.String() || e.Detail["erased"] != "604" {
			t.Errorf("the newest entry is %+v", e)
		}
		for _, e := range got {
			if e.Actor.UserID == user && (e.Actor.Addr.IsValid() || e.Actor.UserAgent != "") || e.TargetID == user.String() && len(e.Personal) > 0 {
				t.Fatalf("not erased: %+v", e)
			}
			if e.TargetID == admin.String() && e.Personal["email"] == "" {
				t.Fatalf("somebody else is erased: %+v", e)
			}
		}
		theirs := must[[]store.AuditEntry](t)(first(s.Tenant(elsewhere).Audit(t.Context(), store.AuditFilter{}, store.Page{})))
		if len(theirs) != 1 || theirs[0].Actor.Addr != addr || theirs[0].Personal["email"] == "" {
			t.Errorf("another tenant's entry: %+v", theirs)
		}
		if n, err := s.EraseAuditPerson(t.Context(), tenant, user, by()); n != 0 || err != nil {
			t.Errorf("again: %d, %v", n, err)
		}
		if _, err := s.EraseAuditPerson(t.Context(), uuid.Nil, user, by()); err == nil {
			t.Error("erased without a tenant")
		}
	})
}
