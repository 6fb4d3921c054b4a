package smtp_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
)

// downgradable is content with another form for old servers.
type downgradable struct {
	smtp.Content
	plain smtp.Content
}

func (d downgradable) Downgrade() (smtp.Content, error) {
	if d.plain == nil {
		return nil, errors.New("it is signed")
	}
	return d.plain, nil
}

// TestParameters: what MAIL and RCPT say, by what is needed and offered.
func TestParameters(t *testing.T) {
	t.Parallel()
	eight := text("Subject: x\r\n\r\n\xc3\xa4\r\n")
	never, success, delay := smtp.NotifyNever, smtp.NotifySuccess, smtp.NotifyDelay
	tests := []struct {
		name    string
		env     smtp.Envelope
		content smtp.Content
		without string
		mail    string // the parameters in their order, without SIZE
		rcpt    string
		class   smtp.Class
		code    string // enhanced
		address string // of the recipient as the server saw it
	}{
		{name: "nothing", address: "bob@example.com"},
		{name: "8BITMIME", env: smtp.Envelope{EightBit: true}, content: eight, mail: "BODY=8BITMIME"},
		{name: "8BITMIME not offered", env: smtp.Envelope{EightBit: true}, content: eight, without: "8BITMIME", class: smtp.ClassPermanent, code: "5.6.3"},
		{name: "8BITMIME not offered, downgraded", env: smtp.Envelope{EightBit: true}, content: downgradable{eight, text(hello)}, without: "8BITMIME"},
		{name: "8BITMIME not offered, not to be changed", env: smtp.Envelope{EightBit: true}, content: downgradable{eight, nil}, without: "8BITMIME", class: smtp.ClassPermanent, code: "5.6.3"},
		{name: "SMTPUTF8 for the header", env: smtp.Envelope{SMTPUTF8: true}, content: eight, mail: "BODY=8BITMIME SMTPUTF8"},
		{name: "SMTPUTF8 not offered", env: smtp.Envelope{SMTPUTF8: true}, content: eight, without: "SMTPUTF8", class: smtp.ClassPermanent, code: "5.6.7"},
		{name: "SMTPUTF8 not offered, downgraded", env: smtp.Envelope{SMTPUTF8: true}, content: downgradable{eight, text(hello)}, without: "SMTPUTF8"},
		{name: "SMTPUTF8 for the sender", env: smtp.Envelope{MailFrom: "zoë@example.com"}, mail: "SMTPUTF8"},
		{name: "SMTPUTF8 not offered, sender", env: smtp.Envelope{MailFrom: "zoë@example.com"}, without: "SMTPUTF8", class: smtp.ClassPermanent, code: "5.6.7"},
		{name: "SMTPUTF8 for the recipient", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: "zoë@bücher.example"}}}, mail: "SMTPUTF8", address: "zoë@xn--bcher-kva.example"},
		{name: "domain in UTF-8", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: "bob@bücher.example"}}}, without: "SMTPUTF8", address: "bob@xn--bcher-kva.example"},
		{name: "quoted local part", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: `"a b@c"@example.com`}}}, address: `"a b@c"@example.com`},
		{name: "no domain", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: `postmaster`}}}, address: `postmaster`},
		{name: "DSN", env: smtp.Envelope{Return: smtp.ReturnHeader, EnvelopeID: "a+b=c d", RcptTo: []smtp.Recipient{{Address: "bob@example.com", Notify: []smtp.DSNNotify{success, delay, success}, OriginalRecipient: "bob+x@example.org"}}}, mail: "RET=HDRS ENVID=a+2Bb+3Dc+20d", rcpt: "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;bob+2Bx@example.org"},
		{name: "DSN with type", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: "bob@example.com", Notify: []smtp.DSNNotify{never}, OriginalRecipient: "utf-8;zoë@example.org"}}}, rcpt: `NOTIFY=NEVER ORCPT=utf-8;zo\x{EB}@example.org`},
		{name: "DSN in UTF-8", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: "bob@example.com", OriginalRecipient: "zoë@example.org"}}}, rcpt: `ORCPT=utf-8;zo\x{EB}@example.org`},
		{name: "DSN not offered", env: smtp.Envelope{Return: smtp.ReturnFull, EnvelopeID: "a", RcptTo: []smtp.Recipient{{Address: "bob@example.com", Notify: []smtp.DSNNotify{never}}}}, without: "DSN"},
		{name: "NEVER stands alone", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: "bob@example.com", Notify: []smtp.DSNNotify{never, delay}}}}, class: smtp.ClassPermanent, code: "5.5.4"},
		{name: "unknown notification", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: "bob@example.com", Notify: []smtp.DSNNotify{"x ORCPT=y"}}}}, class: smtp.ClassPermanent, code: "5.5.4"},
		{name: "unknown return", env: smtp.Envelope{Return: "X Y"}, class: smtp.ClassPermanent, code: "5.5.4"},
		{name: "envelope id with line break", env: smtp.Envelope{EnvelopeID: "a\r\nDATA"}, class: smtp.ClassPermanent, code: "5.5.4"},
		{name: "original recipient without type", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: "bob@example.com", OriginalRecipient: "a b;c"}}}, class: smtp.ClassPermanent, code: "5.5.4"},
		{name: "REQUIRETLS", env: smtp.Envelope{RequireTLS: true}, mail: "REQUIRETLS"},
		{name: "REQUIRETLS not offered", env: smtp.Envelope{RequireTLS: true}, without: "REQUIRETLS", class: smtp.ClassPermanent, code: "5.7.30"},
		{name: "everything", env: smtp.Envelope{EightBit: true, SMTPUTF8: true, RequireTLS: true, Return: smtp.ReturnFull, EnvelopeID: "1"}, content: eight, mail: "BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=FULL ENVID=1"},
		{name: "sender with line break", env: smtp.Envelope{MailFrom: "a@example.com>\r\nRCPT TO:<x@example.com"}, class: smtp.ClassPermanent, code: "5.1.7"},
		{name: "sender with parameter", env: smtp.Envelope{MailFrom: "a@example.com> SIZE=1"}, class: smtp.ClassPermanent, code: "5.1.7"},
		{name: "recipient with line break", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: "a@example.com\nDATA"}}}, class: smtp.ClassPermanent, code: "5.1.3"},
		{name: "recipient with NUL", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: "a\x00@example.com"}}}, class: smtp.ClassPermanent, code: "5.1.3"},
		{name: "recipient with space", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: "a b@example.com"}}}, class: smtp.ClassPermanent, code: "5.1.3"},
		{name: "recipient not UTF-8", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: "a\xff@example.com"}}}, class: smtp.ClassPermanent, code: "5.1.3"},
		{name: "recipient without local part", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: "@example.com"}}}, class: smtp.ClassPermanent, code: "5.1.3"},
		{name: "recipient without domain after @", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: "a@"}}}, class: smtp.ClassPermanent, code: "5.1.3"},
		{name: "recipient empty", env: smtp.Envelope{RcptTo: []smtp.Recipient{{}}}, class: smtp.ClassPermanent, code: "5.1.3"},
		{name: "recipient quoted wrongly", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: `"a"b@example.com`}}}, class: smtp.ClassPermanent, code: "5.1.3"},
		{name: "recipient too long", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: strings.Repeat("a", 2000) + "@example.com"}}}, class: smtp.ClassPermanent, code: "5.1.3"},
		{name: "recipient with a bad domain", env: smtp.Envelope{RcptTo: []smtp.Recipient{{Address: "a@\u2028.example"}}}, class: smtp.ClassPermanent, code: "5.1.3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := smtptest.StartT(t, smtptest.Config{Without: []string{tt.without}})
			c := dial(t, tlsConfig(s, smtp.TLSStartTLS))
			env := tt.env
			if env.RcptTo == nil {
				env.RcptTo = bob().RcptTo
			}
			content := tt.content
			if content == nil {
				content = text(hello)
			}
			out, err := c.Send(context.Background(), &env, content)
			if tt.class != "" {
				e := asError(t, err)
				if e.Class != tt.class || e.Enhanced.String() != tt.code || e.Code != 0 || out.Recipients[0].Err == nil {
					t.Errorf("class %s, code %d %s: %v", e.Class, e.Code, e.Enhanced, err)
				}
				if strings.ContainsAny(err.Error(), "\r\n\x00") {
					t.Errorf("error with control characters: %q", err)
				}
				for _, cmd := range s.Commands() {
					if cmd.Verb == "MAIL" {
						t.Errorf("MAIL %s was said", cmd.Arg)
					}
				}
				mustSend(t, c, bob(), text(hello)) // the connection is as good as before
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, cmd := range s.Commands() {
				_, params, _ := strings.Cut(cmd.Arg, ">")
				params = strings.TrimSpace(params)
				switch cmd.Verb {
				case "MAIL":
					size, rest, _ := strings.Cut(params, " ")
					if !strings.HasPrefix(size, "SIZE=") || rest != tt.mail {
						t.Errorf("MAIL %s, want %s", params, tt.mail)
					}
				case "RCPT":
					if params != tt.rcpt {
						t.Errorf("RCPT %s, want %s", params, tt.rcpt)
					}
					if tt.address != "" && !strings.Contains(cmd.Arg, "<"+tt.address+">") {
						t.Errorf("RCPT %s, want %s", cmd.Arg, tt.address)
					}
				}
			}
			if l := s.Lint(); len(l) > 0 {
				t.Errorf("the server complains: %v", l)
			}
		})
	}
}

// Recipients that cannot be asked for do not keep the others from being served.
func TestLocallyRefusedRecipient(t *testing.T) {
	t.Parallel()
	for mode, without := range modes() {
		s := smtptest.StartT(t, smtptest.Config{Without: append([]string{"SMTPUTF8"}, without...), Rules: []smtptest.Rule{on("RCPT", "carol", smtptest.Reply("550 5.1.1 no such user"))}})
		c := dial(t, config(s))
		out, err := c.Send(context.Background(), envelope("zoë@example.com", "bob@example.com", "carol@example.com", "a b"), text(hello))
		if err != nil || out.Sent() != 1 || out.Recipients[1].Err != nil {
			t.Fatalf("%s: %v, %+v", mode, err, out.Recipients)
		}
		for i, want := range map[int]string{
			0: "smtp: rcpt <zoë@example.com>: 5.6.7: the local part is in UTF-8 and the server does not offer SMTPUTF8",
			2: "smtp: rcpt <carol@example.com>: 550 5.1.1 no such user",
			3: "smtp: rcpt <a b>: 5.1.3: address has a character that needs quoting",
		} {
			if e := out.Recipients[i].Err; e == nil || e.Error() != want || !smtp.IsPermanent(e) {
				t.Errorf("%s: %v, want %s", mode, e, want)
			}
		}
		if got := s.Transactions()[0].Recipients(); len(got) != 1 || got[0] != "bob@example.com" {
			t.Errorf("%s: the server took %v", mode, got)
		}
	}
}

// The null reverse-path, no recipients at all, and SIZE.
func TestEnvelopeEdges(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{MaxSize: 1000})
	c := dial(t, config(s))
	env := bob()
	env.MailFrom = ""
	mustSend(t, c, env, text(hello))
	if from := s.Transactions()[0].MailFrom; from.Address != "" {
		t.Errorf("MAIL FROM:<%s>", from.Address)
	}
	if _, err := c.Send(context.Background(), &smtp.Envelope{}, text(hello)); !smtp.IsPermanent(err) {
		t.Errorf("no recipients: %v", err)
	}
	if _, err := c.Send(context.Background(), bob(), nil); !smtp.IsPermanent(err) {
		t.Errorf("no content: %v", err)
	}
	out, err := c.Send(context.Background(), bob(), long(2000))
	if e := asError(t, err); !smtp.IsPermanent(err) || e.Enhanced.String() != "5.3.4" || e.Phase != smtp.PhaseMail || out.RoundTrips != 0 {
		t.Errorf("too large: %v, %d round trips", err, out.RoundTrips)
	}
	if c.Closed() || c.Messages() != 1 {
		t.Errorf("closed %v, %d transactions", c.Closed(), c.Messages())
	}
}
