package postrider_test

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/relaytest"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/smtp/smtptest"
	"github.com/postrider/postrider/smtppool"
)

// The delay of the line that the client is counted on. Turns are counted, not
// time: how often it waited for the server.
const line = 50 * time.Millisecond

// relayUnderCount is a server whose plain, STARTTLS and implicit TLS ports can
// be reached over the line.
type relayUnderCount struct {
	trusted
	plain, starttls, implicit string
	wait                      func(mailbox string)
}

// counted runs a test against the scripted server and real Postfix.
func counted(t *testing.T, without []string, test func(t *testing.T, r relayUnderCount)) {
	t.Run("smtptest", func(t *testing.T) {
		t.Parallel()
		s := smtptest.StartT(t, smtptest.Config{Without: without, Users: map[string]string{user: password}})
		test(t, relayUnderCount{fakeServer{s}, s.Addr(), s.Addr(), s.TLSAddr(), nil})
	})
	t.Run("postfix", func(t *testing.T) {
		t.Parallel()
		discard := make([]string, len(without))
		for i, keyword := range without {
			discard[i] = strings.ToLower(keyword)
		}
		p := relaytest.StartPostfix(t, relaytest.PostfixConfig{Users: map[string]string{user: password}, DiscardEHLO: discard})
		test(t, relayUnderCount{p, p.PlainAddr, p.Addr, p.TLSAddr, func(mailbox string) { arrived(t, p, mailbox) }})
	})
}

// TestRoundTripsOfTheFirstMessage counts what opening costs: a turn each for
// greeting, EHLO, STARTTLS, TLS handshake, EHLO after it, AUTH, and the message.
// The TCP handshake, which the proxy does not count, comes on top.
func TestRoundTripsOfTheFirstMessage(t *testing.T) {
	counted(t, nil, func(t *testing.T, r relayUnderCount) {
		for _, c := range []struct {
			name, scheme, target, query string
			turns                       int
		}{
			{"plain", "smtp", r.plain, "?tls=none&auth=PLAIN", 4},
			{"STARTTLS", "smtp", r.starttls, "?auth=PLAIN", 7},
			{"implicit TLS", "smtps", r.implicit, "?auth=PLAIN", 5},
		} {
			t.Run(c.name, func(t *testing.T) {
				proxy := relaytest.StartProxy(t, c.target, line)
				client := connect(t, c.scheme+"://"+login()+proxy.Addr+c.query, r, postrider.Config{DangerouslyAllowPlaintextAuth: true})
				mailbox := strings.Fields(c.name)[0] + "@example.net"
				result, err := client.Send(t.Context(), letter(mailbox))
				if err != nil {
					t.Fatal(err)
				}
				if n := proxy.Turns(); n > c.turns {
					t.Errorf("%d turns for the first message, want %d", n, c.turns)
				} else if n < c.turns {
					t.Logf("%d turns for the first message, %d were allowed", n, c.turns)
				}
				if result.Attempts[0].RoundTrips != 1 {
					t.Errorf("the client says %d round trips for the transaction", result.Attempts[0].RoundTrips)
				}
				if r.wait != nil {
					r.wait(mailbox)
				}
			})
		}
	})
}

// TestRoundTripsOnAWarmConnection counts messages after the first.
func TestRoundTripsOnAWarmConnection(t *testing.T) {
	for _, c := range []struct {
		name    string
		without []string
		turns   int
	}{
		{"CHUNKING", nil, 1},
		{"PIPELINING only", []string{"CHUNKING"}, 2},
		{"neither", []string{"CHUNKING", "PIPELINING"}, 5}, // MAIL, 2 RCPT, DATA, content
	} {
		t.Run(c.name, func(t *testing.T) {
			counted(t, c.without, func(t *testing.T, r relayUnderCount) {
				proxy := relaytest.StartProxy(t, r.starttls, line)
				client := connect(t, "smtp://"+login()+proxy.Addr+"?auth=PLAIN", r, postrider.Config{Pool: smtppool.Config{MaxConns: 1}})
				if _, err := client.Send(t.Context(), letter("first@example.net")); err != nil {
					t.Fatal(err)
				}
				for _, size := range []int64{1 << 10, 16 << 10, 64 << 10} {
					m := composedOf(t, size, fmt.Sprintf("a%d@example.net", size), fmt.Sprintf("b%d@example.net", size))
					before := proxy.Turns()
					result, err := client.SendComposed(t.Context(), m)
					if err != nil {
						t.Fatal(err)
					}
					if n := proxy.Turns() - before; n != c.turns || result.Attempts[0].RoundTrips != c.turns {
						t.Errorf("%d octets: %d turns, the client says %d, want %d", m.Size(), n, result.Attempts[0].RoundTrips, c.turns)
					}
				}
				if n := proxy.Counters().Connections; n != 1 {
					t.Errorf("%d connections", n)
				}
			})
		})
	}
}

// composedOf makes a message of exactly so many octets that nothing compresses.
func composedOf(t *testing.T, size int64, to ...string) *mail.Composed {
	t.Helper()
	text := strings.Repeat(rand.Text()+rand.Text()+"\r\n", int(size)/54+1)
	for n := int(size); ; n-- {
		m := letter(to...)
		m.Text = text[:min(n, len(text))]
		c := compose(t, m, nil)
		if c.Size() <= size {
			if c.Size() < size-200 {
				t.Fatalf("composed %d octets, wanted %d", c.Size(), size)
			}
			return c
		}
		n = min(n, int(size-(c.Size()-int64(n)))+1)
	}
}

// TestRoundTripsAfterARefusal shows that the RSET after a refused message, and
// an idle time, cost no round trip.
func TestRoundTripsAfterARefusal(t *testing.T) {
	s := smtptest.StartT(t, smtptest.Config{Rules: []smtptest.Rule{on("RCPT", "nobody@", smtptest.Reply("550 5.1.1 no such user"))}})
	proxy := relaytest.StartProxy(t, s.Addr(), line)
	client := connect(t, "smtp://"+proxy.Addr, fakeServer{s}, postrider.Config{})
	for i, to := range []string{"ann@example.net", "nobody@example.net", "ann@example.net"} {
		before := proxy.Turns()
		_, err := client.Send(t.Context(), letter(to))
		if (err != nil) != (to == "nobody@example.net") {
			t.Fatal(err)
		}
		if n := proxy.Turns() - before; i > 0 && n != 1 {
			t.Errorf("message %d to %s: %d turns, want 1", i, to, n)
		}
	}
	verbs := []string{}
	for _, c := range s.Commands() {
		verbs = append(verbs, c.Verb)
	}
	if slices.Contains(verbs, "NOOP") || proxy.Counters().Connections != 1 {
		t.Errorf("%d connections: %v", proxy.Counters().Connections, verbs)
	}
}
