package chaos_test

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/redistest"
	"github.com/postrider/postrider/internal/relaytest"
)

// cluster is the database, and all else, of several nodes.
const cluster = "three nodes on PostgreSQL"

const (
	// clusterNodes is how many nodes run, and spares how many more can join.
	clusterNodes, spares = 3, 1
	// clusterRelays is how many relays they share.
	clusterRelays = 6
)

// newCluster makes a world of several nodes, each on a host of its own as far as the network goes: it has lines of its own to
// PostgreSQL and to the relays, a data directory and a clock. PostgreSQL has a synchronous standby if that is asked for; then all nodes
// but one know both servers' addresses, and that one's line is led to the new primary.
//
// All relays are one receiver under many names. A node finds its own line to it in its /etc/hosts.
func newCluster(t *testing.T, server *pgtest.Server, standby bool) *world {
	t.Helper()
	needOwnHosts(t)
	w := &world{database: cluster, pg: server, ledger: newLedger(), receiver: startReceiver(t)}
	servers := []*pgtest.Server{server}
	if standby {
		w.standby = server.Standby(t)
		server.Synchronous(t, true)
		servers = append(servers, w.standby)
	}
	database := "w" + w.ledger.prefix
	server.Exec(t, "postgres", "create database "+database)
	redis := redistest.Start(t)
	_, relayPort, err := net.SplitHostPort(relaytest.FreeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range clusterNodes + spares {
		dir := t.TempDir()
		n := w.node(t, fmt.Sprintf("node%d.chaos.test", i), dir, filepath.Join(dir, "data"))
		n.clock = newClock(t, dir)
		n.hosts = filepath.Join(dir, "hosts")
		own := fmt.Sprintf("127.0.0.%d", 10+i)
		hosts := "127.0.0.1 localhost\n"
		for relay := range clusterRelays {
			hosts += own + " " + relayHost(relay) + "\n"
		}
		if err := os.WriteFile(n.hosts, []byte(hosts), 0o644); err != nil {
			t.Fatal(err)
		}
		n.line = relaytest.StartProxyAt(t, net.JoinHostPort(own, relayPort), w.receiver.cfg.Addr, 0)
		reach := servers
		if i == 0 {
			reach = servers[:1]
		}
		n.env = append(n.env, clockEnv+"="+n.clock.path, "POSTRIDER_REDIS_URL="+redis.URL(),
			"POSTRIDER_RATE_LIMIT=1000000/1m", "POSTRIDER_RATE_LIMIT_API_KEY=1000000/1m", // so high that it never refuses, but counted
			"POSTRIDER_EGRESS_PORTS="+relayPort, "POSTRIDER_DATABASE_URL="+n.lines(t, reach, database))
	}
	first := w.nodes[0]
	first.run(t, nil, "migrate")
	key := setUp(t, first)
	for _, n := range w.nodes[1:] {
		copyKeys(t, first.data, n.data)
	}
	w.caller = &caller{url: "http://cluster.chaos.test", key: key, client: &http.Client{Transport: newBalancer(t, w.nodes), Timeout: 20 * time.Second}}
	for _, n := range w.nodes[:clusterNodes] {
		n.start(t)
	}
	for _, n := range w.nodes[:clusterNodes] {
		n.ready(t)
	}
	for relay := range clusterRelays {
		w.relays = append(w.relays, w.relay(t, fmt.Sprint("relay ", relay), net.JoinHostPort(relayHost(relay), relayPort), nil))
	}
	return w
}

func relayHost(relay int) string { return "relay" + strconv.Itoa(relay) + ".chaos.test" }

// lines makes a node's lines to database servers and gives the URL of a database by way of them.
func (n *node) lines(t *testing.T, servers []*pgtest.Server, database string) string {
	t.Helper()
	var hosts []string
	for _, server := range servers {
		line := relaytest.StartProxy(t, server.Addr, 0)
		n.pgLines = append(n.pgLines, line)
		hosts = append(hosts, line.Addr)
	}
	u, err := url.Parse(servers[0].AdminURL(database))
	if err != nil {
		t.Fatal(err)
	}
	u.Host = strings.Join(hosts, ",")
	if len(hosts) > 1 {
		u.RawQuery += "&target_session_attrs=read-write"
	}
	return u.String()
}

// copyKeys gives a node the keys that another one has made, as an operator does.
func copyKeys(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !f.Type().IsRegular() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(from, f.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, f.Name()), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
