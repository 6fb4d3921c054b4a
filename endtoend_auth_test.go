package postrider_test

import (
	"context"
	"crypto/tls"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/sasl"
)

// TestRealAuthentication logs in with each mechanism that the server offers,
// after STARTTLS and with TLS from the start, and has a message arrive.
func TestRealAuthentication(t *testing.T) {
	mechanisms := map[string][]string{
		"postfix": {sasl.ScramSHA256, sasl.ScramSHA1, sasl.CramMD5, sasl.Plain, sasl.Login},
		"exim":    {sasl.CramMD5, sasl.Plain, sasl.Login},
	}
	onReal(t, settings{}, func(t *testing.T, srv realServer) {
		for _, mode := range []struct{ name, scheme, addr string }{
			{"starttls", "smtp", srv.addr},
			{"implicit", "smtps", srv.tlsAddr},
		} {
			for i, mechanism := range append(mechanisms[srv.kind], "") {
				name, query := mechanism, "?auth="+mechanism
				if mechanism == "" {
					name, query, mechanism = "best", "", mechanisms[srv.kind][0]
				}
				t.Run(mode.name+" "+name, func(t *testing.T) {
					client := connect(t, mode.scheme+"://"+login()+mode.addr+query, srv, postrider.Config{})
					to := mode.name + string(rune('a'+i)) + "@example.net"
					m := compose(t, letter(to), nil)
					result, err := client.SendComposed(t.Context(), m)
					if err != nil || result.Status != postrider.StatusSuccess || result.SMTPCode != 250 {
						t.Fatalf("%+v: %v", result, err)
					}
					stored := arrived(t, srv, to)
					sameOctets(t, stored, m)
					// RFC 3848: ESMTPSA is ESMTP with TLS and authentication.
					if !strings.Contains(strings.ToLower(string(stored)), "with esmtpsa") {
						t.Errorf("not received with TLS and authentication:\n%s", stored)
					}
					report, err := client.Check(t.Context())
					if err != nil || report.AuthMechanism != mechanism || report.TLS == nil {
						t.Errorf("%+v: %v", report, err)
					}
				})
			}
		}
	})
}

// TestRealWrongPassword has many senders with one wrong password: each gets a
// plain answer, and the server sees one attempt, since more may lock the account.
func TestRealWrongPassword(t *testing.T) {
	onReal(t, settings{}, func(t *testing.T, srv realServer) {
		var said dialogue
		client := connect(t, "smtp://"+url.UserPassword(user, "hunter2").String()+"@"+srv.addr+"?auth=PLAIN", srv, postrider.Config{Trace: said.trace})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				result, err := client.Send(t.Context(), letter("ann@example.net"))
				if result.Status != postrider.StatusFailed || result.SMTPCode != 535 || !smtp.IsAuth(err) || smtp.IsTransient(err) {
					t.Errorf("status %s, code %d: %v", result.Status, result.SMTPCode, err)
				}
				if strings.Contains(err.Error(), "hunter2") {
					t.Errorf("the error shows the password: %v", err)
				}
			})
		}
		wg.Wait()
		if n := said.said("C", "AUTH"); n != 1 {
			t.Errorf("%d AUTH commands, want 1\n%s", n, &said)
		}
		if strings.Contains(said.String(), "hunter2") {
			t.Errorf("the trace shows the password:\n%s", &said)
		}
		// Postfix: "SASL PLAIN authentication failed"; Exim: "plain authenticator
		// failed", once in its main log and once in its reject log.
		failed := func(log string) int {
			return strings.Count(log, "authentication failed") + strings.Count(log, "authenticator failed")
		}
		want := map[string]int{"postfix": 1, "exim": 2}[srv.kind]
		log := waitLog(t, srv, func(log string) bool { return failed(log) >= want })
		if n := failed(log); n != want {
			t.Errorf("the server noted %d failures, want %d:\n%s", n, want, log)
		}
	})
}

// TestRealNoPasswordInClear meets a server that offers AUTH without TLS.
func TestRealNoPasswordInClear(t *testing.T) {
	onReal(t, settings{}, func(t *testing.T, srv realServer) {
		for _, mechanism := range []string{"", "PLAIN", "LOGIN", "CRAM-MD5"} {
			var said dialogue
			query := "?tls=none"
			if mechanism != "" {
				query += "&auth=" + mechanism
			}
			client := connect(t, "smtp://"+login()+srv.plainAddr+query, srv, postrider.Config{Trace: said.trace})
			result, err := client.Send(t.Context(), letter("ann@example.net"))
			if result.Status != postrider.StatusFailed || !smtp.IsRelayFault(err) {
				t.Errorf("%q: status %s: %v", mechanism, result.Status, err)
			}
			if n := said.said("C", "AUTH"); n != 0 {
				t.Errorf("%q: %d AUTH commands in clear\n%s", mechanism, n, &said)
			}
		}
		allowed := connect(t, "smtp://"+login()+srv.plainAddr+"?tls=none&auth=PLAIN", srv, postrider.Config{DangerouslyAllowPlaintextAuth: true})
		if _, err := allowed.Send(t.Context(), letter("ann@example.net")); err != nil {
			t.Error(err)
		}
		arrived(t, srv, "ann@example.net")
	})
}

// TestRealPlain sends without TLS and without a user, where that is what the URL says.
func TestRealPlain(t *testing.T) {
	onReal(t, settings{}, func(t *testing.T, srv realServer) {
		client := connect(t, "smtp://"+srv.plainAddr+"?tls=none", srv, postrider.Config{})
		m := compose(t, letter("ann@example.net"), nil)
		if _, err := client.SendComposed(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		sameOctets(t, arrived(t, srv, "ann@example.net"), m)
	})
}

// TestRealNoSTARTTLS never falls back to plain text.
func TestRealNoSTARTTLS(t *testing.T) {
	onReal(t, settings{discard: []string{"starttls"}}, func(t *testing.T, srv realServer) {
		var said dialogue
		result, err := submit(t, srv, postrider.Config{Trace: said.trace}).Send(t.Context(), letter("ann@example.net"))
		if result.Status == postrider.StatusSuccess || err == nil || said.said("C", "MAIL")+said.said("C", "AUTH") != 0 {
			t.Errorf("status %s: %v\n%s", result.Status, err, &said)
		}
	})
}

// TestRealForeignCertificate gives nothing to a server that is not the one meant.
func TestRealForeignCertificate(t *testing.T) {
	onReal(t, settings{}, func(t *testing.T, srv realServer) {
		var said dialogue
		for _, cfg := range []*tls.Config{{}, {RootCAs: srv.TLSConfig().RootCAs, ServerName: "mail.example.com"}} {
			client := submit(t, srv, postrider.Config{TLSConfig: cfg, Trace: said.trace})
			result, err := client.Send(t.Context(), letter("ann@example.net"))
			if result.Status != postrider.StatusFailed || !smtp.IsRelayFault(err) || result.Attempts[0].Phase != smtp.PhaseTLS {
				t.Errorf("%+v: %v", result, err)
			}
		}
		if said.said("C", "AUTH")+said.said("C", "MAIL") != 0 {
			t.Errorf("went on with an unknown server:\n%s", &said)
		}
	})
}

// TestRealContext ends a send that waits for a server which does not answer.
func TestRealContext(t *testing.T) {
	onReal(t, settings{}, func(t *testing.T, srv realServer) {
		ctx, cancel := context.WithCancel(t.Context())
		client := submit(t, srv, postrider.Config{Trace: func(l smtp.TraceLine) {
			if l.Dir == "C" && strings.HasPrefix(l.Text, "AUTH") {
				cancel()
			}
		}})
		result, err := client.Send(ctx, letter("ann@example.net"))
		if result.Status != postrider.StatusRetry || err == nil {
			t.Errorf("%+v: %v", result, err)
		}
		if _, err := client.Send(t.Context(), letter("ann@example.net")); err != nil {
			t.Errorf("the client is of no use afterwards: %v", err)
		}
		arrived(t, srv, "ann@example.net")
	})
}
