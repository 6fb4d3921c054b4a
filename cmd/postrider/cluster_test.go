package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/smtp/smtptest"
)

// cluster is an installation on PostgreSQL that several processes serve.
type cluster struct {
	t        *testing.T
	settings map[string]string // without the prefix
	operator string            // its key
	account  struct {
		TenantID string `json:"tenant_id"`
		UserID   string `json:"user_id"`
		Password string `json:"password"`
		APIKey   string `json:"api_key"`
	}
	receiver *smtptest.Server
}

// newCluster sets one up. Its receiver takes so long for each message.
func newCluster(t *testing.T, took time.Duration) *cluster {
	t.Helper()
	c := &cluster{t: t, receiver: smtptest.StartT(t, smtptest.Config{Rules: []smtptest.Rule{{
		Command: smtptest.CommandContent, Action: smtptest.Delay(took, smtptest.Proceed()),
	}}})}
	key, _ := auth.GenerateOperatorKey()
	c.operator = key.Reveal()
	c.settings = map[string]string{
		"DATA": t.TempDir(), "OPERATOR_KEY": c.operator, "EGRESS_ALLOW": "127.0.0.1", "EGRESS_PORTS": strconv.Itoa(c.receiver.Port()),
		"RATE_LIMIT_API_KEY": "off",
	}
	for k, v := range databaseURLs(t, pgtest.Shared(t)) {
		c.settings[strings.TrimPrefix(k, "POSTRIDER_")] = v
	}
	if err := json.Unmarshal([]byte(c.run("setup", "--tenant", "acme", "--email", "a@example.com", "--json")), &c.account); err != nil {
		t.Fatal(err)
	}
	return c
}

// run runs a command of the program in the installation.
func (c *cluster) run(args ...string) string {
	c.t.Helper()
	p := exec.CommandContext(c.t.Context(), "postrider", args...)
	p.Env = os.Environ()
	for k, v := range c.settings {
		if k != "OPERATOR_KEY" || args[0] != "setup" {
			p.Env = append(p.Env, "POSTRIDER_"+k+"="+v)
		}
	}
	out, err := p.Output()
	if err != nil {
		var errs []byte
		if exit, is := err.(*exec.ExitError); is { //nolint:errorlint // from Output
			errs = exit.Stderr
		}
		c.t.Fatalf("postrider %s: %v: %s%s", strings.Join(args, " "), err, out, errs)
	}
	return string(out)
}

// node starts a process.
func (c *cluster) node(name string, more ...string) *serving {
	c.t.Helper()
	settings := map[string]string{"NODE_NAME": name}
	for k, v := range c.settings {
		settings[k] = v
	}
	for _, m := range more {
		k, v, _ := strings.Cut(m, "=")
		settings[k] = v
	}
	s := serve(c.t, settings)
	s.await(`"msg":"ready"`)
	return s
}

// client asks a node as the tenant's admin, or with another token.
func (c *cluster) client(s *serving, token string) *api.Client {
	c.t.Helper()
	client, err := api.NewClient(api.ClientConfig{URL: s.url, Token: token, HTTPClient: plainClient()})
	if err != nil {
		c.t.Fatal(err)
	}
	return client
}

// do asks a node for what has no method of its own.
func (c *cluster) do(client *api.Client, method, path string, in, out any) {
	c.t.Helper()
	if err := client.Do(c.t.Context(), method, path, in, out); err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// relays makes relays to the receiver, of one connection each.
func (c *cluster) relays(client *api.Client, n int) []string {
	c.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		var r api.Relay
		c.do(client, http.MethodPost, "/v1/relays", api.NewRelay{
			Name: fmt.Sprintf("relay %d", i), Host: "127.0.0.1", Port: c.receiver.Port(), TLS: "none", Limits: api.RelayLimits{MaxConns: 1},
		}, &r)
		ids[i] = r.ID
	}
	return ids
}

// submit hands in n messages for a relay; the recipient tells which.
func (c *cluster) submit(client *api.Client, relay string, n int) {
	c.t.Helper()
	for n > 0 {
		part := min(n, 500)
		n -= part
		messages := make([]api.NewMessage, part)
		for i := range messages {
			messages[i] = api.NewMessage{From: "a@example.com", To: []string{relay + "@example.net"}, TextBody: "x", RelayID: relay}
		}
		c.do(client, http.MethodPost, "/v1/messages/batch", messages, nil)
	}
}

var drainedBy = regexp.MustCompile(`postrider_relay_slots\{relay="([^"]+)"\}`)

// drains are the relays that a node drains, by its own word.
func (c *cluster) drains(s *serving) []string {
	c.t.Helper()
	code, text := status(c.t, plainClient(), s.url+"/metrics")
	if code != http.StatusOK {
		c.t.Fatalf("%d %s", code, text)
	}
	var ids []string
	for _, m := range drainedBy.FindAllStringSubmatch(text, -1) {
		ids = append(ids, m[1])
	}
	return ids
}

// until waits for something to be so.
func (c *cluster) until(what string, so func() bool) time.Duration {
	c.t.Helper()
	begun := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		if time.Since(begun) > time.Minute {
			c.t.Fatalf("never: %s", what)
		}
		<-tick.C
	}
	return time.Since(begun)
}

// sent counts what the receiver took, by the relay that the recipient names.
func (c *cluster) sent() map[string]int {
	count := map[string]int{}
	for r, n := range accepted(c.receiver) {
		relay, _, _ := strings.Cut(r, "@")
		count[relay] += n
	}
	return count
}

// TestNodesDivideRelays: two nodes drain the relays between them; when one is killed all of its go on at the other, and a third takes its share.
func TestNodesDivideRelays(t *testing.T) {
	t.Parallel()
	const relays, each = 6, 600
	c := newCluster(t, 20*time.Millisecond)
	one, two := c.node("one"), c.node("two")
	client := c.client(one, c.account.APIKey)
	ids := c.relays(client, relays)
	for _, id := range ids {
		c.submit(client, id, each)
	}
	c.until("each drains three", func() bool { return len(c.drains(one)) == relays/2 && len(c.drains(two)) == relays/2 })
	orphans := c.drains(two)
	for _, id := range c.drains(one) {
		if slices.Contains(orphans, id) {
			t.Errorf("both drain %s", id)
		}
	}
	before := c.sent()
	if err := two.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	if status := two.end(); status != -1 {
		t.Errorf("exit status %d", status)
	}
	after := c.sent()
	for _, id := range orphans {
		before[id] = after[id] // what was under way has arrived by now
	}
	waits := map[string]time.Duration{}
	c.until("its relays go on elsewhere", func() bool {
		now := c.sent()
		for _, id := range orphans {
			if _, told := waits[id]; !told && now[id] > before[id] {
				waits[id] = time.Since(killed)
			}
		}
		return len(waits) == len(orphans)
	})
	t.Logf("next sends of the killed node's relays after %v", waits)
	if n := len(c.drains(one)); n != relays {
		t.Errorf("the survivor drains %d of %d relays", n, relays)
	}
	three := c.node("three")
	c.until("the third has its share", func() bool { return len(c.drains(three)) > 0 })
	if status := one.stop(); status != exitOK {
		t.Errorf("exit status %d:\n%s", status, one.text())
	}
	c.until("all has arrived", func() bool {
		sent := c.sent()
		return !slices.ContainsFunc(ids, func(id string) bool { return sent[id] < each })
	})
	if status := three.stop(); status != exitOK {
		t.Errorf("exit status %d:\n%s", status, three.text())
	}
	twice := 0
	for id, n := range c.sent() {
		if n < each {
			t.Errorf("%d messages of relay %s are lost", each-n, id)
		}
		twice += n - each
	}
	if twice > relays { // one under way on each connection of the killed node
		t.Errorf("%d messages were sent twice", twice)
	}
}

// TestRoles: a node that takes requests sends nothing, one that delivers takes no requests, and each says so.
func TestRoles(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 0)
	front := c.node("front", "ROLE=api")
	client := c.client(front, c.account.APIKey)
	id := c.relays(client, 1)[0]
	c.submit(client, id, 3)
	if n := c.drains(front); len(n) > 0 {
		t.Errorf("the node that takes requests drains %v", n)
	}
	if code, body := status(t, plainClient(), front.url+"/readyz"); code != http.StatusOK || !strings.Contains(body, `"role":"api"`) {
		t.Errorf("%d %s", code, body)
	}
	back := c.node("back", "ROLE=delivery")
	if _, err := c.receiver.WaitTransactions(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	nodes, err := c.client(front, c.operator).Nodes(t.Context())
	if err != nil || len(nodes.Data) != 2 || nodes.Data[0].Name != "back" || nodes.Data[0].Role != "delivery" || nodes.Data[1].State != "working" ||
		!slices.Equal(nodes.Data[0].Relays, []string{id}) || len(nodes.Data[1].Relays) > 0 {
		t.Errorf("%v: %+v", err, nodes)
	}
	if list := c.run("nodes"); !strings.Contains(list, "back   delivery  working") || !strings.Contains(list, "back drains\n  "+id) {
		t.Errorf("postrider nodes says\n%s", list)
	}
	if list := c.run("nodes", "--json"); strings.Count(list, "\n") != 2 || !strings.Contains(list, `"relays":["`+id+`"]`) {
		t.Errorf("postrider nodes --json says\n%s", list)
	}
	begun := time.Now()
	c.submit(client, id, 1)
	if _, err := c.receiver.WaitTransactions(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	t.Logf("a message that another node accepted arrived after %v", time.Since(begun))
	for page, want := range map[string]int{
		"/healthz": http.StatusOK, "/readyz": http.StatusOK, "/metrics": http.StatusOK, "/v1/me": http.StatusNotFound, "/openapi.json": http.StatusNotFound, "/": http.StatusNotFound,
	} {
		code, body := status(t, plainClient(), back.url+page)
		if code != want || want == http.StatusNotFound && !strings.Contains(body, "This node has the role delivery and takes no requests: ask one with the role api or all.") {
			t.Errorf("%s: %d %s", page, code, body)
		}
	}
	for s, wants := range map[*serving][]string{
		front: {`postrider_node_info{node="`, `role="api"} 1`, "postrider_node_held 1"},
		back:  {`role="delivery"} 1`, "postrider_node_held 1", "postrider_nodes_delivering 1", "postrider_node_relays "},
	} {
		_, text := status(t, plainClient(), s.url+"/metrics")
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("/metrics has no %s", want)
			}
		}
	}
	for _, s := range []*serving{front, back} {
		if status := s.stop(); status != exitOK {
			t.Errorf("exit status %d:\n%s", status, s.text())
		}
	}
}
