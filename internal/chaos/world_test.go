package chaos_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/relaytest"
)

// The databases.
const (
	sqlite     = "SQLite"
	tinyDisk   = "SQLite on a small disk"
	postgresql = "PostgreSQL"
)

// diskSize is that of the small disk. The service accepts nothing while less than 256 MiB are free.
const diskSize = 640 << 20

// world is a service with all that it needs: a database, a relay, and lines to both that can be cut. The service is one node or,
// see newCluster, several.
type world struct {
	database string
	nodes    []*node
	caller   *caller
	disk     string // where the small disk is mounted; empty: there is none

	pg      *pgtest.Server // nil with SQLite
	standby *pgtest.Server // nil: pg has none

	receiver *receiver
	relays   []string // ids of the ways to the receiver

	ledger *ledger
}

// newWorld makes one and waits until it is ready. server is the PostgreSQL that it shall use, nil for SQLite.
func newWorld(t *testing.T, database string, server *pgtest.Server) *world {
	t.Helper()
	w := &world{database: database, pg: server, ledger: newLedger()}
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if database == tinyDisk {
		w.mount(t)
		data = filepath.Join(w.disk, "data")
	}
	w.receiver = startReceiver(t)
	n := w.node(t, "node0.chaos.test", dir, data)
	n.line = relaytest.StartProxy(t, w.receiver.cfg.Addr, 0)
	n.env = append(n.env, "POSTRIDER_RATE_LIMIT=off", "POSTRIDER_RATE_LIMIT_API_KEY=off",
		"POSTRIDER_EGRESS_PORTS="+port(t, w.receiver.cfg.Addr)+","+port(t, n.line.Addr))
	if server != nil {
		line := relaytest.StartProxy(t, server.Addr, 0)
		n.pgLines = append(n.pgLines, line)
		n.env = append(n.env, "POSTRIDER_DATABASE_URL="+through(t, server.AdminURL(server.Database(t)), line.Addr))
		n.run(t, nil, "migrate")
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	w.caller = &caller{url: n.url, key: setUp(t, n), client: &http.Client{Transport: transport, Timeout: 20 * time.Second}}
	n.start(t)
	n.ready(t)
	w.relays = []string{w.relay(t, "straight", w.receiver.cfg.Addr, nil), w.relay(t, "by the line", n.line.Addr, nil)}
	return w
}

// node makes a node that does not run yet. It is stopped at the end of the test.
func (w *world) node(t *testing.T, name, dir, data string) *node {
	t.Helper()
	listen := relaytest.FreeAddress(t)
	n := &node{name: name, url: "http://" + listen, program: program(t), data: data, log: filepath.Join(dir, "serve.log"), env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir,
		"POSTRIDER_DATA=" + data,
		"POSTRIDER_HOSTNAME=" + name,
		"POSTRIDER_LISTEN=" + listen,
		"POSTRIDER_EGRESS_ALLOW=127.0.0.0/8",
	}}
	w.nodes = append(w.nodes, n)
	t.Cleanup(func() {
		n.stop(t)
		n.keepLog(t)
	})
	return n
}

// setUp makes the first tenant and gives an API key of its admin.
func setUp(t *testing.T, n *node) string {
	t.Helper()
	var made struct {
		APIKey string `json:"api_key"`
	}
	n.run(t, &made, "setup", "--tenant", "first", "--email", "admin@example.com", "--json")
	return made.APIKey
}

// tails are the ends of the nodes' logs.
func (w *world) tails() string {
	var b strings.Builder
	for _, n := range w.nodes {
		fmt.Fprintf(&b, "%s:\n%s\n", n.name, n.tail())
	}
	return b.String()
}

// relay registers an address as a relay. Refused messages come again soon: the waits of the usual schedule are for
// relays that are away for hours.
func (w *world) relay(t *testing.T, name, address string, limits map[string]int) string {
	t.Helper()
	host, digits, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(digits)
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ ID string }
	request := map[string]any{"name": name, "host": host, "port": number, "tls": "none", "retry_schedule": []string{"1s"}}
	if limits != nil {
		request["limits"] = limits
	}
	err = w.caller.ask(t.Context(), http.MethodPost, "/v1/relays", "", request, &made)
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
}

// mount makes the small disk.
func (w *world) mount(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		skipServer(t, "a disk that can be filled needs root, to mount one")
	}
	out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size="+strconv.Itoa(diskSize), "tmpfs", dir).CombinedOutput()
	if err != nil {
		skipServer(t, fmt.Sprintf("a disk that can be filled cannot be mounted: %v: %s", err, out))
	}
	w.disk = dir
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
}

// skipServer skips for want of something of this machine, unless tests must have everything.
func skipServer(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("POSTRIDER_TEST_REQUIRE_SERVERS") == "1" {
		t.Fatal("real server: " + why)
	}
	t.Skip("real server: " + why)
}

// probe hands a message in and waits for its arrival. It gives how long that took: until all works again.
func (w *world) probe(t *testing.T, r *rand.Rand) time.Duration {
	t.Helper()
	begun := time.Now()
	e := w.ledger.add(false)
	relay := w.relays[r.IntN(len(w.relays))]
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.caller.insist(ctx, e, letter(e, relay, 500), w.ledger); err != nil {
		t.Fatalf("no message is accepted within %v after the last fault: %v\n%s", patience, err, w.tails())
	}
	for w.receiver.count(e.id) == 0 {
		if !pause(ctx, 5*time.Millisecond) {
			var story any
			err := w.caller.ask(t.Context(), http.MethodGet, "/v1/messages/"+e.message+"/explain", "", nil, &story)
			t.Fatalf("a message that was accepted after the last fault did not arrive within %v: %v %v\n%s", patience, story, err, w.tails())
		}
	}
	return time.Since(begun)
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// through is a database's URL by way of another address.
func through(t *testing.T, database, address string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = address
	return u.String()
}
