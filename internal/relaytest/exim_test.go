package relaytest_test

import (
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/postrider/postrider/internal/relaytest"
)

func TestEximSTARTTLSAndAuth(t *testing.T) {
	server := relaytest.StartExim(t, relaytest.EximConfig{Users: map[string]string{"alice": "geheim"}})
	c, err := smtp.DialStartTLS(server.Addr, server.TLSConfig())
	if err != nil {
		t.Fatal(err, server.Log())
	}
	defer c.Close()
	if err := c.Auth(sasl.NewPlainClient("", "alice", "geheim")); err != nil {
		t.Fatalf("auth: %v\n%s", err, server.Log())
	}
	for _, ext := range []string{"CHUNKING", "PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE"} {
		if ok, _ := c.Extension(ext); !ok {
			t.Errorf("%s is not announced", ext)
		}
	}
	_, mechs := c.Extension("AUTH")
	t.Log(mechs)
	if err := c.SendMail("alice@example.com", []string{"bob@example.com"}, strings.NewReader(letter)); err != nil {
		t.Fatal(err)
	}
	got, err := server.WaitMessages(waitContext(t), "Bob@example.com", 1)
	if err != nil {
		t.Fatalf("%v\n%s", err, server.Log())
	}
	if text := string(relaytest.WithoutTrace(got[0])); text != letter {
		t.Errorf("arrived %q, sent %q", text, letter)
	}
}
