package smtptest_test

import (
	"crypto/tls"
	"encoding/base64"
	"net"
	netsmtp "net/smtp"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"github.com/xdg-go/scram"

	"github.com/postrider/postrider/smtp/smtptest"
)

func authServer(t *testing.T) *smtptest.Server {
	t.Helper()
	return smtptest.StartT(t, smtptest.Config{RequireAuth: true, Users: map[string]string{"ann": "secret"}})
}

// TestAuthNetSMTP authenticates with the standard library's mechanisms.
func TestAuthNetSMTP(t *testing.T) {
	srv := authServer(t)
	for mechanism, good := range map[string]netsmtp.Auth{
		"PLAIN":    netsmtp.PlainAuth("", "ann", "secret", "localhost"),
		"CRAM-MD5": netsmtp.CRAMMD5Auth("ann", "secret"),
	} {
		c := netClient(t, srv)
		if err := c.Auth(good); err != nil {
			t.Fatal(mechanism, err)
		}
		sessions := srv.Sessions()
		user, used := sessions[len(sessions)-1].User()
		if user != "ann" || used != mechanism {
			t.Errorf("user %q by %q", user, used)
		}
		if state, ok := sessions[len(sessions)-1].TLS(); !ok || state.ServerName != "localhost" {
			t.Errorf("TLS %v, server name %q", ok, state.ServerName)
		}
	}
	srv.SetUser("ann", "changed")
	for _, bad := range []netsmtp.Auth{
		netsmtp.PlainAuth("", "ann", "secret", "localhost"),
		netsmtp.CRAMMD5Auth("ann", "secret"),
	} {
		if err := netClient(t, srv).Auth(bad); err == nil || !strings.Contains(err.Error(), "5.7.8") {
			t.Errorf("got %v, want 535", err)
		}
	}
}

// netClient connects the standard library's client with STARTTLS.
func netClient(t *testing.T, srv *smtptest.Server) *netsmtp.Client {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c, err := netsmtp.NewClient(conn, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.StartTLS(srv.TLSClientConfig()); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestAuthGoSMTP authenticates with go-sasl's mechanisms, over implicit TLS.
func TestAuthGoSMTP(t *testing.T) {
	srv := authServer(t)
	tests := []struct {
		name string
		c    sasl.Client
		ok   bool
	}{
		{"PLAIN", sasl.NewPlainClient("", "ann", "secret"), true},
		{"LOGIN", sasl.NewLoginClient("ann", "secret"), true},
		{"LOGIN", sasl.NewLoginClient("ann", "wrong"), false},
		{"OAUTHBEARER", sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: "ann", Token: "secret", Host: "localhost", Port: 465}), true},
		{"OAUTHBEARER", sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: "ann", Token: "stale"}), false},
	}
	for _, tt := range tests {
		c, err := gosmtp.DialTLS(srv.TLSAddr(), srv.TLSClientConfig())
		if err != nil {
			t.Fatal(err)
		}
		err = c.Auth(tt.c)
		if tt.ok && err != nil || !tt.ok && (err == nil || !strings.Contains(err.Error(), "535")) {
			// go-sasl gives an error of its own for a refused token.
			if tt.ok || err == nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		sessions := srv.Sessions()
		if user, used := sessions[len(sessions)-1].User(); tt.ok && (user != "ann" || used != tt.name) {
			t.Errorf("user %q by %q, want %q", user, used, tt.name)
		}
		_ = c.Close()
	}
}

// TestAuthSCRAM checks both sides' proofs.
func TestAuthSCRAM(t *testing.T) {
	srv := authServer(t)
	for name, h := range map[string]scram.HashGeneratorFcn{"SCRAM-SHA-1": scram.SHA1, "SCRAM-SHA-256": scram.SHA256} {
		for password, want := range map[string]string{"secret": "235", "wrong": "535"} {
			client, err := h.NewClient("ann", password, "")
			if err != nil {
				t.Fatal(err)
			}
			conversation := client.NewConversation()
			first, err := conversation.Step("")
			if err != nil {
				t.Fatal(err)
			}
			x := hello(t, srv)
			x.send("AUTH " + name + " " + base64.StdEncoding.EncodeToString([]byte(first)) + "\r\n")
			for {
				line := x.reply()[0]
				challenge, more := strings.CutPrefix(line, "334 ")
				if !more {
					if !strings.HasPrefix(line, want) || conversation.Valid() != (want == "235") {
						t.Errorf("%s, %s: %q", name, password, line)
					}
					break
				}
				raw, err := base64.StdEncoding.DecodeString(challenge)
				if err != nil {
					t.Fatal(err)
				}
				next, err := conversation.Step(string(raw))
				if err != nil {
					t.Fatal(err)
				}
				x.send(base64.StdEncoding.EncodeToString([]byte(next)) + "\r\n")
			}
		}
	}
}

func TestAuthXOAUTH2(t *testing.T) {
	srv := authServer(t)
	enc := func(token string) string {
		return base64.StdEncoding.EncodeToString([]byte("user=ann\x01auth=Bearer " + token + "\x01\x01"))
	}
	x := hello(t, srv)
	x.talk("AUTH XOAUTH2 "+enc("stale"), "334 ey")
	x.talk("", "535 5.7.8")
	x.talk("AUTH XOAUTH2", "334")
	x.talk(enc("secret"), "235")
}

// TestAuthScripted plays an exchange that no mechanism knows.
func TestAuthScripted(t *testing.T) {
	srv := authServer(t)
	srv.On(smtptest.Rule{Command: "AUTH", Match: "FOO", Action: smtptest.Reply("334 Zm9v")})
	srv.On(smtptest.Rule{Command: smtptest.CommandAuthResponse, Nth: 1, Action: smtptest.Reply("334 YmFy")})
	srv.On(smtptest.Rule{Command: smtptest.CommandAuthResponse, Nth: 2, Action: smtptest.Reply("235 2.7.0 ok")})
	x := hello(t, srv)
	x.talk("AUTH FOO", "334 Zm9v")
	x.talk("eA==", "334 YmFy")
	x.talk("eA==", "235")
	x.talk("MAIL FROM:<a@example.com>", "250")
	for _, c := range srv.Commands() {
		if strings.Contains(c.Arg, "eA==") {
			t.Errorf("the log has a secret: %v", c)
		}
	}
}

// TestExtensionsChange offers other extensions under TLS.
func TestExtensionsChange(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{
		Extensions:    []string{"STARTTLS", "XBEFORE"},
		TLSExtensions: []string{"STARTTLS", "PIPELINING", "AUTH", "REQUIRETLS", "XAFTER 1 2"},
		Users:         map[string]string{"ann": "secret"}, Mechanisms: []string{"PLAIN", "LOGIN"},
		Without: []string{"pipelining"},
	})
	c := netClient(t, srv)
	for keyword, want := range map[string]string{"AUTH": "PLAIN LOGIN", "REQUIRETLS": "", "XAFTER": "1 2"} {
		if ok, params := c.Extension(keyword); !ok || params != want {
			t.Errorf("%s: %v %q", keyword, ok, params)
		}
	}
	for _, keyword := range []string{"STARTTLS", "XBEFORE", "PIPELINING"} {
		if ok, _ := c.Extension(keyword); ok {
			t.Errorf("%s is offered", keyword)
		}
	}
}

// TestClientCertificate records what the client showed.
func TestClientCertificate(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{ClientAuth: tls.RequireAndVerifyClientCert})
	cert, err := srv.ClientCertificate("client.example")
	if err != nil {
		t.Fatal(err)
	}
	cfg := srv.TLSClientConfig()
	if c, err := gosmtp.DialTLS(srv.TLSAddr(), cfg); err == nil {
		if c.Hello("x") == nil {
			t.Error("no certificate, and yet a session")
		}
		_ = c.Close()
	}
	cfg.Certificates = []tls.Certificate{cert}
	c, err := gosmtp.DialTLS(srv.TLSAddr(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Hello("x"); err != nil {
		t.Fatal(err)
	}
	state, ok := srv.Sessions()[1].TLS()
	if !ok || len(state.PeerCertificates) != 1 || state.PeerCertificates[0].Subject.CommonName != "client.example" {
		t.Errorf("TLS state %v %+v", ok, state)
	}
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
}

// TestPipelinedIntoTLS sends a command behind STARTTLS in the clear: it must
// not be obeyed under TLS.
func TestPipelinedIntoTLS(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	x := hello(t, srv)
	x.send("STARTTLS\r\nRSET\r\n")
	x.expect("220")
	c := tls.Client(x.c, srv.TLSClientConfig())
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	y := wrap(t, c)
	y.talk("MAIL FROM:<a@example.com>", "503 EHLO")
	y.talk("EHLO x", "250")
	y.talk("QUIT", "221")
	if l := srv.Lint(); len(l) != 1 || l[0].Kind != smtptest.LintPipelinedPast {
		t.Errorf("lint %v", l)
	}
	for _, c := range srv.Commands() {
		if c.Verb == "RSET" {
			t.Error("RSET was obeyed")
		}
	}
}
