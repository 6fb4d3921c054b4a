package relaytest_test

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/xdg-go/scram"

	"github.com/postrider/postrider/internal/relaytest"
)

// cramClient is CRAM-MD5 (RFC 2195).
type cramClient struct{ user, password string }

func (cramClient) Start() (string, []byte, error) { return "CRAM-MD5", nil, nil }

func (c cramClient) Next(challenge []byte) ([]byte, error) {
	mac := hmac.New(md5.New, []byte(c.password))
	mac.Write(challenge)
	return []byte(c.user + " " + hex.EncodeToString(mac.Sum(nil))), nil
}

// scramClient is SCRAM (RFC 5802) by a library that is not ours.
type scramClient struct {
	name string
	conv *scram.ClientConversation
}

func newSCRAM(t *testing.T, name string, h func() hash.Hash, user, password string) scramClient {
	t.Helper()
	c, err := scram.HashGeneratorFcn(h).NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	return scramClient{name, c.NewConversation()}
}

func (c scramClient) Start() (string, []byte, error) {
	first, err := c.conv.Step("")
	return c.name, []byte(first), err
}

func (c scramClient) Next(challenge []byte) ([]byte, error) {
	answer, err := c.conv.Step(string(challenge))
	return []byte(answer), err
}

func TestMechanisms(t *testing.T) {
	s := settings{users: map[string]string{"alice": "geheim", "bob@example.com": "other"}}
	onEach(t, s, func(t *testing.T, srv server) {
		clients := []sasl.Client{
			sasl.NewPlainClient("", "bob@example.com", "other"),
			sasl.NewLoginClient("alice", "geheim"),
			cramClient{"alice", "geheim"},
			cramClient{"bob@example.com", "other"},
		}
		if _, ok := srv.mailServer.(*relaytest.Postfix); ok {
			clients = append(clients,
				newSCRAM(t, "SCRAM-SHA-1", sha1.New, "alice", "geheim"),
				newSCRAM(t, "SCRAM-SHA-256", sha256.New, "alice", "geheim"),
				newSCRAM(t, "SCRAM-SHA-256", sha256.New, "bob@example.com", "other"))
		}
		for _, client := range clients {
			c := srv.startTLS(t)
			if err := c.Auth(client); err != nil {
				t.Errorf("%T: %v\n%s", client, err, srv.Log())
			}
		}
	})
}

func TestOnlyTheseMechanisms(t *testing.T) {
	s := settings{users: map[string]string{"alice": "geheim"}, mechanisms: []string{"CRAM-MD5"}}
	onEach(t, s, func(t *testing.T, srv server) {
		if _, mechanisms := srv.startTLS(t).Extension("AUTH"); mechanisms != "CRAM-MD5" {
			t.Errorf("announced: %s", mechanisms)
		}
	})
}

func TestPostfixClientMessageRate(t *testing.T) {
	p := relaytest.StartPostfix(t, relaytest.PostfixConfig{ClientMessageRate: 2})
	c, err := smtp.Dial(p.PlainAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 {
		if err := c.SendMail("a@example.com", []string{"b@example.com"}, strings.NewReader(letter)); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, c.Mail("a@example.com", nil), 450, smtp.EnhancedCode{4, 7, 1})
}

func TestPostfixExtra(t *testing.T) {
	p := relaytest.StartPostfix(t, relaytest.PostfixConfig{Extra: map[string]string{
		"header_checks": "regexp:{{/^Subject: Hello/ REJECT 5.7.1 not this}}",
	}})
	c, err := smtp.Dial(p.PlainAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.SendMail("a@example.com", []string{"b@example.com"}, strings.NewReader(letter))
	wantCode(t, err, 550, smtp.EnhancedCode{5, 7, 1})
}
