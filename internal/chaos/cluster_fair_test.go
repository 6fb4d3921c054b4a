package chaos_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
)

const (
	// fairBacklog is how many messages of one tenant wait before another's.
	fairBacklog = 2500
	// fairBetween is how many of them may leave between another's acceptance and its arrival: those that are under way, and those of one look
	// and one claim.
	fairBetween = 500
)

// Behind any backlog of one tenant, a message of another leaves after a bounded number of the first one's, over its own relay and over one that
// they share: also when callers know a load balancer before three nodes, and when the node that drains the relay is killed.
func TestClusterFairness(t *testing.T) {
	program(t) // or skip
	t.Parallel()
	w := newBalanced(t)
	_, relayPort, _ := strings.Cut(w.nodes[0].line.Addr, ":")
	first := w.nodes[0]
	var made struct {
		APIKey string `json:"api_key"`
	}
	first.run(t, &made, "tenant", "create", "second", "--email", "admin@example.com", "--json")
	first.run(t, nil, "relay", "create", "shared", "--host", relayHost(0), "--port", relayPort, "--tls", "none")
	for _, tenant := range []string{"first", "second"} {
		first.run(t, nil, "relay", "share", "shared", "--tenant", tenant)
	}
	second := &caller{url: w.caller.url, key: made.APIKey, client: w.caller.client}
	shared := w.sharedRelay(t)
	w2 := &world{caller: second}
	own := w2.relay(t, "own", net.JoinHostPort(relayHost(1), relayPort), nil)

	w.post(t, w.caller, shared, fairBacklog)
	begin := w.receiver.sum()
	within(t, "the backlog moves", func() bool { return w.receiver.sum() > begin+50 })
	newcomers := 0
	for _, relay := range []string{shared, own, shared, own} {
		if newcomers == 2 {
			n := w.drainer(t, shared)
			n.kill(t)
			had := w.receiver.sum()
			within(t, "another node goes on", func() bool { return w.receiver.sum() > had+50 })
			n.start(t)
		}
		newcomers++
		e := w.ledger.add(false)
		if err := second.insist(t.Context(), e, letter(e, relay, 500), w.ledger); err != nil {
			t.Fatal(err)
		}
		accepted := w.receiver.sum()
		within(t, "the newcomer's message arrives", func() bool { return w.receiver.count(e.id) > 0 })
		between := w.receiver.sum() - accepted
		t.Logf("%d messages of the other left between", between)
		if between > fairBetween {
			t.Errorf("%d messages of the other left after the newcomer's was accepted and before it arrived, want %d at most", between, fairBetween)
		}
	}
	if n := w.receiver.sum(); n >= fairBacklog {
		t.Error("the backlog was gone before the newcomer's message: nothing is proven")
	}
}

// sharedRelay is the id of the relay that the operator shares.
func (w *world) sharedRelay(t *testing.T) string {
	t.Helper()
	var list struct{ Data []struct{ ID, Name string } }
	if err := w.caller.askOn(t.Context(), http.MethodGet, "/v1/relays?limit=100", nil, &list); err != nil {
		t.Fatal(err)
	}
	for _, r := range list.Data {
		if r.Name == "shared" {
			return r.ID
		}
	}
	t.Fatalf("no shared relay: %+v", list)
	return ""
}
