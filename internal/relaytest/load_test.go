package relaytest_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postrider/postrider/internal/relaytest"
)

// More connections than Postfix takes from one address by default.
func TestManyConnections(t *testing.T) {
	const clients, each = 60, 2
	onEach(t, settings{}, func(t *testing.T, srv server) {
		var wg sync.WaitGroup
		for n := range clients {
			wg.Go(func() {
				c, err := smtp.Dial(srv.plainAddr)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				for range each {
					to := []string{"all@example.com", fmt.Sprintf("n%d@example.com", n)}
					if err := c.SendMail("a@example.com", to, strings.NewReader(letter)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		got, err := srv.WaitMessages(waitContext(t), "all@example.com", clients*each)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != clients*each {
			t.Errorf("%d messages", len(got))
		}
		for n := range clients {
			if _, err := srv.WaitMessages(waitContext(t), fmt.Sprintf("n%d@example.com", n), each); err != nil {
				t.Error(err)
			}
		}
	})
}

// lostReply freezes a proxy's replies when the content has been read, before
// the client can send the final dot.
type lostReply struct {
	io.Reader
	proxy *relaytest.Proxy
}

func (r lostReply) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		r.proxy.FreezeReplies()
	}
	return n, err
}

// The proxy makes the case in which a client must not send again: the server
// has taken the message and its reply is lost (RFC 5321 §4.5.3.2.6).
func TestProxyLosesFinalReply(t *testing.T) {
	onEach(t, settings{}, func(t *testing.T, srv server) {
		proxy := relaytest.StartProxy(t, srv.plainAddr, time.Millisecond)
		conn, err := net.Dial("tcp", proxy.Addr)
		if err != nil {
			t.Fatal(err)
		}
		c := smtp.NewClient(conn)
		defer c.Close()
		sent := make(chan error, 1)
		go func() {
			sent <- c.SendMail("a@example.com", []string{"bob@example.com"}, lostReply{strings.NewReader(letter), proxy})
		}()
		srv.one(t, "bob@example.com")
		proxy.Cut()
		if err := <-sent; err == nil {
			t.Error("the client got the final reply")
		}
	})
}
