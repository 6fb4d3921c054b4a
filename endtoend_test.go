package postrider_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/relaytest"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
)

// mailServer is what the real servers have in common.
type mailServer interface {
	TLSConfig() *tls.Config
	Messages(mailbox string) [][]byte
	WaitMessages(ctx context.Context, mailbox string, n int) ([][]byte, error)
	Log() string
}

// realServer is a running Postfix or Exim with its addresses.
type realServer struct {
	mailServer
	kind                     string // "postfix" or "exim"
	addr, tlsAddr, plainAddr string
}

// settings are the part of the two configurations that is the same, and
// further options for each.
type settings struct {
	users            map[string]string
	size             int64
	reject, deferred []string
	replies          map[string]string
	discard          []string
	postfix, exim    map[string]string
}

// The one user of the tests. Each character of the password is one that some
// layer below could trip over.
const (
	user     = "shop"
	password = `p%40 ä:/@?#"\€`
)

// onReal runs a test against a real server of each kind.
func onReal(t *testing.T, s settings, test func(t *testing.T, srv realServer)) {
	t.Helper()
	if s.users == nil {
		s.users = map[string]string{user: password}
	}
	t.Run("postfix", func(t *testing.T) {
		p := relaytest.StartPostfix(t, relaytest.PostfixConfig{
			Users: s.users, MessageSizeLimit: s.size, RejectRecipients: s.reject, DeferRecipients: s.deferred,
			RecipientReplies: s.replies, DiscardEHLO: s.discard, Extra: s.postfix,
		})
		test(t, realServer{p, "postfix", p.Addr, p.TLSAddr, p.PlainAddr})
	})
	t.Run("exim", func(t *testing.T) {
		e := relaytest.StartExim(t, relaytest.EximConfig{
			Users: s.users, MessageSizeLimit: s.size, RejectRecipients: s.reject, DeferRecipients: s.deferred,
			RecipientReplies: s.replies, DiscardEHLO: s.discard, Extra: s.exim,
		})
		test(t, realServer{e, "exim", e.Addr, e.TLSAddr, e.PlainAddr})
	})
}

// heavy leaves a long test with a real server out of -short.
func heavy(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("real server: takes long, left out by -short")
	}
}

// connect makes a client for a relay URL and closes it at the end.
func connect(t *testing.T, relayURL string, srv trusted, cfg postrider.Config) *postrider.Client {
	t.Helper()
	if cfg.TLSConfig == nil {
		cfg.TLSConfig = srv.TLSConfig()
	}
	if cfg.Retry == nil {
		cfg.Retry = quick(3)
	}
	client, err := postrider.New(relayURL, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return client
}

// submit is connect to the submission port with STARTTLS and authentication.
func submit(t *testing.T, srv realServer, cfg postrider.Config) *postrider.Client {
	t.Helper()
	return connect(t, "smtp://"+login()+srv.addr, srv, cfg)
}

func login() string { return url.UserPassword(user, password).String() + "@" }

// arrived waits for exactly one message in a mailbox and gives it as stored.
func arrived(t *testing.T, srv mailServer, mailbox string) []byte {
	t.Helper()
	return arrivals(t, srv, mailbox, 1)[0]
}

// arrivals waits for n messages in a mailbox; more than n are a failure.
func arrivals(t *testing.T, srv mailServer, mailbox string, n int) [][]byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	messages, err := srv.WaitMessages(ctx, mailbox, n)
	if err != nil || len(messages) != n {
		t.Fatalf("%d messages for %s, want %d: %v\n%s", len(messages), mailbox, n, err, srv.Log())
	}
	return messages
}

// waitLog waits until the server's log is as wanted; servers write it when they please.
func waitLog(t *testing.T, srv mailServer, enough func(log string) bool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		log := srv.Log()
		if enough(log) {
			return log
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the log never said what was waited for:\n%s", log)
		case <-tick.C:
		}
	}
}

// sameOctets compares what arrived with what was composed, octet by octet.
func sameOctets(t *testing.T, stored []byte, sent *mail.Composed) {
	t.Helper()
	var want bytes.Buffer
	if _, err := sent.WriteTo(&want); err != nil {
		t.Fatal(err)
	}
	if got := relaytest.WithoutTrace(stored); !bytes.Equal(got, want.Bytes()) {
		t.Errorf("what arrived differs from what was sent: %d octets, want %d%s", len(got), want.Len(), firstDifference(got, want.Bytes()))
	}
}

func firstDifference(got, want []byte) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	around := func(b []byte) string { return string(b[max(0, i-40):min(len(b), i+40)]) }
	return "\n got …" + strings.ToValidUTF8(around(got), "?") + "…\nwant …" + strings.ToValidUTF8(around(want), "?") + "…"
}

func compose(t *testing.T, m *mail.Message, o *mail.ComposeOptions) *mail.Composed {
	t.Helper()
	c, err := m.Compose(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// trusted is a server whose certificate is to be trusted.
type trusted interface{ TLSConfig() *tls.Config }

// fakeServer gives the scripted server the form of the real ones.
type fakeServer struct{ *smtptest.Server }

func (f fakeServer) TLSConfig() *tls.Config { return f.TLSClientConfig() }

// dialogue records what client and server said.
type dialogue struct {
	mu    sync.Mutex
	lines []smtp.TraceLine
}

func (d *dialogue) trace(l smtp.TraceLine) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, l)
}

// said counts the lines of one side that begin with the text, any case.
func (d *dialogue) said(dir, text string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, l := range d.lines {
		if l.Dir == dir && len(l.Text) >= len(text) && strings.EqualFold(l.Text[:len(text)], text) {
			n++
		}
	}
	return n
}

// commands gives the client's lines that begin with the verb.
func (d *dialogue) commands(verb string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var found []string
	for _, l := range d.lines {
		if l.Dir == "C" && strings.HasPrefix(l.Text, verb) {
			found = append(found, l.Text)
		}
	}
	return found
}

func (d *dialogue) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var b strings.Builder
	for _, l := range d.lines {
		b.WriteString(l.Dir + " " + l.Text + "\n")
	}
	return b.String()
}
