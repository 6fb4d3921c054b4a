package postrider_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/relaytest"
	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtppool"
)

// TestRealCutsAtAnyMoment cuts the connections to a real server again and
// again while many senders use them. What the client says of each message
// must agree with what is in its mailbox.
func TestRealCutsAtAnyMoment(t *testing.T) {
	heavy(t)
	for _, discard := range [][]string{nil, {"chunking"}} {
		t.Run("without "+strings.Join(discard, " "), func(t *testing.T) {
			onReal(t, settings{discard: discard}, cutsAtAnyMoment)
		})
	}
}

func cutsAtAnyMoment(t *testing.T, srv realServer) {
	const senders, each = 20, 10
	proxy := relaytest.StartProxy(t, srv.plainAddr, 0)
	client := connect(t, "smtp://"+proxy.Addr+"?tls=none", srv, postrider.Config{
		Retry: quick(6),
		Pool: smtppool.Config{MaxConns: 5, Backoff: smtppool.Backoff{
			Min: 1, Max: 1, RelayMin: 1, RelayMax: 1,
		}},
		Trace: func(l smtp.TraceLine) {
			// Once in 150 lines all connections go, whatever each is doing.
			if l.Dir != "*" && rand.IntN(150) == 0 {
				proxy.Cut()
			}
		},
	})
	results := make([]*postrider.Result, senders*each)
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := s * each; i < (s+1)*each; i++ {
				m := letter(fmt.Sprintf("to%d@example.net", i))
				if i%10 == 0 {
					m.Text = strings.Repeat(strings.Repeat("x", 70)+"\n", 1500)
				}
				results[i], _ = client.Send(t.Context(), m)
			}
		})
	}
	wg.Wait()
	states := map[postrider.State]int{}
	for i, r := range results {
		mailbox := r.Recipients[0].Address
		states[r.Recipients[0].State]++
		switch r.Recipients[0].State {
		case postrider.StateSent:
			arrived(t, srv, mailbox)
		case postrider.StateUnknown:
			if n := len(srv.Messages(mailbox)); n > 1 {
				t.Errorf("message %d is unknown and there are %d copies", i, n)
			}
		default:
			if n := len(srv.Messages(mailbox)); n > 0 {
				t.Errorf("message %d is %s and there are %d copies: %v", i, r.Status, n, r.Err())
			}
		}
	}
	t.Logf("%v over %d connections", states, proxy.Counters().Connections)
}
