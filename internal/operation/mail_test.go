package operation_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/smtp/smtptest"
)

// lateDomain is that of recipients whom the relay puts off until it is told otherwise.
const lateDomain = "late.example"

// mail is a relay that counts copies by recipient, and what was accepted for it.
type mail struct {
	server *smtptest.Server
	key    string // of the API
	relay  string // id of the relay

	mu       sync.Mutex
	copies   map[string]int
	accepted map[string]string // ids of messages by recipient
}

// newMail starts a relay that puts off what is for lateDomain.
func newMail(t *testing.T) *mail {
	t.Helper()
	m := &mail{copies: map[string]int{}, accepted: map[string]string{}}
	m.server = smtptest.StartT(t, smtptest.Config{TLSAddr: "-", KeepRecords: -1, OnTransaction: func(tx smtptest.Transaction) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, r := range tx.Recipients() {
			m.copies[r]++
		}
	}})
	m.putOff(true)
	return m
}

func (m *mail) putOff(yes bool) {
	m.server.ClearRules()
	if yes {
		m.server.On(smtptest.Rule{Command: "RCPT", Match: "@" + lateDomain, Action: smtptest.Reply("451 4.7.1 Later")})
	}
}

// setUp makes the first tenant, with an API key, on a node that does not run.
func (m *mail) setUp(t *testing.T, n *node) {
	t.Helper()
	n.env = append(n.env, "POSTRIDER_EGRESS_PORTS="+m.port(t))
	var made struct {
		APIKey string `json:"api_key"`
	}
	if err := json.Unmarshal([]byte(n.run(t, "setup", "--tenant", "first", "--email", "admin@example.com", "--json")), &made); err != nil {
		t.Fatal(err)
	}
	m.key = made.APIKey
}

func (m *mail) port(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(m.server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// register makes it known to a node that runs.
func (m *mail) register(t *testing.T, n *node) {
	t.Helper()
	number, err := strconv.Atoi(m.port(t))
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ ID string }
	n.must(t, m.key, "POST", "/v1/relays", map[string]any{"name": "main", "host": "127.0.0.1", "port": number, "tls": "none", "retry_schedule": []string{"1s"}}, &made)
	m.relay = made.ID
}

// accept hands in a message to an address, once.
func (m *mail) accept(t *testing.T, n *node, to string, more map[string]any) error {
	body := map[string]any{"relay_id": m.relay, "from": "a@example.com", "to": []string{to}, "subject": "x", "text_body": "x"}
	maps.Copy(body, more)
	var made struct{ ID string }
	if err := n.ask(t, m.key, "POST", "/v1/messages", body, &made); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.accepted[to] = made.ID
	return nil
}

// acceptAll hands in messages to NAME0@DOMAIN and so on.
func (m *mail) acceptAll(t *testing.T, n *node, count int, name, domain string, more map[string]any) (to []string) {
	t.Helper()
	for i := range count {
		address := fmt.Sprintf("%s%d@%s", name, i, domain)
		if err := m.accept(t, n, address, more); err != nil {
			t.Fatal(err)
		}
		to = append(to, address)
	}
	return to
}

// load hands in messages, to the nodes in turn, until stop is called, which gives the addresses of those that were accepted. A node that refuses or is away
// is passed over, and its message goes to another address later, so that none is handed in twice.
func (m *mail) load(t *testing.T, name string, nodes ...*node) (stop func() []string) {
	t.Helper()
	end, done := make(chan struct{}), make(chan []string)
	go func() {
		var to []string
		defer func() { done <- to }()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			address := fmt.Sprintf("%s%d@example.net", name, i)
			if m.accept(t, nodes[i%len(nodes)], address, nil) == nil {
				to = append(to, address)
			}
		}
	}()
	return func() []string {
		close(end)
		return <-done
	}
}

// count is how many copies arrived.
func (m *mail) count(to string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.copies[to]
}

// arrive waits until one copy at least of each has arrived.
func (m *mail) arrive(t *testing.T, to ...string) {
	t.Helper()
	for _, address := range to {
		within(t, address+" arrives", func() bool { return m.count(address) > 0 })
	}
}

// exactly demands so many copies of each.
func (m *mail) exactly(t *testing.T, want int, to ...string) {
	t.Helper()
	wrong := 0
	for _, address := range to {
		if got := m.count(address); got != want {
			if wrong++; wrong <= 5 {
				t.Errorf("%s arrived %d times, want %d", address, got, want)
			}
		}
	}
	if wrong > 5 {
		t.Errorf("and %d more", wrong-5)
	}
}

func (m *mail) id(to string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.accepted[to]
}
