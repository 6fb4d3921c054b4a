package chaos_test

import (
	"bufio"
	"bytes"
	"net/mail"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/relaytest"
	"github.com/postrider/postrider/smtp/smtptest"
)

// idField is the header field by which messages are told apart.
const idField = "X-Chaos-Id"

// relayField is the one that has the id of the relay that it goes by.
const relayField = "X-Chaos-Relay"

// think is how long the relay takes for each message before its final reply, so that at any moment some wait for theirs.
const think = 15 * time.Millisecond

// receiver is the relay: it counts the copies of each message that it took responsibility for, whether or not the client
// came to hear of it. It can be stopped and started again, and keeps its counts.
type receiver struct {
	cfg smtptest.Config

	mu     sync.Mutex
	server *smtptest.Server // nil while it is stopped
	copies map[string]int
	total  int
	broken int               // messages without an id
	drains map[string]string // which node sent last, by relay
	over   *takeover         // what is looked at just now, if anything is
}

// startReceiver starts one at an address of its own.
func startReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{copies: map[string]int{}, drains: map[string]string{}}
	r.cfg = smtptest.Config{Addr: relaytest.FreeAddress(t), TLSAddr: "-", KeepRecords: -1, OnTransaction: r.take}
	r.start(t)
	t.Cleanup(func() { r.stop(t) })
	return r
}

func (r *receiver) start(t *testing.T) {
	t.Helper()
	server, err := smtptest.Start(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server = server
	server.On(slowly())
}

func slowly() smtptest.Rule {
	return smtptest.Rule{Command: smtptest.CommandContent, Action: smtptest.Delay(think, smtptest.Proceed())}
}

// stop cuts every conversation, as kill -9 would.
func (r *receiver) stop(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	server := r.server
	r.server = nil
	r.mu.Unlock()
	if server != nil {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}
}

// behave has the relay follow rules until it is told to behave without any.
func (r *receiver) behave(rules ...smtptest.Rule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server == nil {
		return
	}
	r.server.ClearRules()
	for _, rule := range rules {
		r.server.On(rule)
	}
	r.server.On(slowly())
}

// take counts a message, before the client is told.
func (r *receiver) take(tx smtptest.Transaction) {
	id, relay := "", ""
	if m, err := mail.ReadMessage(bufio.NewReader(bytes.NewReader(tx.Content))); err == nil {
		id, relay = m.Header.Get(idField), m.Header.Get(relayField)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total++
	if id == "" {
		r.broken++
		return
	}
	r.copies[id]++
	r.drains[relay] = tx.Hello
	r.over.sent(relay, tx.Hello)
}

// count is how many copies of a message arrived.
func (r *receiver) count(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.copies[id]
}

// unreadable is how many messages arrived whose id could not be read.
func (r *receiver) unreadable() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken
}

// sum is how many messages arrived, each copy counted.
func (r *receiver) sum() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// hears says whether a node is the last that sent for any relay.
func (r *receiver) hears(node string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, by := range r.drains {
		if by == node {
			return true
		}
	}
	return false
}
