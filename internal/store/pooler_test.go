package store_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// pooledLogins are URLs that lead through a pooler with few connections to a migrated database, with a login for each role.
type pooledLogins struct {
	server                *pgtest.Server
	db                    string
	api, delivery, direct string
}

// unnamed has pgx itself give statements no names; the store finds out by itself.
const unnamed = "&default_query_exec_mode=exec"

func newPooled(t *testing.T) pooledLogins {
	t.Helper()
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	api, delivery := logins(t, server, db)
	passwords := map[string]string{}
	var names []string
	for _, url := range []string{api, delivery} {
		cfg := connect(t, url+unnamed).Config()
		passwords[cfg.User] = cfg.Password
		names = append(names, cfg.User)
	}
	p := server.Pooler(t, 2, passwords)
	return pooledLogins{
		server: server, db: db, direct: delivery,
		api: p.URL(db, names[0], passwords[names[0]]), delivery: p.URL(db, names[1], passwords[names[1]]),
	}
}

func (p pooledLogins) open(t *testing.T) *store.Store {
	t.Helper()
	return openAt(t, p.api, func(c *store.Config) { c.DeliveryURL, c.MaxConns = p.delivery, 10 })
}

// Several nodes whose API and delivery go through a transaction pooler with fewer connections than they have: messages are
// accepted, claimed, marked, recorded and announced; everybody works at once, so that server connections change hands.
func TestThroughPooler(t *testing.T) {
	p := newPooled(t)
	direct := func(c *store.NodeConfig) { c.LockURL = p.direct }
	w := newWorld(t, func(...func(*store.Config)) *store.Store { return p.open(t) })
	stores := []*store.Store{w.Store, p.open(t), p.open(t)}
	nodes := make([]running, len(stores))
	for i, s := range stores {
		nodes[i] = join(t, s, direct)
	}
	there := listen(stores[2])
	if !lock(t, nodes[1], w.relay.ID) || lock(t, nodes[2], w.relay.ID) {
		t.Fatal("the right of a relay was not one node's")
	}
	const callers, each = 8, 20
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			tenant := stores[i%len(stores)].Tenant(w.tenant.ID())
			for n := range each {
				m := w.message(fmt.Sprintf("bob%d-%d@example.net", i, n))
				idem := &store.Idempotency{Scope: "messages", UserID: w.user, Key: fmt.Sprintf("k%d-%d", i, n), Status: 202, Response: []byte("{}")}
				if _, err := tenant.Accept(t.Context(), []store.NewMessage{m}, idem); err != nil {
					t.Errorf("accept: %v", err)
				}
				if _, err := tenant.Standing(t.Context(), w.user); err != nil {
					t.Errorf("standing: %v", err)
				}
				if _, err := tenant.Message(t.Context(), m.ID); err != nil {
					t.Errorf("read: %v", err)
				}
			}
		})
	}
	sent := 0
	for sent < callers*each {
		claims, err := stores[1].Claim(t.Context(), store.ClaimRequest{Relay: w.relay.ID, Tenant: w.tenant.ID(), Limit: 10, Node: nodes[1].ID()})
		if err != nil {
			t.Fatalf("claim: %v", err)
		}
		for _, c := range claims {
			wg.Go(func() {
				if err := stores[1].Mark(t.Context(), nodes[1].ID(), c.TenantID, c.MessageID); err != nil {
					t.Errorf("mark: %v", err)
				}
				o := w.outcome(c, store.Sent)
				o.Node = nodes[1].ID()
				if err := stores[1].Record(t.Context(), o); err != nil {
					t.Errorf("record: %v", err)
				}
			})
		}
		if sent += len(claims); t.Failed() {
			break
		}
	}
	wg.Wait()
	if _, err := stores[0].GiveUp(t.Context()); err != nil {
		t.Errorf("give up: %v", err)
	}
	for {
		n, err := stores[2].ChainAudit(t.Context())
		if err != nil {
			t.Fatalf("chain: %v", err)
		}
		if n == 0 {
			break
		}
	}
	eventually(t, "a node hears through its own session what another announced through the pooler", func() bool {
		named, _ := there.relays()
		return named[w.relay.ID]
	})
	list, _, err := w.tenant.Messages(t.Context(), store.MessageFilter{}, store.Page{Limit: 200})
	if err != nil || len(list) != callers*each {
		t.Errorf("%d messages, %v", len(list), err)
	}
	for _, m := range list {
		if m.State != "sent" {
			t.Errorf("message %s is %s", m.ID, m.State)
		}
	}
	var states int
	if err := connect(t, p.server.AdminURL(p.db)).QueryRow(t.Context(), "select count(*) from spool").Scan(&states); err != nil || states != 0 {
		t.Errorf("%d rows are left in the spool, %v", states, err)
	}
}

// What keeps state in a session is refused where it would lead through a pooler, with the setting to change.
func TestSessionsPastThePooler(t *testing.T) {
	p := newPooled(t)
	s := p.open(t)
	_, err := s.Join(t.Context(), store.NodeConfig{ID: store.NewID(), Name: "n", Role: store.NodeAll})
	if err == nil || !strings.Contains(err.Error(), "POSTRIDER_LOCK_DATABASE_URL") {
		t.Errorf("Join through a pooler: %v", err)
	}
	if _, err := store.Migrate(t.Context(), store.MigrateConfig{URL: p.delivery}); err == nil || !strings.Contains(err.Error(), "POSTRIDER_MIGRATION_DATABASE_URL") {
		t.Errorf("Migrate through a pooler: %v", err)
	}
}

// A login that may do everything takes on its role for each transaction, and leaves nothing to the next client of its
// server connection.
func TestPoolerAssumedRole(t *testing.T) {
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	pooler := server.Pooler(t, 1, nil)
	s := openAt(t, server.PoolerURL(pooler, db))
	a, admin := newTenant(t, s, "acme")
	b, _ := newTenant(t, s, "other")
	if _, err := a.Standing(t.Context(), admin.ID); err != nil {
		t.Fatal(err)
	}
	if users, _, err := b.Users(t.Context(), store.Page{}); err != nil || len(users) != 1 {
		t.Errorf("a tenant sees %d users, %v", len(users), err)
	}
	conn := connect(t, server.PoolerURL(pooler, db)+unnamed)
	var role, tenant string
	if err := conn.QueryRow(t.Context(), "select current_user, coalesce(current_setting('app.tenant_id', true), '')").Scan(&role, &tenant); err != nil {
		t.Fatal(err)
	}
	if role != pgtest.Superuser || tenant != "" {
		t.Errorf("the next client works as %s for tenant %q", role, tenant)
	}
	if _, err := conn.Exec(t.Context(), "select 1"); err != nil {
		t.Fatal(err)
	}
}
