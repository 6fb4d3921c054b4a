package postrider_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/smtp/smtptest"
	"github.com/postrider/postrider/smtppool"
)

// TestEveryMessageIsAccountedFor has 1000 goroutines share one client with 10
// connections, to a server that breaks one connection in twenty at all kinds
// of moments. What the client says of each message and recipient must agree
// with the copies that the server took responsibility for.
func TestEveryMessageIsAccountedFor(t *testing.T) {
	for _, c := range []struct {
		name       string
		goroutines int
		config     postrider.Config
		without    []string
		cancel     bool // contexts end at random moments
	}{
		{name: "no retries", goroutines: 300, config: postrider.Config{Retry: quick(1)}},
		{name: "retries", goroutines: 1000, config: postrider.Config{Retry: quick(5)}},
		{name: "retries, contexts ending", goroutines: 1000, config: postrider.Config{Retry: quick(5)}, cancel: true},
		{name: "retries after unknown too", goroutines: 300, config: postrider.Config{Retry: quick(5), RetryUnknown: true}, cancel: true},
		{name: "strict", goroutines: 300, config: postrider.Config{Retry: quick(5), Strict: true}, cancel: true},
		{name: "without CHUNKING", goroutines: 300, config: postrider.Config{Retry: quick(5)}, without: []string{"CHUNKING"}, cancel: true},
		{name: "without PIPELINING", goroutines: 300, config: postrider.Config{Retry: quick(5)}, without: []string{"CHUNKING", "PIPELINING"}, cancel: true},
	} {
		t.Run(c.name, func(t *testing.T) { accountFor(t, c.goroutines, c.config, c.without, c.cancel) })
	}
}

// moments are the places where the server breaks the connection. Together
// they hit about one transaction in twenty.
func moments() []smtptest.Rule {
	const chance = 0.006
	var rules []smtptest.Rule
	add := func(command string, actions ...smtptest.Action) {
		for _, a := range actions {
			rules = append(rules, smtptest.Rule{Command: command, Chance: chance, Action: a})
		}
	}
	add(smtptest.CommandConnect, smtptest.Drop())
	add(smtptest.CommandGreeting, smtptest.Drop(), smtptest.Reply("421 4.3.2 not now"))
	add("EHLO", smtptest.Drop())
	add("MAIL", smtptest.Drop(), smtptest.Close421("4.3.2 going down"))
	add("RCPT", smtptest.ReplyThenDrop("250 2.1.5 ok"), smtptest.Reset())
	add(smtptest.CommandContent,
		smtptest.DropAtOctet(100), // mid-content
		smtptest.Drop(),           // all read, not accepted, no reply
		smtptest.Sequence(smtptest.Accept(), smtptest.Drop()),    // accepted, no reply
		smtptest.Sequence(smtptest.Accept(), smtptest.Reset()),   // the same, less gently
		smtptest.ReplyThenDrop("250 2.0.0 taken"),                // accepted, and the connection ends
		smtptest.Close421("4.3.2 going down"),                    // refused for now
		smtptest.Reply("451 4.3.0 try again"),                    // the same, connection stays
		smtptest.Sequence(smtptest.Accept(), smtptest.Garbage())) // accepted, the reply unreadable
	return append(rules,
		on("RCPT", "nobody@", smtptest.Reply("550 5.1.1 no such user")),
		smtptest.Rule{Command: "RCPT", Match: "grey", Chance: 0.5, Action: smtptest.Reply("451 4.7.1 later")},
	)
}

func accountFor(t *testing.T, goroutines int, cfg postrider.Config, without []string, cancel bool) {
	const connections = 10
	server := smtptest.StartT(t, smtptest.Config{Without: without, Rules: moments()})
	var open, most atomic.Int64
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		for n := open.Add(1); ; {
			if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		return &countedConn{Conn: c, open: &open}, nil
	}
	cfg.Pool = smtppool.Config{MaxConns: connections, Backoff: smtppool.Backoff{
		Min: time.Millisecond, Max: time.Millisecond, RelayMin: time.Millisecond, RelayMax: time.Millisecond,
	}}
	client, err := postrider.New("smtp://"+server.Addr()+"?tls=none", &cfg)
	if err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat(strings.Repeat("x", 70)+"\n", 1500) // over 64 KiB
	results := make([]*postrider.Result, goroutines)
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			m := letter(fmt.Sprintf("ann%d@example.net", i))
			switch i % 10 {
			case 1:
				m.To = append(m.To, mail.Addrs("nobody@example.net", fmt.Sprintf("grey%d@example.net", i))...)
			case 2:
				m.Cc = mail.Addrs(fmt.Sprintf("bob%d@example.net", i), fmt.Sprintf("grey%d@example.net", i))
			case 3:
				m.Text = big
			case 4:
				m.Text, m.To = big, append(m.To, mail.Addr("nobody@example.net"))
			}
			m.MessageID = fmt.Sprintf("%d@stress.example.com", i)
			ctx := t.Context()
			if cancel && i%5 == 0 {
				var stop context.CancelFunc
				ctx, stop = context.WithTimeout(ctx, rand.N(500*time.Millisecond))
				defer stop()
			}
			result, err := client.Send(ctx, m)
			if (err == nil) != (result.Status == postrider.StatusSuccess) {
				t.Errorf("status %s with error %v", result.Status, err)
			}
			results[i] = result
		})
	}
	wg.Wait()
	if err := client.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if n := open.Load(); n != 0 {
		t.Errorf("%d connections are open after Close", n)
	}
	if n := most.Load(); n > connections {
		t.Errorf("%d connections at a time, want at most %d", n, connections)
	}
	// The server may still be taking in what was sent last.
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	if err := server.WaitSessionsClosed(ctx, server.Stats().Sessions); err != nil {
		t.Error(err)
	}
	reconcile(t, server, results, len(cfg.Retry.Delays) > 0, cfg.RetryUnknown)
}

// reconcile compares what the client says with what the server has.
func reconcile(t *testing.T, server *smtptest.Server, results []*postrider.Result, retries, retryUnknown bool) {
	t.Helper()
	copies := map[string]int{} // by Message-ID and recipient
	sums := map[string][32]byte{}
	for _, tx := range server.Transactions() {
		_, rest, _ := strings.Cut(tx.Text(), "Message-ID: ")
		id, _, _ := strings.Cut(rest, "\r\n")
		for _, to := range tx.Recipients() {
			copies[id+" "+to]++
		}
		if sum, ok := sums[id]; ok && sum != tx.Sum() {
			t.Errorf("%s was accepted with two contents", id)
		}
		sums[id] = tx.Sum()
	}
	for _, lint := range server.Lint() {
		t.Errorf("the server notes: %s", lint)
	}
	states := map[postrider.State]int{}
	for _, r := range results {
		for _, rcpt := range r.Recipients {
			states[rcpt.State]++
			key := r.MessageID + " " + rcpt.Address
			n := copies[key]
			delete(copies, key)
			least, most := 0, 0
			switch rcpt.State {
			case postrider.StateSent:
				least, most = 1, 1
			case postrider.StateUnknown:
				most = 1
			}
			if retryUnknown && most == 1 {
				most = 2
			}
			if n < least || n > most {
				t.Errorf("%s is %s and there are %d copies (%d attempts): %v", key, rcpt.State, n, rcpt.Attempts, rcpt.Err)
			}
		}
	}
	for key, n := range copies {
		t.Errorf("%d copies of %s, which nobody asked for", n, key)
	}
	// Without retries one failed dial at the start is an answer to all who wait for it.
	if retries && states[postrider.StateSent] < len(results)*2/3 {
		t.Errorf("only %d sent", states[postrider.StateSent])
	}
	stats := server.Stats()
	t.Logf("recipients %v; %d transactions accepted of %d, %d connections", states, stats.Accepted, stats.Attempts, stats.Sessions)
}

type countedConn struct {
	net.Conn
	open   *atomic.Int64
	closed sync.Once
}

func (c *countedConn) Close() error {
	err := errors.New("closed already")
	c.closed.Do(func() {
		c.open.Add(-1) // before: whoever waits for the socket's end may dial at once
		err = c.Conn.Close()
	})
	return err
}
