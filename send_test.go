package postrider_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/retry"
	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
	"github.com/postrider/postrider/smtppool"
)

// quick makes attempts follow each other at once.
func quick(tries int) *retry.Schedule {
	s := &retry.Schedule{}
	for range tries - 1 {
		s.Delays = append(s.Delays, time.Millisecond)
	}
	return s
}

func start(t *testing.T, cfg smtptest.Config, rules ...smtptest.Rule) *smtptest.Server {
	t.Helper()
	cfg.Rules = rules
	return smtptest.StartT(t, cfg)
}

func dial(t *testing.T, server *smtptest.Server, user string, cfg postrider.Config) *postrider.Client {
	t.Helper()
	if user != "" {
		user += "@"
	}
	cfg.TLSConfig = server.TLSClientConfig()
	cfg.Pool.Backoff = smtppool.Backoff{Min: time.Millisecond, Max: time.Millisecond, RelayMin: time.Millisecond, RelayMax: time.Millisecond}
	if cfg.Retry == nil {
		cfg.Retry = quick(3)
	}
	client, err := postrider.New("smtp://"+user+server.Addr(), &cfg)
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

func letter(to ...string) *mail.Message {
	return &mail.Message{
		From:    mail.Addr("Shop <shop@example.com>"),
		To:      mail.Addrs(to...),
		Subject: "Your receipt – Größe 42",
		Text:    "Thank you.\n",
	}
}

func on(command, match string, a smtptest.Action) smtptest.Rule {
	return smtptest.Rule{Command: command, Match: match, Action: a}
}

func first(n int, r smtptest.Rule) smtptest.Rule {
	r.Times = n
	return r
}

// TestStatus walks the words of Status: what the relay does, and what the whole
// send is called then, how often it was tried, and how many copies there are.
func TestStatus(t *testing.T) {
	lost := smtptest.Sequence(smtptest.Accept(), smtptest.Drop())
	for _, c := range []struct {
		name     string
		rules    []smtptest.Rule
		config   postrider.Config
		user     string
		status   postrider.Status
		states   string // of ann and bob
		attempts int
		copies   int // accepted by the relay, over all recipients
		code     int
		question func(error) bool
	}{
		{name: "success", status: postrider.StatusSuccess, states: "sent sent", attempts: 1, copies: 2, code: 250},
		{
			name: "partial", rules: []smtptest.Rule{on("RCPT", "bob@", smtptest.Reply("550 5.1.1 no such user"))},
			status: postrider.StatusPartial, states: "sent failed", attempts: 1, copies: 1, code: 550, question: smtp.IsPermanent,
		},
		{
			name: "rejected recipients", rules: []smtptest.Rule{on("RCPT", "", smtptest.Reply("550 5.1.1 no such user"))},
			status: postrider.StatusRejected, states: "failed failed", attempts: 1, code: 550, question: smtp.IsPermanent,
		},
		{
			name: "rejected sender", rules: []smtptest.Rule{on("MAIL", "", smtptest.Reply("553 5.7.1 not your address"))},
			status: postrider.StatusRejected, states: "failed failed", attempts: 1, code: 553, question: smtp.IsPolicy,
		},
		{
			name: "failed content", rules: []smtptest.Rule{on(smtptest.CommandContent, "", smtptest.Reply("554 5.6.0 spam"))},
			status: postrider.StatusFailed, states: "failed failed", attempts: 1, code: 554, question: smtp.IsPermanent,
		},
		{
			name: "failed authentication", rules: []smtptest.Rule{on("AUTH", "", smtptest.Reply("535 5.7.8 wrong"))}, user: "shop:wrong",
			status: postrider.StatusFailed, states: "failed failed", attempts: 1, code: 535, question: smtp.IsAuth,
		},
		{
			name: "greylisting of one, then sent to that one only", rules: []smtptest.Rule{first(1, on("RCPT", "bob@", smtptest.Reply("451 4.7.1 later")))},
			status: postrider.StatusSuccess, states: "sent sent", attempts: 2, copies: 2, code: 250,
		},
		{
			name: "temp_failed", rules: []smtptest.Rule{on("RCPT", "", smtptest.Reply("451 4.7.1 later"))},
			status: postrider.StatusTempFailed, states: "deferred deferred", attempts: 3, code: 451, question: smtp.IsTransient,
		},
		{
			name: "temp_failed and refused", rules: []smtptest.Rule{
				on("RCPT", "ann@", smtptest.Reply("550 5.1.1 no such user")), on("RCPT", "bob@", smtptest.Reply("451 4.7.1 later")),
			},
			status: postrider.StatusTempFailed, states: "failed deferred", attempts: 3, code: 550,
		},
		{
			name: "421 and back", rules: []smtptest.Rule{first(2, on("MAIL", "", smtptest.Close421("4.3.2 restarting")))},
			status: postrider.StatusSuccess, states: "sent sent", attempts: 3, copies: 2, code: 250,
		},
		{
			name: "unknown is not tried again", rules: []smtptest.Rule{on(smtptest.CommandContent, "", lost)},
			status: postrider.StatusUnknown, states: "unknown unknown", attempts: 1, copies: 2, question: smtp.MaybeAccepted,
		},
		{
			name: "unknown is tried again once when told to", rules: []smtptest.Rule{on(smtptest.CommandContent, "", lost)}, config: postrider.Config{RetryUnknown: true, Retry: quick(9)},
			status: postrider.StatusUnknown, states: "unknown unknown", attempts: 2, copies: 4, question: smtp.MaybeAccepted,
		},
		{
			name: "unknown stays unknown when the next attempt is refused", rules: []smtptest.Rule{
				first(1, on(smtptest.CommandContent, "", lost)),
				{Command: "RCPT", Match: "ann@", Nth: 2, Action: smtptest.Reply("550 5.7.1 twice?")},
				{Command: "RCPT", Match: "bob@", Nth: 2, Action: smtptest.Reply("451 4.7.1 later")},
			}, config: postrider.Config{RetryUnknown: true, Retry: quick(2)},
			status: postrider.StatusUnknown, states: "unknown unknown", attempts: 2, copies: 2, question: smtp.MaybeAccepted,
		},
		{
			name: "never again", rules: []smtptest.Rule{on("RCPT", "", smtptest.Reply("451 4.7.1 later"))}, config: postrider.Config{Retry: &retry.Schedule{}},
			status: postrider.StatusTempFailed, states: "deferred deferred", attempts: 1, code: 451, question: smtp.IsTransient,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := start(t, smtptest.Config{Users: map[string]string{"shop": "secret"}}, c.rules...)
			client := dial(t, server, c.user, c.config)
			result, err := client.Send(t.Context(), letter("ann@example.net", "bob@example.net"))
			if result.Status != c.status {
				t.Errorf("status %s, want %s (%v)", result.Status, c.status, err)
			}
			var states []string
			for _, r := range result.Recipients {
				states = append(states, string(r.State))
			}
			if got := strings.Join(states, " "); got != c.states {
				t.Errorf("states %q, want %q", got, c.states)
			}
			if len(result.Attempts) != c.attempts || result.RetryCount != c.attempts-1 {
				t.Errorf("%d attempts, retry count %d, want %d attempts", len(result.Attempts), result.RetryCount, c.attempts)
			}
			if result.SMTPCode != c.code {
				t.Errorf("code %d, want %d", result.SMTPCode, c.code)
			}
			if (err == nil) != (c.status == postrider.StatusSuccess) {
				t.Errorf("status %s with error %v", result.Status, err)
			}
			if c.question != nil && !c.question(err) {
				t.Errorf("the error does not answer the question with yes: %v", err)
			}
			if result.IsRetryable != strings.Contains(c.states, "deferred") {
				t.Errorf("IsRetryable is %t", result.IsRetryable)
			}
			copies := 0
			for _, tx := range server.Transactions() {
				copies += len(tx.Recipients())
			}
			if copies != c.copies {
				t.Errorf("the relay took responsibility for %d copies, want %d", copies, c.copies)
			}
		})
	}
}

func TestInvalidMessageIsNotSent(t *testing.T) {
	server := start(t, smtptest.Config{})
	client := dial(t, server, "", postrider.Config{})
	m := letter("ann@example.net", "user@example", "user@@example.com")
	m.Subject = "one\r\nBcc: everybody@example.com"
	m.Header = []mail.Field{{Name: "Bcc", Value: "everybody@example.com"}}
	result, err := client.Send(t.Context(), m)
	var faults mail.Faults
	if result.Status != postrider.StatusInvalid || !errors.As(err, &faults) {
		t.Fatalf("status %s, error %v", result.Status, err)
	}
	var fields []string
	for _, f := range result.Faults {
		fields = append(fields, f.Field)
	}
	for _, want := range []string{"to[1]", "to[2]", "subject", "headers[0]"} {
		if !strings.Contains(strings.Join(fields, " "), want) {
			t.Errorf("no fault of %s among %v", want, fields)
		}
	}
	if n := server.Stats().Sessions; n != 0 {
		t.Errorf("%d connections were opened for an invalid message", n)
	}
}

// A file that goes away while the message is sent is a fault of the message, not
// of the relay: no half message arrives and nothing is tried again.
func TestAttachmentThatVanishes(t *testing.T) {
	server := start(t, smtptest.Config{})
	client := dial(t, server, "", postrider.Config{})
	path := filepath.Join(t.TempDir(), "receipt.pdf")
	if err := os.WriteFile(path, make([]byte, 200_000), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := mail.FileAttachment(path)
	if err != nil {
		t.Fatal(err)
	}
	m := letter("ann@example.net")
	m.Attachments = []mail.Attachment{file}
	composed, err := m.Compose(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	result, err := client.SendComposed(t.Context(), composed)
	if result.Status != postrider.StatusInvalid || len(result.Attempts) != 1 || result.IsRetryable {
		t.Errorf("status %s after %d attempts: %v", result.Status, len(result.Attempts), err)
	}
	if len(result.Faults) != 1 || result.Faults[0].Field != "attachments[0].content" || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("faults %v, error %v", result.Faults, err)
	}
	if n := len(server.Transactions()); n != 0 {
		t.Errorf("%d messages arrived", n)
	}
}

func TestContextEndsWhileWaiting(t *testing.T) {
	// Without PIPELINING no content leaves before the refusal, whenever the context ends.
	server := start(t, smtptest.Config{Without: []string{"PIPELINING"}}, on("RCPT", "", smtptest.Reply("451 4.7.1 later")))
	client := dial(t, server, "", postrider.Config{Retry: &retry.Schedule{Delays: []time.Duration{time.Hour}}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan *postrider.Result)
	go func() {
		result, _ := client.Send(ctx, letter("ann@example.net"))
		done <- result
	}()
	if err := server.WaitCommand(t.Context(), "RCPT", 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	if result := <-done; result.Status != postrider.StatusRetry || !result.IsRetryable {
		t.Errorf("status %s, retryable %t", result.Status, result.IsRetryable)
	}
}

// A message that waits for its next attempt learns that its client is closed.
func TestClientClosedWhileWaiting(t *testing.T) {
	server := start(t, smtptest.Config{}, smtptest.Rule{Command: "MAIL", Action: smtptest.Reply("451 4.3.0 later")})
	schedule := &retry.Schedule{}
	for range 100 {
		schedule.Delays = append(schedule.Delays, 300*time.Millisecond)
	}
	client := dial(t, server, "", postrider.Config{Retry: schedule})
	go func() {
		_ = server.WaitCommand(context.Background(), "MAIL", 1)
		_ = client.Close(context.Background())
	}()
	result, err := client.Send(t.Context(), letter("bob@example.com"))
	if !errors.Is(err, smtppool.ErrClosed) || result.Status != postrider.StatusRetry {
		t.Errorf("%s after %d retries: %v", result.Status, result.RetryCount, err)
	}
}

func TestContextEndsAfterTheLastOctet(t *testing.T) {
	server := start(t, smtptest.Config{}, on(smtptest.CommandContent, "", smtptest.Silence()))
	client := dial(t, server, "", postrider.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan *postrider.Result)
	go func() {
		result, _ := client.Send(ctx, letter("ann@example.net"))
		done <- result
	}()
	if err := server.WaitCommand(t.Context(), smtptest.CommandContent, 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	if result := <-done; result.Status != postrider.StatusUnknown || len(result.Attempts) != 1 {
		t.Errorf("status %s after %d attempts", result.Status, len(result.Attempts))
	}
}

func TestResultJSON(t *testing.T) {
	server := start(t, smtptest.Config{}, on("RCPT", "bob@", smtptest.Reply("550 5.1.1 no such user")))
	client := dial(t, server, "", postrider.Config{})
	sent, _ := client.Send(t.Context(), letter("ann@example.net", "bob@example.net"))
	invalid, _ := client.Send(t.Context(), letter("nobody"))
	for name, result := range map[string]*postrider.Result{"sent": sent, "invalid": invalid} {
		b, err := json.Marshal(result)
		if err != nil {
			t.Fatal(err)
		}
		var object map[string]any
		if err := json.Unmarshal(b, &object); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{
			"status", "message_id", "smtp_code", "enhanced_code", "smtp_error", "recipients",
			"recipient_failures", "sent_at", "retry_count", "is_retryable", "attempts",
		} {
			if _, ok := object[key]; !ok {
				t.Errorf("%s: no key %s in %s", name, key, b)
			}
		}
		if name == "invalid" {
			continue
		}
		if object["smtp_code"] != 550.0 || object["enhanced_code"] != "5.1.1" || object["status"] != "partial" {
			t.Errorf("%s", b)
		}
		if f := object["recipient_failures"].(map[string]any); f["bob@example.net"] != "550 5.1.1 no such user" || len(f) != 1 {
			t.Errorf("recipient_failures: %v", f)
		}
	}
}

func TestBccIsSentAndNotSeen(t *testing.T) {
	server := start(t, smtptest.Config{})
	client := dial(t, server, "", postrider.Config{})
	m := letter("ann@example.net")
	m.Cc, m.Bcc = mail.Addrs("carl@example.net"), mail.Addrs("dora@example.net", "ANN@example.net", "ann@EXAMPLE.net")
	m.MailFrom = &mail.Address{}
	if _, err := client.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	tx := server.Transactions()[0]
	if got := strings.Join(tx.Recipients(), " "); got != "ann@example.net carl@example.net dora@example.net ANN@example.net" {
		t.Errorf("recipients %q", got)
	}
	if tx.MailFrom.Address != "" {
		t.Errorf("reverse-path %q, want the null one", tx.MailFrom.Address)
	}
	if strings.Contains(strings.ToLower(tx.Text()), "dora") {
		t.Errorf("a Bcc recipient stands in the content:\n%s", tx.Text())
	}
}

func TestSameOctetsOnEveryAttempt(t *testing.T) {
	server := start(t, smtptest.Config{}, first(2, on(smtptest.CommandContent, "", smtptest.Reply("451 4.3.0 try again"))))
	client := dial(t, server, "", postrider.Config{})
	m := letter("ann@example.net")
	m.HTML = "<p>Thank you."
	m.Attachments = []mail.Attachment{mail.BytesAttachment("a.bin", make([]byte, 100_000))}
	if _, err := client.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	attempts := server.Attempts()
	if len(attempts) != 3 {
		t.Fatalf("%d attempts", len(attempts))
	}
	for _, a := range attempts {
		if a.Sum() != attempts[2].Sum() || a.Size == 0 {
			t.Errorf("attempt %d differs", a.Number)
		}
	}
}

func TestTooManyRecipientsGoOnAtOnce(t *testing.T) {
	server := start(t, smtptest.Config{MaxRecipients: 2})
	client := dial(t, server, "", postrider.Config{Retry: &retry.Schedule{}})
	result, err := client.Send(t.Context(), letter("a@example.net", "b@example.net", "c@example.net", "d@example.net", "e@example.net"))
	if err != nil || len(result.Attempts) != 1 {
		t.Fatalf("%d attempts: %v", len(result.Attempts), err)
	}
	if n := len(server.Transactions()); n != 3 {
		t.Errorf("%d transactions, want 3", n)
	}
}

func TestNewNamesEveryFaultAndNoSecret(t *testing.T) {
	_, err := postrider.New("smtp://user:hunter2@h", &postrider.Config{
		LocalName: "not a name\r\n",
		Retry:     &retry.Schedule{Jitter: 7},
		Timeouts:  smtp.Timeouts{Dial: -1},
	})
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{"LocalName", "jitter", "Dial"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error holds the password: %v", err)
	}
}

func TestCheck(t *testing.T) {
	server := start(t, smtptest.Config{Users: map[string]string{"shop": "secret"}, MaxSize: 1 << 20})
	report, err := dial(t, server, "shop:secret", postrider.Config{}).Check(t.Context())
	if err != nil || !report.OK {
		t.Fatalf("%+v: %v", report, err)
	}
	if report.TLS == nil || report.TLS.Version != "TLS 1.3" || len(report.TLS.Certificate.SHA256) != 64 || report.MaxSize != 1<<20 ||
		report.AuthMechanism == "" || len(report.AuthOffered) == 0 || report.RoundTripMS <= 0 || report.RoundTripsPerMessage != 1 {
		t.Errorf("%+v", report)
	}
	if strings.Contains(report.Relay, "secret") {
		t.Errorf("the report holds the password: %s", report.Relay)
	}
	wrong, err := dial(t, server, "shop:wrong", postrider.Config{}).Check(t.Context())
	if !smtp.IsAuth(err) || wrong.OK || wrong.Phase != smtp.PhaseAuth || wrong.Error == "" {
		t.Errorf("%+v: %v", wrong, err)
	}
	if n := len(server.Transactions()); n != 0 {
		t.Errorf("a check sent %d messages", n)
	}
}

func TestCheckRefusesAForeignCertificate(t *testing.T) {
	server := start(t, smtptest.Config{})
	client, err := postrider.New("smtp://"+server.Addr(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(t.Context())
	report, err := client.Check(t.Context())
	if !smtp.IsRelayFault(err) || report.Phase != smtp.PhaseTLS {
		t.Errorf("%+v: %v", report, err)
	}
}
