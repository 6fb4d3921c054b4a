package delivery_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/smtp/smtptest"
)

// TestReadingTheOutcome has a case for each row of the table "Reading the outcome" of the client's rules.
func TestReadingTheOutcome(t *testing.T) {
	rule := func(command string, action smtptest.Action) []smtptest.Rule {
		return []smtptest.Rule{{Command: command, Action: action}}
	}
	const (
		sent     = store.Sent
		deferred = store.Deferred
		failed   = store.Failed
		unknown  = store.Unknown
	)
	tests := []struct {
		name    string
		without []string
		rules   []smtptest.Rule
		state   store.RecipientState // of bob; "": released untried
		code    int
		phase   string
		status  string
		again   bool
		verdict delivery.Verdict // flags only
	}{
		{name: "250", state: sent, code: 250, phase: "done", status: "success"},
		{name: "251 to RCPT", rules: rule("RCPT", smtptest.Reply("251 will forward")), state: sent, code: 250, phase: "done", status: "success"},
		{name: "252 to RCPT", rules: rule("RCPT", smtptest.Reply("252 will try")), state: sent, code: 250, phase: "done", status: "success"},

		{name: "451 greeting", rules: rule(smtptest.CommandGreeting, smtptest.Reply("451 4.3.2 busy")), state: deferred, code: 451, phase: "greeting", status: "retry", verdict: delivery.Verdict{RelayDown: true, SlowDown: true}},
		{name: "554 greeting", rules: rule(smtptest.CommandGreeting, smtptest.Reply("554 5.3.2 no service")), state: deferred, code: 554, phase: "greeting", status: "retry", verdict: delivery.Verdict{RelayDown: true}},
		{name: "4yz EHLO", rules: rule("EHLO", smtptest.Reply("451 4.3.0 later")), state: deferred, code: 451, phase: "greeting", status: "retry", verdict: delivery.Verdict{RelayDown: true, SlowDown: true}},
		{name: "4yz MAIL", rules: rule("MAIL", smtptest.Reply("451 4.3.0 later")), state: deferred, code: 451, phase: "mail", status: "retry", verdict: delivery.Verdict{SlowDown: true}},
		{name: "4yz RCPT", rules: rule("RCPT", smtptest.Reply("450 4.2.1 greylisted")), state: deferred, code: 450, phase: "rcpt", status: "retry", verdict: delivery.Verdict{SlowDown: true}},
		{name: "4yz RCPT that says nothing of our pace", rules: rule("RCPT", smtptest.Reply("441 4.4.1 no answer from host")), state: deferred, code: 441, phase: "rcpt", status: "retry"},
		{name: "4yz DATA", without: []string{"CHUNKING"}, rules: rule("DATA", smtptest.Reply("452 4.3.1 no space")), state: deferred, code: 452, phase: "rcpt", status: "retry", verdict: delivery.Verdict{SlowDown: true}},
		{name: "4yz content", rules: rule(smtptest.CommandContent, smtptest.Reply("451 4.3.0 later")), state: deferred, code: 451, phase: "rcpt", status: "retry", verdict: delivery.Verdict{SlowDown: true}},

		{name: "5yz MAIL", rules: rule("MAIL", smtptest.Reply("550 5.7.1 not you")), state: failed, code: 550, phase: "mail", status: "rejected"},
		{name: "5yz RCPT", rules: rule("RCPT", smtptest.Reply("550 5.1.1 no such user")), state: failed, code: 550, phase: "rcpt", status: "rejected"},
		{name: "5yz DATA", without: []string{"CHUNKING"}, rules: rule("DATA", smtptest.Reply("554 5.5.0 no")), state: failed, code: 554, phase: "rcpt", status: "failed"},
		{name: "5yz content", rules: rule(smtptest.CommandContent, smtptest.Reply("554 5.7.1 spam")), state: failed, code: 554, phase: "rcpt", status: "failed"},

		{name: "421 greeting", rules: rule(smtptest.CommandGreeting, smtptest.Close421("4.3.2 full")), state: deferred, code: 421, phase: "greeting", status: "retry", verdict: delivery.Verdict{RelayDown: true, SlowDown: true}},
		{name: "421 MAIL", rules: rule("MAIL", smtptest.Close421("4.3.2 going")), state: deferred, code: 421, phase: "mail", status: "retry", verdict: delivery.Verdict{SlowDown: true}},
		{name: "421 content", rules: rule(smtptest.CommandContent, smtptest.Close421("4.3.2 going")), state: deferred, code: 421, phase: "rcpt", status: "retry", verdict: delivery.Verdict{SlowDown: true}},
		{name: "503 RCPT", rules: rule("RCPT", smtptest.Reply("503 5.5.1 out of order")), state: deferred, code: 503, phase: "rcpt", status: "retry"},
		{name: "503 content", rules: rule(smtptest.CommandContent, smtptest.Reply("503 5.5.1 out of order")), state: deferred, code: 503, phase: "rcpt", status: "retry"},

		{name: "lost at the greeting", rules: rule(smtptest.CommandGreeting, smtptest.Drop()), state: deferred, phase: "greeting", status: "retry", verdict: delivery.Verdict{RelayDown: true}},
		{name: "garbage for a greeting", rules: rule(smtptest.CommandGreeting, smtptest.Garbage()), state: deferred, phase: "greeting", status: "retry", verdict: delivery.Verdict{RelayDown: true}},
		{name: "lost at RCPT, content not sent", without: []string{"CHUNKING"}, rules: rule("RCPT", smtptest.Drop()), state: deferred, phase: "rcpt", status: "retry"},
		{name: "lost in place of the final reply", rules: rule(smtptest.CommandContent, smtptest.Drop()), state: unknown, phase: "dot", status: "unknown", again: true},
		{name: "accepted, and lost before the reply", rules: rule(smtptest.CommandContent, smtptest.Sequence(smtptest.Accept(), smtptest.Drop())), state: unknown, phase: "dot", status: "unknown", again: true},
		{name: "garbage for a final reply", rules: rule(smtptest.CommandContent, smtptest.Garbage()), state: unknown, phase: "dot", status: "unknown", again: true},
		{name: "lost there, but MAIL was refused", rules: append(rule("MAIL", smtptest.Reply("550 5.7.1 no")), rule(smtptest.CommandContent, smtptest.Drop())...), state: failed, code: 550, phase: "mail", status: "rejected"},
		{name: "lost there, but every RCPT was refused", rules: append(rule("RCPT", smtptest.Reply("451 4.1.1 no")), rule("BDAT", smtptest.DropAfterRead())...), state: deferred, code: 451, phase: "rcpt", status: "retry", verdict: delivery.Verdict{SlowDown: true}},

		{name: "530 MAIL", rules: rule("MAIL", smtptest.Reply("530 5.7.0 log in first")), verdict: delivery.Verdict{Released: true, AuthRefused: true}},
		{name: "538 MAIL", rules: rule("MAIL", smtptest.Reply("538 5.7.11 encrypt")), verdict: delivery.Verdict{Released: true, AuthRefused: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := smtptest.NewT(t, smtptest.Config{Without: tt.without, Rules: tt.rules})
				b := newBench(t, srv, nil)
				defer b.close(t)
				c := claim()
				o, v := b.deliver(t, c)

				if v.Released {
					if !tt.verdict.Released || !o.Release || len(o.Recipients) != 0 {
						t.Errorf("released: %+v, outcome %+v", v, o)
					}
				} else {
					r := o.Recipients[0]
					if r.N != 1 || r.State != tt.state || r.Code != tt.code || r.Again != tt.again {
						t.Errorf("recipient %+v, want %s %d, again %v", r, tt.state, tt.code, tt.again)
					}
					if o.Attempt.Phase != tt.phase || o.Attempt.Status != tt.status || o.Attempt.Code != tt.code {
						t.Errorf("attempt %+v, want %s, %s, %d", o.Attempt, tt.phase, tt.status, tt.code)
					}
					if tt.state == "" || r.Text == "" || o.Attempt.Text == "" {
						t.Errorf("no words: %+v, %+v", r, o.Attempt)
					}
				}
				if v.SlowDown != tt.verdict.SlowDown || v.RelayDown != tt.verdict.RelayDown || v.AuthRefused != tt.verdict.AuthRefused || v.ConfigRefused {
					t.Errorf("verdict %+v, want %+v", v, tt.verdict)
				}
				if (v.SlowDown || v.RelayDown || v.AuthRefused) != (v.Reason != "") {
					t.Errorf("the reason is %q: %+v", v.Reason, v)
				}
				if strings.Contains(v.Reason, "bob@") || strings.Contains(v.Reason, "greylisted") {
					t.Errorf("the reason tells of the message: %q", v.Reason)
				}
				switch due := o.NextDue; {
				case tt.again && time.Until(due) != 10*time.Minute:
					t.Errorf("due in %v, want 10 minutes", time.Until(due))
				case tt.state == deferred && (due.Before(time.Now().Add(time.Second)) || due.After(time.Now().Add(2*time.Second))):
					t.Errorf("due in %v, want the schedule's second", time.Until(due))
				case (tt.state == sent || tt.state == failed) && !due.IsZero():
					t.Errorf("due in %v, though all is decided", time.Until(due))
				}
				if o.Node != b.node || o.MessageID != c.MessageID || o.TenantID != c.TenantID {
					t.Errorf("outcome of %v %v %v", o.Node, o.MessageID, o.TenantID)
				}
			})
		})
	}
}

// TestMixedRecipients: each has its own outcome, and those that were too many at once a transaction of their own.
func TestMixedRecipients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewT(t, smtptest.Config{MaxRecipients: 2})
		srv.On(smtptest.Rule{Command: "RCPT", Match: "gone@", Action: smtptest.Reply("550 5.1.1 no such user")})
		srv.On(smtptest.Rule{Command: "RCPT", Match: "grey@", Action: smtptest.Reply("451 4.7.1 come back")})
		b := newBench(t, srv, nil)
		defer b.close(t)
		o, v := b.deliver(t, claim("a@example.com", "gone@example.com", "b@example.com", "grey@example.com", "c@example.com", "d@example.com", "e@example.com"))
		wantStates(t, o, store.Sent, store.Failed, store.Sent, store.Deferred, store.Sent, store.Sent, store.Sent)
		if v.Sent != 5 || v.Failed != 1 || v.Deferred != 1 || v.Unknown != 0 || !v.SlowDown || o.Attempt.Status != "partial" || o.Attempt.Code != 550 {
			t.Errorf("verdict %+v, attempt %+v", v, o.Attempt)
		}
		if got := len(srv.Transactions()); got != 3 {
			t.Errorf("%d transactions, want 3 with two recipients at most", got)
		}
	})
}

func TestContentThatRelayCannotTake(t *testing.T) {
	tests := []struct {
		name    string
		without []string
		change  func(*store.Claimed)
		code    string
	}{
		{"8-bit content", []string{"8BITMIME"}, func(c *store.Claimed) {
			c.EightBit = true
			c.Content = []byte("Subject: x\r\n\r\nGr\u00fc\u00dfe\r\n")
			c.Size = int64(len(c.Content))
		}, "5.6.3"},
		{"UTF-8 local part", []string{"SMTPUTF8"}, func(c *store.Claimed) { c.Recipients[0].Address = "j\u00fcrgen@example.com" }, "5.6.7"},
		{"too large", nil, func(c *store.Claimed) {
			c.Content = append([]byte("Subject: x\r\n\r\n"), make([]byte, 0)...)
			for range 200 {
				c.Content = append(c.Content, "0123456789\r\n"...)
			}
			c.Size = int64(len(c.Content))
		}, "5.3.4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, smtptest.NewT(t, smtptest.Config{Without: tt.without, MaxSize: 1000}), nil)
				defer b.close(t)
				c := claim()
				tt.change(&c)
				o, v := b.deliver(t, c)
				wantStates(t, o, store.Failed)
				if o.Recipients[0].Enhanced != tt.code || v.Failed != 1 {
					t.Errorf("%+v", o.Recipients[0])
				}
			})
		})
	}
}
