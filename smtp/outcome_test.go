package smtp_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
)

// on is a rule for each command that matches.
func on(command, match string, a smtptest.Action) smtptest.Rule {
	return smtptest.Rule{Command: command, Match: match, Action: a}
}

// want is what one recipient should have come to. The zero value: sent.
type want struct {
	class   smtp.Class
	code    int
	tooMany bool
}

// TestOutcome is the table of how replies and their absence are read. Each row
// runs with every way of sending: one flight, two, and one command at a time.
func TestOutcome(t *testing.T) {
	t.Parallel()
	reply := smtptest.Reply
	content := smtptest.CommandContent
	refuse := func(code string) []smtptest.Rule {
		return []smtptest.Rule{on("RCPT", "bob@", reply(code))}
	}
	both := func(w want) [2]want { return [2]want{w, w} }
	transient, permanent := smtp.ClassTransient, smtp.ClassPermanent
	relay, unknown := smtp.ClassRelay, smtp.ClassUnknown
	tests := []struct {
		name  string
		rules []smtptest.Rule
		want  [2]want // bob, carol
		open  bool    // the connection can be used again
	}{
		{"2yz to RCPT and content", nil, both(want{}), true},
		{"251 to RCPT", refuse("251 user not local"), both(want{}), true},
		{"252 to RCPT", refuse("252 cannot verify"), both(want{}), true},
		{"4yz to MAIL", []smtptest.Rule{on("MAIL", "", reply("451 4.3.0 later"))}, both(want{transient, 451, false}), true},
		{"4yz to one RCPT", refuse("450 4.2.1 busy"), [2]want{{transient, 450, false}, {}}, true},
		{"4yz to every RCPT", []smtptest.Rule{on("RCPT", "", reply("450 4.2.1 busy"))}, both(want{transient, 450, false}), true},
		{"4yz to content", []smtptest.Rule{on(content, "", reply("452 4.3.1 disk full"))}, both(want{transient, 452, false}), true},
		{"5yz to MAIL", []smtptest.Rule{on("MAIL", "", reply("550 5.7.1 no"))}, both(want{permanent, 550, false}), true},
		{"5yz to one RCPT", refuse("550 5.1.1 no such user"), [2]want{{permanent, 550, false}, {}}, true},
		{"5yz to every RCPT", []smtptest.Rule{on("RCPT", "", reply("550 5.1.1 no such user"))}, both(want{permanent, 550, false}), true},
		{"4yz and 5yz to RCPT", []smtptest.Rule{on("RCPT", "bob", reply("550 no")), on("RCPT", "carol", reply("450 no"))}, [2]want{{permanent, 550, false}, {transient, 450, false}}, true},
		{"5yz to content", []smtptest.Rule{on(content, "", reply("554 5.7.1 spam"))}, both(want{permanent, 554, false}), true},
		{"452 too many recipients", []smtptest.Rule{on("RCPT", "carol", reply("452 4.5.3 too many"))}, [2]want{{}, {transient, 452, true}}, true},
		{"552 too many recipients", []smtptest.Rule{on("RCPT", "carol", reply("552 5.5.3 too many"))}, [2]want{{}, {transient, 552, true}}, true},
		{"452 too many, no enhanced code", []smtptest.Rule{on("RCPT", "carol", reply("452 too many"))}, [2]want{{}, {transient, 452, true}}, true},
		{"452 with another enhanced code", []smtptest.Rule{on("RCPT", "carol", reply("452 4.2.2 over quota"))}, [2]want{{}, {transient, 452, false}}, true},
		{"552 with another enhanced code", []smtptest.Rule{on("RCPT", "carol", reply("552 5.2.2 over quota"))}, [2]want{{}, {permanent, 552, false}}, true},
		{"452 to the first recipient", refuse("452 4.5.3 too many"), [2]want{{transient, 452, false}, {}}, true},
		{"421 to MAIL", []smtptest.Rule{on("MAIL", "", smtptest.Close421("4.3.2 bye"))}, both(want{transient, 421, false}), false},
		{"421 to RCPT", []smtptest.Rule{on("RCPT", "carol", smtptest.Close421("4.3.2 bye"))}, both(want{transient, 421, false}), false},
		{"421 to content", []smtptest.Rule{on(content, "", smtptest.Close421("4.3.2 bye"))}, both(want{transient, 421, false}), false},
		{"503 to MAIL", []smtptest.Rule{on("MAIL", "", reply("503 5.5.1 what"))}, both(want{transient, 503, false}), false},
		{"503 to RCPT", []smtptest.Rule{on("RCPT", "carol", reply("503 5.5.1 what"))}, both(want{transient, 503, false}), false},
		{"503 to content", []smtptest.Rule{on(content, "", reply("503 5.5.1 what"))}, both(want{transient, 503, false}), false},
		{"connection lost at RCPT", []smtptest.Rule{on("RCPT", "carol", smtptest.Drop())}, both(want{class: transient}), false},
		{"connection lost after content", []smtptest.Rule{on(content, "", smtptest.Drop())}, both(want{class: unknown}), false},
		{"accepted but connection lost", []smtptest.Rule{on(content, "", smtptest.Sequence(smtptest.Accept(), smtptest.Drop()))}, both(want{class: unknown}), false},
		{"garbage after content", []smtptest.Rule{on(content, "", smtptest.Garbage())}, both(want{class: unknown}), false},
		{"3yz after content", []smtptest.Rule{on(content, "", reply("354 go on"))}, both(want{unknown, 354, false}), false},
		{"lost after content, MAIL had been refused", []smtptest.Rule{on("MAIL", "", reply("550 no")), on("RCPT", "", smtptest.Drop())}, both(want{permanent, 550, false}), false},
		{"lost after content, every RCPT had been refused", []smtptest.Rule{on("RCPT", "", reply("550 no")), on("BDAT", "", smtptest.Drop()), on("DATA", "", smtptest.Drop())}, both(want{permanent, 550, false}), false},
		{"lost after content, one RCPT had been refused", []smtptest.Rule{on("RCPT", "bob", reply("550 no")), on(content, "", smtptest.Drop())}, [2]want{{permanent, 550, false}, {class: unknown}}, false},
		{"connection lost after the final reply", []smtptest.Rule{on(content, "", smtptest.ReplyThenDrop("250 2.0.0 thank you"))}, both(want{}), false},
		{"421 after the final reply", []smtptest.Rule{on(content, "", smtptest.Sequence(reply("250 2.0.0 thank you"), smtptest.Write("421 4.3.2 bye\r\n")))}, both(want{}), false},
		{"garbage after the final reply", []smtptest.Rule{on(content, "", smtptest.Sequence(reply("250 2.0.0 thank you"), smtptest.Garbage()))}, both(want{}), false},
		{"550 with an enhanced code of class 4", refuse("550 4.2.1 no"), [2]want{{permanent, 550, false}, {}}, true},
		{"450 with an enhanced code of class 5", refuse("450 5.1.1 no"), [2]want{{transient, 450, false}, {}}, true},
		{"530 to MAIL", []smtptest.Rule{on("MAIL", "", reply("530 5.7.0 authentication required"))}, both(want{relay, 530, false}), true},
		{"538 to MAIL", []smtptest.Rule{on("MAIL", "", reply("538 5.7.11 encryption required"))}, both(want{relay, 538, false}), true},
		{"malformed reply to MAIL", []smtptest.Rule{on("MAIL", "", reply("hello there"))}, both(want{class: transient}), false},
	}
	for _, mode := range []struct {
		name    string
		without []string
	}{{"BDAT", nil}, {"DATA", []string{"CHUNKING"}}, {"lockstep", []string{"PIPELINING", "CHUNKING"}}, {"lockstep BDAT", []string{"PIPELINING"}}} {
		for _, tt := range tests {
			t.Run(tt.name+"/"+mode.name, func(t *testing.T) {
				t.Parallel()
				s := smtptest.StartT(t, smtptest.Config{Without: mode.without, Rules: tt.rules})
				c := dial(t, config(s))
				out, err := c.Send(context.Background(), envelope("bob@example.com", "carol@example.com"), text(hello))
				sent := 0
				for i, w := range tt.want {
					if i == 0 && w.code == 503 && mode.name == "BDAT" && tt.name == "503 to RCPT" {
						w = want{} // the content left with the envelope and was accepted for bob
					}
					if w.class == smtp.ClassTransient && w.code == 0 && mode.name == "BDAT" {
						// The content left with the envelope.
						w.class = smtp.ClassUnknown
					}
					if w.class == "" {
						sent++
					}
					checkRecipient(t, out.Recipients[i], w)
				}
				if (err == nil) != (sent > 0) {
					t.Errorf("%d recipients sent, error %v", sent, err)
				}
				if err == nil && (out.Phase != smtp.PhaseDone || !out.Content.IsPositive()) {
					t.Errorf("phase %s, final reply %v", out.Phase, out.Content)
				}
				if got := len(s.Transactions()); got != min(sent, 1) && tt.want[0].class != smtp.ClassUnknown && tt.want[1].class != smtp.ClassUnknown {
					t.Errorf("the server accepted %d messages", got)
				}
				if !tt.open {
					// One command at a time, the rest is not even tried after a refusal.
					if !strings.HasPrefix(mode.name, "lockstep") || !strings.Contains(tt.name, "had been refused") || sent > 0 {
						closes(t, c)
					}
					return
				}
				// What is refused leaves nothing behind.
				if _, err := c.Send(context.Background(), envelope("dave@example.net"), text(hello)); err != nil && tt.rules[0].Match != "" {
					t.Errorf("next transaction: %v\n%s", err, s.Sessions()[0].Dialogue())
				}
				if l := s.Lint(); len(l) > 0 {
					t.Errorf("the server complains: %v", l)
				}
			})
		}
	}
}

func checkRecipient(t *testing.T, got smtp.RecipientOutcome, w want) {
	t.Helper()
	if w.class == "" {
		if got.Err != nil || !got.Reply.IsPositive() {
			t.Errorf("%s: %v, %v, want sent", got.Address, got.Reply, got.Err)
		}
		return
	}
	e, ok := errors.AsType[*smtp.Error](got.Err)
	if !ok {
		t.Errorf("%s: %v, want class %s", got.Address, got.Err, w.class)
		return
	}
	if e.Class != w.class || e.Code != w.code || smtp.TooManyRecipients(e) != w.tooMany {
		t.Errorf("%s: class %s, code %d, too many %v (%v); want %+v", got.Address, e.Class, e.Code, smtp.TooManyRecipients(e), e, w)
	}
	if e.Recipient != got.Address {
		t.Errorf("the error of %s names %q", got.Address, e.Recipient)
	}
	if got.Reply.Code != w.code {
		t.Errorf("%s: reply %v, want %d", got.Address, got.Reply, w.code)
	}
	questions := map[smtp.Class]bool{
		smtp.ClassTransient: smtp.IsTransient(e), smtp.ClassPermanent: smtp.IsPermanent(e),
		smtp.ClassRelay: smtp.IsRelayFault(e), smtp.ClassUnknown: smtp.MaybeAccepted(e),
	}
	for class, yes := range questions {
		if yes != (class == w.class) {
			t.Errorf("%s: class %s is answered %v", got.Address, class, yes)
		}
	}
}
