package smtp_test

import (
	"context"
	"encoding/base64"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/sasl"
	"github.com/postrider/postrider/smtp/smtptest"
)

// tracer gathers a trace as text.
type tracer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (tr *tracer) line(l smtp.TraceLine) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.b.WriteString(l.Dir + ": " + l.Text + "\n")
}

func (tr *tracer) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.b.String()
}

func TestTrace(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{Extensions: []string{"PIPELINING", "CHUNKING"}, Rules: []smtptest.Rule{on("RCPT", "carol", smtptest.Reply("550-5.1.1 no such user", "550 5.1.1 here"))}})
	var tr tracer
	cfg := config(s)
	cfg.Trace = tr.line
	c := dial(t, cfg)
	if _, err := c.Send(context.Background(), envelope("bob@example.com", "carol@example.com"), text(hello)); err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(context.Background()); err != nil {
		t.Fatal(err)
	}
	got := tr.String()
	for _, want := range []string{
		"*: connected to 127.0.0.1:", "S: 220 ", "C: EHLO client.example.com\n", "S: 250-PIPELINING\nS: 250 CHUNKING\n",
		"C: MAIL FROM:<alice@example.com>\nC: RCPT TO:<bob@example.com>\nC: RCPT TO:<carol@example.com>\nC: BDAT 37 LAST\nC: (37 octets of content)\n",
		"S: 550-5.1.1 no such user\nS: 550 5.1.1 here\n", "C: QUIT\n", "S: 221 ", "*: closed: ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, "Hello.") {
		t.Errorf("content shows in\n%s", got)
	}
}

// No mechanism lets a secret into the trace, with or without initial response,
// refused or not.
func TestTraceHidesSecrets(t *testing.T) {
	t.Parallel()
	const password = "correct horse"
	for _, mech := range []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"} {
		for _, right := range []string{password, "other"} {
			right = strings.ReplaceAll(right, " ", "")
			mine := strings.ReplaceAll(password, " ", "")
			s := smtptest.StartT(t, smtptest.Config{Users: map[string]string{"alice": right}, Mechanisms: []string{mech}})
			var tr tracer
			cfg := tlsConfig(s, smtp.TLSStartTLS)
			cfg.Trace = tr.line
			cfg.Auth = &sasl.Credentials{Username: "alice", Password: mine, Token: func(context.Context, bool) (string, error) { return mine, nil }}
			c, err := newDialer(t, cfg).Dial(context.Background())
			if (err == nil) != (right == mine) {
				t.Errorf("%s: %v", mech, err)
			}
			all := tr.String()
			if err != nil {
				all += err.Error()
			} else {
				c.Close()
			}
			if !strings.Contains(all, "C: AUTH "+mech) {
				t.Errorf("%s: no AUTH in\n%s", mech, all)
			}
			for _, secret := range []string{mine, base64.StdEncoding.EncodeToString([]byte(mine)), base64.StdEncoding.EncodeToString([]byte("\x00alice\x00" + mine))} {
				if strings.Contains(all, secret[:len(secret)-4]) {
					t.Errorf("%s: the secret shows in\n%s", mech, all)
				}
			}
			for l := range strings.Lines(all) {
				if f := strings.Fields(l); len(f) > 2 && f[0] == "S:" && f[1] == "334" && f[2] != "********" {
					t.Errorf("%s: a challenge shows: %s", mech, l)
				}
			}
		}
	}
}
