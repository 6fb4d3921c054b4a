package chaos_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/smtp/smtptest"
)

const (
	limitConns   = 2
	limitMinute  = 120
	limitBacklog = 400
	// onTheWay is what may lie between the start of a message, which is counted, and its arrival, on a machine with much to do.
	onTheWay = time.Second
	// noticed is how long the receiver may need to see that a client which was killed is gone.
	noticed = 500 * time.Millisecond
)

// meter is a relay that measures what its clients do.
type meter struct {
	listener net.Listener
	server   *smtptest.Server
	group    sync.WaitGroup

	mu    sync.Mutex
	open  int
	over  time.Time // since when there are more than allowed; zero: there are not
	worst time.Duration
	peak  int
	begun []time.Time // when each content began, also of those that did not get to their end
}

// startMeter starts one that passes what arrives to a receiver.
func startMeter(t *testing.T, r *receiver) *meter {
	t.Helper()
	m := &meter{}
	// So slow that one connection is not enough.
	rule := smtptest.Rule{Command: smtptest.CommandContent, Action: smtptest.Delay(20*think, smtptest.Proceed())}
	server, err := smtptest.Start(smtptest.Config{Addr: "-", TLSAddr: "-", KeepRecords: -1, OnTransaction: r.take, Content: m.content, Rules: []smtptest.Rule{rule}})
	if err != nil {
		t.Fatal(err)
	}
	m.server = server
	if m.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	m.group.Go(m.accept)
	t.Cleanup(func() {
		_ = m.listener.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		m.group.Wait()
	})
	return m
}

func (m *meter) accept() {
	for {
		c, err := m.listener.Accept()
		if err != nil {
			return
		}
		m.count(1)
		m.server.ServeConn(&metered{c, sync.OnceFunc(func() { m.count(-1) })})
	}
}

// metered is a connection that tells of its end.
type metered struct {
	net.Conn
	ended func()
}

// Close ends it.
func (c *metered) Close() error {
	c.ended()
	return c.Conn.Close()
}

func (m *meter) count(by int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open += by
	m.peak = max(m.peak, m.open)
	switch {
	case m.open > limitConns && m.over.IsZero():
		m.over = time.Now()
	case m.open <= limitConns && !m.over.IsZero():
		m.worst = max(m.worst, time.Since(m.over))
		m.over = time.Time{}
	}
}

// nothing takes content and forgets it: the transaction has it.
type nothing struct{ io.Writer }

func (nothing) Close() error { return nil }

func (m *meter) content(*smtptest.Session, smtptest.Envelope) (io.WriteCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.begun = append(m.begun, time.Now())
	return nothing{io.Discard}, nil
}

// busiest is the largest number of messages in any time of a length.
func (m *meter) busiest(length time.Duration) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	most, first := 0, 0
	slices.SortFunc(m.begun, time.Time.Compare)
	for last, at := range m.begun {
		for at.Sub(m.begun[first]) >= length {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

func (m *meter) total() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.begun)
}

// A relay's limits hold for all nodes together, whichever of them drains it, and however the one before it ended: by kill -9, twice, or
// in order. The receiving server measures.
func TestClusterLimits(t *testing.T) {
	program(t) // or skip
	t.Parallel()
	w := newCluster(t, pgtest.Start(t, pgtest.Config{NoSync: true}), false)
	m := startMeter(t, w.receiver)
	_, relayPort, _ := strings.Cut(w.nodes[0].line.Addr, ":")
	for _, n := range w.nodes {
		n.line.Retarget(m.listener.Addr().String())
	}
	relay := w.relay(t, "limited", net.JoinHostPort(relayHost(0), relayPort), map[string]int{"max_conns": limitConns, "messages_per_minute": limitMinute})
	w.post(t, w.caller, relay, limitBacklog)
	begun := time.Now()
	// A hand-over in the first burst, one in order, and one while messages leave as others stop to count.
	for i, moment := range []int{limitMinute / 6, limitMinute / 2, limitMinute * 5 / 6} {
		within(t, "messages arrive", func() bool { return m.total() >= moment })
		n := w.drainer(t, relay)
		if i == 1 {
			n.stop(t)
		} else {
			n.kill(t)
		}
		had := w.receiver.sum()
		within(t, "another node goes on", func() bool { return w.receiver.sum() > had })
		n.start(t)
		n.ready(t)
	}
	// Until messages of the second minute arrive that were held back in the first.
	within(t, "more than a minute's messages arrive", func() bool { return m.total() >= limitMinute+limitMinute/4 && time.Since(begun) > time.Minute+onTheWay })
	if n := m.busiest(time.Minute - onTheWay); n > limitMinute {
		t.Errorf("%d messages within %v, want %d a minute at most", n, time.Minute-onTheWay, limitMinute)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.worst > noticed || !m.over.IsZero() {
		t.Errorf("%d connections, more than %d for %v", m.peak, limitConns, m.worst)
	}
	t.Logf("%d messages in %v, %d connections at most, more than %d for %v", len(m.begun), time.Since(begun).Round(time.Second), m.peak, limitConns, m.worst)
}

// post hands in n messages over a relay.
func (w *world) post(t *testing.T, c *caller, relay string, n int) {
	t.Helper()
	for n > 0 {
		list := make([]map[string]any, min(n, 200))
		n -= len(list)
		for i := range list {
			list[i] = letter(w.ledger.add(false), relay, 500)
		}
		if err := c.askOn(t.Context(), http.MethodPost, "/v1/messages/batch", list, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// drainer is the running node that sent last for a relay.
func (w *world) drainer(t *testing.T, relay string) *node {
	t.Helper()
	w.receiver.mu.Lock()
	defer w.receiver.mu.Unlock()
	for _, n := range w.nodes {
		if n.runs() && n.name == w.receiver.drains[relay] {
			return n
		}
	}
	t.Fatal(errors.New("no running node has sent for the relay: " + w.receiver.drains[relay]))
	return nil
}
