package postrider_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/relaytest"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/retry"
	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtppool"
)

// TestRealMixedRecipients has one message with recipients of every fate. Who
// was accepted gets one copy however often the others are tried again.
func TestRealMixedRecipients(t *testing.T) {
	for _, discard := range [][]string{nil, {"chunking"}, {"chunking", "pipelining"}} {
		t.Run("without "+strings.Join(discard, " "), func(t *testing.T) {
			onReal(t, settings{
				reject: []string{"nobody@example.net"}, deferred: []string{"later@example.net"},
				replies: map[string]string{"full@example.net": "452 4.2.2 Mailbox full", "moved@example.net": "551 5.1.6 Gone away"},
				discard: discard,
			}, mixedRecipients)
		})
	}
}

func mixedRecipients(t *testing.T, srv realServer) {
	var said dialogue
	client := submit(t, srv, postrider.Config{Trace: said.trace})
	m := letter("nobody@example.net", "ann@example.net", "later@example.net")
	m.Cc = mail.Addrs("full@example.net", "bob@example.net")
	m.Bcc = mail.Addrs("moved@example.net", "eve@example.net")
	composed := compose(t, m, nil)
	result, err := client.SendComposed(t.Context(), composed)
	if result.Status != postrider.StatusPartial || !result.IsRetryable || result.RetryCount != 2 || err == nil {
		t.Fatalf("%+v: %v", result, err)
	}
	want := []struct {
		address  string
		state    postrider.State
		code     int
		enhanced string
		attempts int
	}{
		{"nobody@example.net", postrider.StateFailed, 550, "5.1.1", 1},
		{"ann@example.net", postrider.StateSent, 250, "", 1},
		{"later@example.net", postrider.StateDeferred, 451, "4.7.1", 3},
		{"full@example.net", postrider.StateDeferred, 452, "4.2.2", 3},
		{"bob@example.net", postrider.StateSent, 250, "", 1},
		{"moved@example.net", postrider.StateFailed, 551, "5.1.6", 1},
		{"eve@example.net", postrider.StateSent, 250, "", 1},
	}
	for i, w := range want {
		got := result.Recipients[i]
		if got.Address != w.address || got.State != w.state || got.Reply.Code != w.code || got.Attempts != w.attempts {
			t.Errorf("%s: state %s, code %d, %d attempts; want %+v", got.Address, got.State, got.Reply.Code, got.Attempts, w)
		}
		if w.enhanced != "" && got.Reply.Enhanced.String() != w.enhanced {
			t.Errorf("%s: enhanced code %s, want %s", got.Address, got.Reply.Enhanced, w.enhanced)
		}
		if w.state == postrider.StateSent {
			sameOctets(t, arrived(t, srv, w.address), composed)
		} else if n := len(srv.Messages(w.address)); n != 0 {
			t.Errorf("%s got %d messages", w.address, n)
		}
	}
	if n := len(result.RecipientFailures()); n != 4 {
		t.Errorf("%d failures: %v", n, result.RecipientFailures())
	}
	for _, address := range []string{"ann@", "nobody@", "moved@"} {
		if n := said.said("C", "RCPT TO:<"+address); n != 1 {
			t.Errorf("RCPT of %s was given %d times\n%s", address, n, &said)
		}
	}

	// The connections that met refusals serve the next message.
	if _, err := client.Send(t.Context(), letter("next@example.net")); err != nil {
		t.Errorf("%v\n%s", err, &said)
	}
	arrived(t, srv, "next@example.net")
}

// TestRealAllRefused has every recipient refused, with content on its way already.
func TestRealAllRefused(t *testing.T) {
	for _, discard := range [][]string{nil, {"chunking"}, {"chunking", "pipelining"}} {
		t.Run("without "+strings.Join(discard, " "), func(t *testing.T) {
			onReal(t, settings{reject: []string{"nobody@example.net", "none@example.net"}, discard: discard}, func(t *testing.T, srv realServer) {
				client := submit(t, srv, postrider.Config{})
				for range 2 {
					result, err := client.Send(t.Context(), letter("nobody@example.net", "none@example.net"))
					if result.Status != postrider.StatusRejected || result.SMTPCode != 550 || result.IsRetryable || len(result.Attempts) != 1 || !smtp.IsPermanent(err) {
						t.Errorf("%+v: %v", result, err)
					}
				}
				m := compose(t, letter("ann@example.net"), nil)
				if _, err := client.SendComposed(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				sameOctets(t, arrived(t, srv, "ann@example.net"), m)
			})
		})
	}
}

// TestRealGreylisting defers a recipient once and accepts it afterwards.
func TestRealGreylisting(t *testing.T) {
	// Exim defers until the gate exists; Postfix asks a policy server of ours.
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil { // Exim looks as another user
			t.Fatal(err)
		}
	}
	gate := filepath.Join(dir, "gate")
	var open atomic.Bool
	policy := policyServer(t, func(recipient string) string {
		if recipient == "grey@example.net" && !open.Load() {
			return "451 4.7.1 Come back"
		}
		return "DUNNO"
	})
	onReal(t, settings{
		postfix: map[string]string{"smtpd_recipient_restrictions": "check_policy_service inet:" + policy + ", permit_sasl_authenticated, reject"},
		exim: map[string]string{"acl_smtp_rcpt": "${if and{{eq{$local_part}{grey}}{!exists{" + gate + "}}}" +
			"{defer message = 451 4.7.1 Come back}{accept}}"},
	}, func(t *testing.T, srv realServer) {
		open.Store(false)
		_ = os.Remove(gate)
		client := submit(t, srv, postrider.Config{Trace: func(l smtp.TraceLine) {
			if l.Dir == "S" && strings.HasPrefix(l.Text, "451") {
				open.Store(true)
				if err := os.WriteFile(gate, nil, 0o644); err != nil {
					t.Error(err)
				}
			}
		}})
		result, err := client.Send(t.Context(), letter("ann@example.net", "grey@example.net"))
		if err != nil || result.RetryCount != 1 || result.Recipients[0].Attempts != 1 || result.Recipients[1].Attempts != 2 {
			t.Fatalf("%+v: %v\n%s", result, err, srv.Log())
		}
		for _, mailbox := range []string{"ann@example.net", "grey@example.net"} {
			arrived(t, srv, mailbox)
		}
	})
}

// policyServer answers Postfix's questions about recipients.
func policyServer(t *testing.T, decide func(recipient string) string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[c] = true
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				recipient := ""
				for s := bufio.NewScanner(c); s.Scan(); {
					if value, ok := strings.CutPrefix(s.Text(), "recipient="); ok {
						recipient = value
					}
					if s.Text() == "" {
						fmt.Fprintf(c, "action=%s\n\n", decide(recipient))
					}
				}
			})
		}
	})
	return l.Addr().String()
}

// TestRealTooManyRecipients sends to more recipients than the server takes in
// one transaction: the rest goes at once in further ones.
func TestRealTooManyRecipients(t *testing.T) {
	heavy(t)
	const limit, all = 100, 250
	onReal(t, settings{
		postfix: map[string]string{"smtpd_recipient_limit": fmt.Sprint(limit)},
		exim:    map[string]string{"recipients_max": fmt.Sprint(limit)},
	}, func(t *testing.T, srv realServer) {
		var said dialogue
		client := submit(t, srv, postrider.Config{
			Trace: said.trace, Retry: &retry.Schedule{}, Compose: mail.ComposeOptions{Limits: &mail.Limits{Recipients: -1}},
		})
		for _, n := range []int{limit, all} {
			m := letter()
			for i := range n {
				m.To = append(m.To, mail.Addr(fmt.Sprintf("r%d.of%d@example.net", i, n)))
			}
			result, err := client.Send(t.Context(), m)
			if err != nil || len(result.Attempts) != 1 {
				t.Fatalf("%d recipients: %d attempts: %v", n, len(result.Attempts), err)
			}
			for i := range n {
				arrived(t, srv, fmt.Sprintf("r%d.of%d@example.net", i, n))
			}
		}
		if n := said.said("C", "MAIL"); n != 1+3 {
			t.Errorf("%d transactions, want 1 and 3", n)
		}
	})
}

// TestRealAnnouncedSize fails before MAIL where SIZE says that it must.
func TestRealAnnouncedSize(t *testing.T) {
	onReal(t, settings{size: 100_000}, func(t *testing.T, srv realServer) {
		var said dialogue
		client := submit(t, srv, postrider.Config{Trace: said.trace})
		m := letter("ann@example.net")
		m.Attachments = []mail.Attachment{mail.BytesAttachment("big.bin", make([]byte, 100_000))}
		result, err := client.Send(t.Context(), m)
		if result.Status != postrider.StatusFailed || result.IsRetryable || !smtp.IsPermanent(err) {
			t.Errorf("%+v: %v", result, err)
		}
		if result.EnhancedCode.String() != "5.3.4" && !strings.Contains(err.Error(), "5.3.4") {
			t.Logf("no enhanced code 5.3.4: %v", err)
		}
		if n := said.said("C", "MAIL"); n != 0 {
			t.Errorf("%d MAIL commands\n%s", n, &said)
		}
		if _, err := client.Send(t.Context(), letter("ann@example.net")); err != nil {
			t.Errorf("the next message: %v", err)
		}
		arrived(t, srv, "ann@example.net")
	})
}

// TestRealSizeFoundOut has the server find only in the content that it is too large.
func TestRealSizeFoundOut(t *testing.T) {
	for _, discard := range [][]string{nil, {"chunking"}} {
		t.Run("without "+strings.Join(discard, " "), func(t *testing.T) {
			p := relaytest.StartPostfix(t, relaytest.PostfixConfig{MessageSizeLimit: 100_000, DiscardEHLO: append([]string{"size"}, discard...)})
			var said dialogue
			client := connect(t, "smtp://"+p.PlainAddr+"?tls=none", p, postrider.Config{Trace: said.trace})
			for _, size := range []int{90_000, 3 << 20} {
				m := letter("ann@example.net")
				m.Attachments = []mail.Attachment{mail.BytesAttachment("big.bin", make([]byte, size))}
				result, err := client.Send(t.Context(), m)
				if result.Status != postrider.StatusFailed || result.SMTPCode != 552 || result.IsRetryable || !smtp.IsPermanent(err) {
					t.Errorf("%d octets: %+v: %v\n%s", size, result, err, &said)
				}
			}
			m := compose(t, letter("ann@example.net"), nil)
			if _, err := client.SendComposed(t.Context(), m); err != nil {
				t.Errorf("the next message: %v", err)
			}
			sameOctets(t, arrived(t, p, "ann@example.net"), m)
		})
	}
}

// TestRealContentRefused has the server dislike what it read.
func TestRealContentRefused(t *testing.T) {
	for _, discard := range [][]string{nil, {"chunking"}, {"chunking", "pipelining"}} {
		t.Run("without "+strings.Join(discard, " "), func(t *testing.T) {
			onReal(t, settings{
				discard: discard,
				postfix: map[string]string{"header_checks": "regexp:{{/^Subject: refuse/ REJECT 5.7.1 not this}, {/^Subject: defer/ REJECT 4.7.1 not now}}"},
				exim: map[string]string{"acl_smtp_data": "${if match{$h_subject:}{^refuse}{deny message = 550 5.7.1 not this}" +
					"{${if match{$h_subject:}{^defer}{defer message = 450 4.7.1 not now}{accept}}}}"},
			}, contentRefused)
		})
	}
}

func contentRefused(t *testing.T, srv realServer) {
	client := submit(t, srv, postrider.Config{})
	for _, c := range []struct {
		subject, status, enhanced string
		code                      int
		attempts                  int
		question                  func(error) bool
	}{
		{"refuse", "failed", "5.7.1", 550, 1, smtp.IsPolicy},
		{"defer", "temp_failed", "4.7.1", 450, 3, smtp.IsTransient},
	} {
		for _, size := range []int{0, 200_000} {
			m := letter("ann@example.net", "bob@example.net")
			m.Subject = c.subject
			if size > 0 {
				m.Attachments = []mail.Attachment{mail.BytesAttachment("big.bin", make([]byte, size))}
			}
			result, err := client.Send(t.Context(), m)
			if string(result.Status) != c.status || result.EnhancedCode.String() != c.enhanced || len(result.Attempts) != c.attempts || !c.question(err) {
				t.Errorf("%s, %d octets: status %s, %s, %d attempts: %v", c.subject, size, result.Status, result.EnhancedCode, len(result.Attempts), err)
			}
			if result.SMTPCode/100 != c.code/100 {
				t.Errorf("%s: code %d, want %d", c.subject, result.SMTPCode, c.code)
			}
		}
	}
	m := compose(t, letter("ann@example.net"), nil)
	if _, err := client.SendComposed(t.Context(), m); err != nil {
		t.Errorf("the next message: %v", err)
	}
	sameOctets(t, arrived(t, srv, "ann@example.net"), m)
	if n := len(srv.Messages("bob@example.net")); n != 0 {
		t.Errorf("bob got %d messages", n)
	}
}

// TestRealLostReply loses the reply to the content: the message has arrived,
// the client cannot know, says so, and makes no second copy.
func TestRealLostReply(t *testing.T) {
	onReal(t, settings{}, func(t *testing.T, srv realServer) {
		proxy := relaytest.StartProxy(t, srv.plainAddr, 0)
		client := connect(t, "smtp://"+proxy.Addr+"?tls=none", srv, postrider.Config{
			Trace: func(l smtp.TraceLine) {
				if l.Dir == "C" && strings.HasPrefix(l.Text, "MAIL") {
					proxy.FreezeReplies()
				}
			},
			Pool: smtppool.Config{MaxConns: 1},
		})
		done := make(chan *postrider.Result)
		go func() {
			result, _ := client.Send(t.Context(), letter("ann@example.net"))
			done <- result
		}()
		arrived(t, srv, "ann@example.net")
		proxy.Cut()
		proxy.Resume()
		if result := <-done; result.Status != postrider.StatusUnknown || len(result.Attempts) != 1 {
			t.Errorf("%+v", result)
		}
		arrived(t, srv, "ann@example.net")
	})
}

// TestRealCutConnections cuts idle connections: the next message goes over a
// fresh one, in the same attempt, and there is one copy.
func TestRealCutConnections(t *testing.T) {
	onReal(t, settings{}, func(t *testing.T, srv realServer) {
		proxy := relaytest.StartProxy(t, srv.addr, 0)
		client := connect(t, "smtp://"+login()+proxy.Addr, srv, postrider.Config{})
		for i := range 3 {
			to := fmt.Sprintf("ann%d@example.net", i)
			result, err := client.Send(t.Context(), letter(to))
			if err != nil || len(result.Attempts) != 1 {
				t.Errorf("%d attempts: %v", len(result.Attempts), err)
			}
			arrived(t, srv, to)
			proxy.Cut()
		}
		if n := proxy.Counters().Connections; n != 3 {
			t.Errorf("%d connections, want 3", n)
		}
	})
}
