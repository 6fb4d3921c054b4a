package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/store/storetest"
)

// A session that answers and takes no beats, as that with a server that may only read after a fail-over, is given up for a new one.
func TestNodeWhoseBeatsAreRefused(t *testing.T) {
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	n := join(t, openAt(t, server.AdminURL(db)))
	admin := connect(t, server.AdminURL(db))
	if !lock(t, n, uuid.New()) {
		t.Fatal("a free relay was not given")
	}
	lost, before := n.Lost(), n.Sessions()
	if _, err := admin.Exec(t.Context(), "revoke insert, update on nodes from postrider_delivery"); err != nil {
		t.Fatal(err)
	}
	fires(t, "the session is given up", lost)
	if _, err := admin.Exec(t.Context(), "grant insert, update on nodes to postrider_delivery"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is a new session", func() bool { return n.Held() && n.Sessions() > before })
}

// A beat that looks old but was not there a moment ago is no sign of a node that has stalled: the database's clock was set forward.
func TestNodesOutliveAClockSetForward(t *testing.T) {
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	a, b := join(t, openAt(t, server.AdminURL(db))), join(t, openAt(t, server.AdminURL(db)))
	admin := connect(t, server.AdminURL(db))
	eventually(t, "they see each other", func() bool { return a.Peers() == 2 && b.Peers() == 2 })
	for begun := time.Now(); time.Since(begun) < 3*time.Second; { // longer than a node waits before it judges others
		if _, err := admin.Exec(t.Context(), "update nodes set beat_at = beat_at - interval '1 hour' where id = $1", b.ID()); err != nil {
			t.Fatal(err)
		}
	}
	if b.Sessions() != 1 {
		t.Errorf("the session of a node that works was ended: it has had %d", b.Sessions())
	}
}
