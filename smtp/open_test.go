package smtp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/sasl"
	"github.com/postrider/postrider/smtp/smtptest"
)

// tlsConfig is how to reach s with STARTTLS or implicit TLS.
func tlsConfig(s *smtptest.Server, mode smtp.TLSMode) smtp.Config {
	cfg := config(s)
	cfg.TLSMode, cfg.TLSConfig = mode, s.TLSClientConfig()
	if mode == smtp.TLSImplicit {
		cfg.Port = s.TLSPort()
	}
	return cfg
}

func alice(password string) *sasl.Credentials {
	return &sasl.Credentials{Username: "alice", Password: password}
}

// TestOpenFailure are the rows of the outcome table that come before MAIL.
func TestOpenFailure(t *testing.T) {
	t.Parallel()
	reply := smtptest.Reply
	users := map[string]string{"alice": "secret"}
	none, start, implicit := smtp.TLSNone, smtp.TLSStartTLS, smtp.TLSImplicit
	tests := []struct {
		name   string
		server smtptest.Config
		mode   smtp.TLSMode
		change func(*smtp.Config)
		phase  smtp.Phase
		class  smtp.Class
		code   int
		auth   bool
	}{
		{"4yz to connect", smtptest.Config{Rules: []smtptest.Rule{on("GREETING", "", reply("450 later"))}}, none, nil, smtp.PhaseGreeting, smtp.ClassTransient, 450, false},
		{"554 greeting", smtptest.Config{Rules: []smtptest.Rule{on("GREETING", "", reply("554 5.7.1 not you"))}}, none, nil, smtp.PhaseGreeting, smtp.ClassTransient, 554, false},
		{"421 greeting", smtptest.Config{Rules: []smtptest.Rule{on("GREETING", "", smtptest.Close421("full"))}}, none, nil, smtp.PhaseGreeting, smtp.ClassTransient, 421, false},
		{"greeting lost", smtptest.Config{Rules: []smtptest.Rule{on("GREETING", "", smtptest.Drop())}}, none, nil, smtp.PhaseGreeting, smtp.ClassTransient, 0, false},
		{"garbage greeting", smtptest.Config{Rules: []smtptest.Rule{on("GREETING", "", smtptest.Garbage())}}, none, nil, smtp.PhaseGreeting, smtp.ClassTransient, 0, false},
		{"4yz to EHLO", smtptest.Config{Rules: []smtptest.Rule{on("EHLO", "", reply("451 4.3.0 later"))}}, none, nil, smtp.PhaseGreeting, smtp.ClassTransient, 451, false},
		{"5yz to EHLO and HELO", smtptest.Config{Rules: []smtptest.Rule{on("EHLO", "", reply("550 bad name")), on("HELO", "", reply("550 bad name"))}}, none, nil, smtp.PhaseGreeting, smtp.ClassPermanent, 550, false},
		{"no STARTTLS offered", smtptest.Config{Without: []string{"STARTTLS"}}, start, nil, smtp.PhaseTLS, smtp.ClassRelay, 0, false},
		{"only HELO known", smtptest.Config{HELOOnly: true}, start, nil, smtp.PhaseTLS, smtp.ClassRelay, 0, false},
		{"454 to STARTTLS", smtptest.Config{Rules: []smtptest.Rule{on("STARTTLS", "", reply("454 4.7.0 no TLS now"))}}, start, nil, smtp.PhaseTLS, smtp.ClassTransient, 454, false},
		{"5yz to STARTTLS", smtptest.Config{Rules: []smtptest.Rule{on("STARTTLS", "", reply("502 no"))}}, start, nil, smtp.PhaseTLS, smtp.ClassRelay, 502, false},
		{"injection after STARTTLS", smtptest.Config{Rules: []smtptest.Rule{on("STARTTLS", "", smtptest.Sequence(reply("220 go"), smtptest.Write("250 injected\r\n")))}}, start, nil, smtp.PhaseTLS, smtp.ClassTransient, 0, false},
		{"handshake lost", smtptest.Config{Rules: []smtptest.Rule{on("CONNECT", "", smtptest.Drop())}}, implicit, nil, smtp.PhaseTLS, smtp.ClassTransient, 0, false},
		{"handshake with a plaintext server", smtptest.Config{}, implicit, func(c *smtp.Config) { c.Port = 0 }, smtp.PhaseTLS, smtp.ClassTransient, 0, false},
		{"certificate of an unknown authority", smtptest.Config{}, start, func(c *smtp.Config) { c.TLSConfig = nil }, smtp.PhaseTLS, smtp.ClassRelay, 0, false},
		{"certificate for another name", smtptest.Config{}, implicit, func(c *smtp.Config) { c.TLSConfig.ServerName = "mail.example.org" }, smtp.PhaseTLS, smtp.ClassRelay, 0, false},
		{"old TLS", smtptest.Config{TLSConfig: &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}, implicit, nil, smtp.PhaseTLS, smtp.ClassTransient, 0, false},
		{"535", smtptest.Config{Users: users}, start, func(c *smtp.Config) { c.Auth = alice("wrong") }, smtp.PhaseAuth, smtp.ClassRelay, 535, true},
		{"530", smtptest.Config{Users: users, Rules: []smtptest.Rule{on("AUTH", "", reply("530 5.7.0 first something else"))}}, start, func(c *smtp.Config) { c.Auth = alice("secret") }, smtp.PhaseAuth, smtp.ClassRelay, 530, true},
		{"538", smtptest.Config{Users: users, Rules: []smtptest.Rule{on("AUTH", "", reply("538 5.7.11 encrypt"))}}, start, func(c *smtp.Config) { c.Auth = alice("secret") }, smtp.PhaseAuth, smtp.ClassRelay, 538, true},
		{"454 to AUTH", smtptest.Config{Users: users, Rules: []smtptest.Rule{on("AUTH", "", reply("454 4.7.0 later"))}}, start, func(c *smtp.Config) { c.Auth = alice("secret") }, smtp.PhaseAuth, smtp.ClassTransient, 454, false},
		{"432 to AUTH", smtptest.Config{Users: users, Rules: []smtptest.Rule{on("AUTH", "", reply("432 4.7.12 change it"))}}, start, func(c *smtp.Config) { c.Auth = alice("secret") }, smtp.PhaseAuth, smtp.ClassTransient, 432, false},
		{"AUTH lost", smtptest.Config{Users: users, Rules: []smtptest.Rule{on("AUTH", "", smtptest.Drop())}}, start, func(c *smtp.Config) { c.Auth = alice("secret") }, smtp.PhaseAuth, smtp.ClassTransient, 0, false},
		{"AUTH not offered", smtptest.Config{}, start, func(c *smtp.Config) { c.Auth = alice("secret") }, smtp.PhaseAuth, smtp.ClassRelay, 0, true},
		{"challenge not base64", smtptest.Config{Users: users, Rules: []smtptest.Rule{on("AUTH", "", reply("334 ???"))}}, start, func(c *smtp.Config) { c.Auth = alice("secret") }, smtp.PhaseAuth, smtp.ClassRelay, 0, true},
		{"504 to AUTH", smtptest.Config{Users: users, Rules: []smtptest.Rule{on("AUTH", "", reply("504 5.5.4 unknown"))}}, start, func(c *smtp.Config) { c.Auth = alice("secret") }, smtp.PhaseAuth, smtp.ClassRelay, 504, true},
		{"lost after a challenge that is not base64", smtptest.Config{Users: users, Rules: []smtptest.Rule{on("AUTH", "", reply("334 ???")), on("AUTH-RESPONSE", "", smtptest.Drop())}}, start, func(c *smtp.Config) { c.Auth = alice("secret") }, smtp.PhaseAuth, smtp.ClassTransient, 0, false},
		{"challenges without end", smtptest.Config{Users: users, Mechanisms: []string{"XOAUTH2"}, Rules: []smtptest.Rule{on("AUTH", "", reply("334 e30=")), on("AUTH-RESPONSE", "*", reply("501 5.5.0 cancelled")), on("AUTH-RESPONSE", "", reply("334 e30="))}}, start, func(c *smtp.Config) {
			c.Auth = &sasl.Credentials{Username: "alice", Token: func(context.Context, bool) (string, error) { return "token", nil }}
		}, smtp.PhaseAuth, smtp.ClassRelay, 0, true},
		{"235 from a server that does not know the password", smtptest.Config{Users: users, Rules: []smtptest.Rule{on("AUTH", "", reply("235 2.7.0 welcome"))}}, start, func(c *smtp.Config) { c.Auth = alice("secret") }, smtp.PhaseAuth, smtp.ClassRelay, 0, true},
		{"HELO lost", smtptest.Config{Rules: []smtptest.Rule{on("EHLO", "", reply("502 what")), on("HELO", "", smtptest.Drop())}}, none, nil, smtp.PhaseGreeting, smtp.ClassTransient, 0, false},
		{"a check of the settings fails", smtptest.Config{}, start, func(c *smtp.Config) {
			c.TLSConfig.VerifyConnection = func(tls.ConnectionState) error { return x509.UnknownAuthorityError{} }
		}, smtp.PhaseTLS, smtp.ClassRelay, 0, false},
		{"handshake refused for no reason given", smtptest.Config{ClientAuth: tls.RequireAndVerifyClientCert, TLSConfig: &tls.Config{MaxVersion: tls.VersionTLS12}}, start, nil, smtp.PhaseTLS, smtp.ClassTransient, 0, false},
		{"no password without TLS", smtptest.Config{Users: users}, none, func(c *smtp.Config) { c.Auth = alice("secret") }, smtp.PhaseAuth, smtp.ClassRelay, 0, true},
		{"token source fails", smtptest.Config{Users: users}, start, func(c *smtp.Config) {
			c.Auth = &sasl.Credentials{Username: "alice", Token: func(context.Context, bool) (string, error) { return "", os.ErrPermission }}
		}, smtp.PhaseAuth, smtp.ClassTransient, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := smtptest.StartT(t, tt.server)
			cfg := tlsConfig(s, tt.mode)
			if tt.change != nil {
				tt.change(&cfg)
			}
			if cfg.Port == 0 {
				cfg.Port = s.Port()
			}
			var lines []string
			cfg.Trace = func(l smtp.TraceLine) { lines = append(lines, l.Dir+": "+l.Text) }
			c, err := newDialer(t, cfg).Dial(context.Background())
			if err == nil {
				c.Close()
				t.Fatal("no error")
			}
			e := asError(t, err)
			if e.Phase != tt.phase || e.Class != tt.class || e.Code != tt.code || smtp.IsAuth(err) != tt.auth {
				t.Errorf("phase %s, class %s, code %d, auth %v (%v)", e.Phase, e.Class, e.Code, smtp.IsAuth(err), err)
			}
			if all := err.Error() + strings.Join(lines, "\n"); strings.Contains(all, "secret") || strings.Contains(all, "AGFsaWNl") {
				t.Errorf("the password shows:\n%s", all)
			}
			if n := strings.Count(err.Error(), "\n"); n > 0 {
				t.Errorf("error of %d lines: %v", n+1, err)
			}
			if n := len(s.Transactions()); n > 0 {
				t.Errorf("%d transactions", n)
			}
			for _, cmd := range s.Commands() {
				if cmd.Verb == "MAIL" {
					t.Error("MAIL was said")
				}
			}
		})
	}
}

func TestDialFailure(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	for _, cfg := range []smtp.Config{
		{Host: "127.0.0.1", Port: port},
		{Host: "relay.invalid", Port: 25, Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.DNSError{Err: "no such host", Name: "relay.invalid", IsNotFound: true}
		}},
	} {
		_, err := newDialer(t, cfg).Dial(context.Background())
		if e := asError(t, err); e.Phase != smtp.PhaseDial || !smtp.IsTransient(err) {
			t.Errorf("phase %s, class %s", e.Phase, e.Class)
		}
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	for _, mode := range []smtp.TLSMode{smtp.TLSNone, smtp.TLSStartTLS, smtp.TLSImplicit} {
		for _, mech := range []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"} {
			t.Run(string(mode)+" "+mech, func(t *testing.T) {
				t.Parallel()
				s := smtptest.StartT(t, smtptest.Config{Users: map[string]string{"alice": "secret"}, Mechanisms: []string{mech}, RequireAuth: true})
				cfg := tlsConfig(s, mode)
				cfg.DangerouslyAllowPlaintextAuth = true
				cfg.Auth = &sasl.Credentials{Username: "alice", Password: "secret", Token: func(context.Context, bool) (string, error) { return "secret", nil }}
				c := dial(t, cfg)
				mustSend(t, c, bob(), text(hello))
				if c.AuthMechanism() != mech {
					t.Errorf("mechanism %q", c.AuthMechanism())
				}
				state, ok := c.TLSState()
				if ok != (mode != smtp.TLSNone) || ok && state.Version < tls.VersionTLS12 {
					t.Errorf("TLS %v, version %x", ok, state.Version)
				}
				if c.Greeting().Code != 220 {
					t.Errorf("greeting %v", c.Greeting())
				}
				if _, ok := c.Extension("chunking"); !ok || c.Extensions()["PIPELINING"] != "" {
					t.Errorf("extensions %v", c.Extensions())
				}
				if err := c.Quit(context.Background()); err != nil || !c.Closed() {
					t.Errorf("quit: %v", err)
				}
			})
		}
	}
}

// Capabilities learnt before TLS may have been forged.
func TestExtensionsAfterSTARTTLS(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{
		Extensions: []string{"STARTTLS", "PIPELINING", "CHUNKING", "SIZE 10"}, TLSExtensions: []string{"8BITMIME"},
	})
	c := dial(t, tlsConfig(s, smtp.TLSStartTLS))
	if got := c.Extensions(); len(got) != 1 {
		t.Errorf("extensions %v, want 8BITMIME only", got)
	}
	mustSend(t, c, bob(), text(hello))
}

func TestHELOFallback(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{HELOOnly: true})
	c := dial(t, config(s))
	mustSend(t, c, bob(), text(hello))
	if name, extended := s.Sessions()[0].Hello(); extended || name != "client.example.com" {
		t.Errorf("HELO %q, extended %v", name, extended)
	}
	if got := c.Extensions(); len(got) != 0 {
		t.Errorf("extensions %v", got)
	}
}

// TestTokenRefresh: a refused token is renewed once, on the same connection.
func TestTokenRefresh(t *testing.T) {
	t.Parallel()
	for _, mech := range []string{"XOAUTH2", "OAUTHBEARER"} {
		for _, fresh := range []string{"new", "also wrong"} {
			s := smtptest.StartT(t, smtptest.Config{Users: map[string]string{"alice": "new"}, Mechanisms: []string{mech}})
			var asked []bool
			cfg := tlsConfig(s, smtp.TLSStartTLS)
			cfg.Auth = &sasl.Credentials{Username: "alice", Token: func(_ context.Context, refresh bool) (string, error) {
				asked = append(asked, refresh)
				if refresh {
					return strings.ReplaceAll(fresh, " ", "-"), nil
				}
				return "old", nil
			}}
			c, err := newDialer(t, cfg).Dial(context.Background())
			if (err == nil) != (fresh == "new") {
				t.Errorf("%s, %s: %v", mech, fresh, err)
			}
			if err != nil && (!smtp.IsAuth(err) || asError(t, err).Code != 535) {
				t.Errorf("%s: %v", mech, err)
			}
			if !slices.Equal(asked, []bool{false, true}) || len(s.Sessions()) != 1 {
				t.Errorf("%s: asked %v on %d connections", mech, asked, len(s.Sessions()))
			}
			if c != nil {
				c.Close()
			}
		}
	}
}

// A wrong password is tried once: repeating it locks accounts.
func TestWrongPasswordOnce(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{Users: map[string]string{"alice": "secret"}})
	cfg := tlsConfig(s, smtp.TLSStartTLS)
	cfg.Auth = alice("wrong")
	_, err := newDialer(t, cfg).Dial(context.Background())
	n := 0
	for _, cmd := range s.Commands() {
		if cmd.Verb == "AUTH" {
			n++
		}
	}
	if err == nil || n != 1 {
		t.Errorf("%d AUTH commands, %v", n, err)
	}
}

// An initial response that does not fit the line follows the empty challenge.
func TestLongInitialResponse(t *testing.T) {
	t.Parallel()
	token := strings.Repeat("x", 9182) // the response has 12276 octets, AUTH and all 12291
	for _, size := range []int{100, len(token)} {
		s := smtptest.StartT(t, smtptest.Config{Users: map[string]string{"alice": token[:size]}, Mechanisms: []string{"XOAUTH2"}})
		cfg := tlsConfig(s, smtp.TLSStartTLS)
		cfg.Auth = &sasl.Credentials{Username: "alice", Token: func(context.Context, bool) (string, error) { return token[:size], nil }}
		mustSend(t, dial(t, cfg), bob(), text(hello))
		for _, cmd := range s.Commands() {
			if cmd.Verb == "AUTH" && strings.Contains(cmd.Arg, " ") != (size == 100) {
				t.Errorf("AUTH %s with a token of %d octets", cmd.Arg, size)
			}
		}
	}
}

// flights counts the groups in which the commands of the first session came.
func flights(s *smtptest.Server) int {
	seen := map[int]bool{}
	for _, cmd := range s.Sessions()[0].Commands() {
		switch cmd.Verb {
		case smtptest.CommandConnect, smtptest.CommandGreeting, smtptest.CommandContent, "":
		default:
			seen[cmd.Flight] = true
		}
	}
	return len(seen)
}

// The first message costs no more round trips than the handshakes require.
func TestFirstMessage(t *testing.T) {
	t.Parallel()
	for mode, want := range map[smtp.TLSMode]int{
		smtp.TLSNone:     3, // EHLO, AUTH, the message
		smtp.TLSImplicit: 3, // the same
		smtp.TLSStartTLS: 5, // STARTTLS and EHLO again
	} {
		s := smtptest.StartT(t, smtptest.Config{Users: map[string]string{"alice": "secret"}, Mechanisms: []string{"PLAIN"}})
		cfg := tlsConfig(s, mode)
		cfg.Auth, cfg.DangerouslyAllowPlaintextAuth = alice("secret"), true
		c := dial(t, cfg)
		for i := range 4 {
			mustSend(t, c, bob(), text(hello))
			if got := flights(s); got != want+i {
				t.Errorf("%s: %d flights after %d messages, want %d", mode, got, i+1, want+i)
			}
		}
	}
}

func TestSkipVerify(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{})
	cfg := tlsConfig(s, smtp.TLSStartTLS)
	cfg.TLSConfig, cfg.DangerouslySkipTLSVerify = nil, true
	mustSend(t, dial(t, cfg), bob(), text(hello))
}

func TestClientCertificate(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{ClientAuth: tls.RequireAndVerifyClientCert})
	cfg := tlsConfig(s, smtp.TLSImplicit)
	c, err := newDialer(t, cfg).Dial(context.Background())
	if !smtp.IsRelayFault(err) {
		t.Errorf("without certificate: %v", err)
	}
	if c != nil {
		c.Close()
	}
	cert, err := s.ClientCertificate("client.example.com")
	if err != nil {
		t.Fatal(err)
	}
	cfg.TLSConfig.Certificates = []tls.Certificate{cert}
	mustSend(t, dial(t, cfg), bob(), text(hello))
}

func TestSessionResumption(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{})
	d := newDialer(t, tlsConfig(s, smtp.TLSStartTLS))
	for i := range 2 {
		c, err := d.Dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		mustSend(t, c, bob(), text(hello)) // the ticket has come by now
		if state, _ := c.TLSState(); state.DidResume != (i > 0) {
			t.Errorf("connection %d: resumed %v", i, state.DidResume)
		}
		c.Close()
	}
}

func TestLocalName(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{})
	for name, want := range map[string]string{"": "", "büro.example.com": "xn--bro-hoa.example.com", "[192.0.2.1]": "[192.0.2.1]", "[IPv6:2001:db8::1]": "[IPv6:2001:db8::1]"} {
		cfg := config(s)
		cfg.LocalName = name
		c := dial(t, cfg)
		sessions := s.Sessions()
		got, _ := sessions[len(sessions)-1].Hello()
		if want == "" { // as the machine has a full name or not
			want = "[127.0.0.1]"
			if host, _ := os.Hostname(); got == host {
				want = host
			}
		}
		if got != want {
			t.Errorf("LocalName %q: EHLO %q", name, got)
		}
		c.Close()
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	_, err := smtp.NewDialer(smtp.Config{
		Host: "bad host", Port: 70000, TLSMode: "plain", LocalName: "a b", Auth: &sasl.Credentials{Username: "a", Password: "hidden\x00"},
		Timeouts: smtp.Timeouts{Dial: -1}, TLSConfig: &tls.Config{InsecureSkipVerify: true},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"bad host", "70000", "plain", `"a b"`, "password", "Dial", "InsecureSkipVerify"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not named in %v", part, err)
		}
	}
	if strings.Contains(err.Error(), "hidden") {
		t.Error("the password shows")
	}
	for _, name := range []string{"[192.0.2.1", "[x]", "[2001:db8::1]", "-a.example.com", "a\r\nMAIL"} {
		if _, err := smtp.NewDialer(smtp.Config{Host: "h", LocalName: name}); err == nil {
			t.Errorf("LocalName %q is taken", name)
		}
	}
	if _, err := smtp.NewDialer(smtp.Config{}); err == nil {
		t.Error("no host is taken")
	}
	var list interface{ Unwrap() []error }
	if !errors.As(err, &list) {
		t.Error("the faults are not joined")
	}
}
