package store_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// nodeRecord finds a node in the operator's list.
func nodeRecord(t *testing.T, s *store.Store, id uuid.UUID) (store.NodeRecord, bool) {
	t.Helper()
	list := must[[]store.NodeRecord](t)(s.Operator().Nodes(t.Context()))
	i := slices.IndexFunc(list, func(n store.NodeRecord) bool { return n.ID == id })
	if i < 0 {
		return store.NodeRecord{}, false
	}
	return list[i], true
}

// The operator sees who works, who has stopped, and who drains what.
func TestOperatorNodes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, realTime(open))
		n := join(t, w.Store, func(c *store.NodeConfig) { c.Name, c.Version, c.Role = "mail-1\r\n", "1.2.3", store.NodeDelivery })
		got, ok := nodeRecord(t, w.Store, n.ID())
		if !ok || got.Name != "mail-1" || got.Version != "1.2.3" || got.Role != store.NodeDelivery || got.State != store.NodeWorking ||
			got.StartedAt.IsZero() || got.BeatAt.Before(got.StartedAt) || !got.EndedAt.IsZero() || len(got.Relays) != 0 {
			t.Errorf("the node is shown as %+v", got)
		}
		w.accept(t, w.message())
		if !lock(t, n, w.relay.ID) {
			t.Fatal("a free relay was not given")
		}
		if _, _, err := w.ResolveClaims(t.Context(), w.relay.ID, n.ID()); err != nil {
			t.Fatal(err)
		}
		if got, _ := nodeRecord(t, w.Store, n.ID()); !slices.Equal(got.Relays, []uuid.UUID{w.relay.ID}) {
			t.Errorf("the node is shown to drain %v", got.Relays)
		}
		eventually(t, "its beat tells how many relays it drains", func() bool {
			got, _ := nodeRecord(t, w.Store, n.ID())
			return got.Drains == 1 && got.BeatAt.After(got.StartedAt)
		})
		n.stop()
		got, ok = nodeRecord(t, w.Store, n.ID())
		if !ok || got.State != store.NodeStopped || got.EndedAt.IsZero() || len(got.Relays) != 0 || got.Drains != 0 {
			t.Errorf("after it stopped the node is shown as %+v", got)
		}
	})
}

// A relay that was given back is not shown, though its row still names who drained it last.
func TestOperatorNodesGivenBack(t *testing.T) {
	w := newWorld(t, storetest.Opens(t))
	n := join(t, w.Store)
	if !lock(t, n, w.relay.ID) {
		t.Fatal("a free relay was not given")
	}
	if _, _, err := w.ResolveClaims(t.Context(), w.relay.ID, n.ID()); err != nil {
		t.Fatal(err)
	}
	unlock(t, n, w.relay.ID)
	if got, _ := nodeRecord(t, w.Store, n.ID()); len(got.Relays) != 0 {
		t.Errorf("the node is shown to drain %v", got.Relays)
	}
}

// A node that dies is shown as gone as soon as another looks, and forgotten later.
func TestOperatorNodesGone(t *testing.T) {
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	s := openAt(t, server.AdminURL(db))
	dead, err := s.Join(t.Context(), store.NodeConfig{ID: store.NewID(), Name: "dead", Role: store.NodeAll})
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close(context.Background())
	endSession(t, server, db, dead.ID())
	b := join(t, openAt(t, server.AdminURL(db)))
	eventually(t, "it is gone", func() bool {
		got, _ := nodeRecord(t, s, dead.ID())
		return got.State == store.NodeGone && b.Peers() == 1
	})
	server.Exec(t, db, "update nodes set ended_at = ended_at - interval '2 hours'")
	eventually(t, "it is forgotten", func() bool {
		_, ok := nodeRecord(t, s, dead.ID())
		return !ok
	})
}
