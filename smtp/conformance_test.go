package smtp_test

import (
	"context"
	"strings"
	"testing"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
)

// RFC 5321 §4.1.1.10: a session that lives is not left without QUIT, also when
// it could not be opened.
func TestQuitAfterFailedOpening(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg smtptest.Config
		set func(*smtp.Config)
	}{
		"greeting":          {cfg: smtptest.Config{Rules: []smtptest.Rule{on(smtptest.CommandGreeting, "", smtptest.Reply("554 5.7.1 not you"))}}},
		"EHLO":              {cfg: smtptest.Config{Rules: []smtptest.Rule{on("EHLO", "", smtptest.Reply("451 4.3.0 later"))}}},
		"no STARTTLS":       {cfg: smtptest.Config{Without: []string{"STARTTLS"}}},
		"STARTTLS refused":  {cfg: smtptest.Config{Rules: []smtptest.Rule{on("STARTTLS", "", smtptest.Reply("454 4.7.0 not now"))}}},
		"password":          {cfg: smtptest.Config{Users: map[string]string{"alice": "secret"}}, set: func(c *smtp.Config) { c.Auth = alice("wrong") }},
		"nothing in common": {cfg: smtptest.Config{Users: map[string]string{"alice": "secret"}, Mechanisms: []string{"XOAUTH2"}}, set: func(c *smtp.Config) { c.Auth = alice("secret") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := smtptest.StartT(t, tt.cfg)
			cfg := tlsConfig(s, smtp.TLSStartTLS)
			if tt.set != nil {
				tt.set(&cfg)
			}
			if _, err := newDialer(t, cfg).Dial(context.Background()); err == nil || strings.Contains(err.Error(), "closed") {
				t.Fatalf("got %v", err)
			}
			commands := s.Commands()
			if len(commands) == 0 || commands[len(commands)-1].Verb != "QUIT" {
				t.Errorf("no QUIT: %v", commands)
			}
		})
	}
}

// RFC 8689 §4.2.1: REQUIRETLS goes only where the certificate was verified.
func TestRequireTLSInsistsOnCertificate(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{})
	unverified := tlsConfig(s, smtp.TLSStartTLS)
	unverified.TLSConfig, unverified.DangerouslySkipTLSVerify = nil, true
	for name, cfg := range map[string]smtp.Config{"no TLS": config(s), "not verified": unverified} {
		env := bob()
		env.RequireTLS = true
		_, err := dial(t, cfg).Send(context.Background(), env, text(hello))
		if e := asError(t, err); !smtp.IsPermanent(err) || e.Enhanced.String() != "5.7.10" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// RFC 3461 §4.2, §4.4: ENVID has at most 100 characters as it is sent, ORCPT
// nothing that cannot be printed.
func TestDSNParameterLimits(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{})
	c := dial(t, config(s))
	for id, good := range map[string]bool{strings.Repeat("x", 100): true, strings.Repeat("x", 101): false, strings.Repeat("+", 33): true, strings.Repeat("+", 34): false} {
		env := bob()
		env.EnvelopeID = id
		if _, err := c.Send(context.Background(), env, text(hello)); (err == nil) != good {
			t.Errorf("ENVID %s: %v", id, err)
		}
	}
	for _, original := range []string{"bob\t@example.com", "rfc822;bob\r\n@example.com", "utf-8;zoë\u0085@example.com"} {
		env := bob()
		env.RcptTo[0].OriginalRecipient = original
		if _, err := c.Send(context.Background(), env, text(hello)); !smtp.IsPermanent(err) {
			t.Errorf("ORCPT %q: %v", original, err)
		}
	}
}

// RFC 5321 §4.1.2: a domain has no dot at its end.
func TestLocalNameWithoutFinalDot(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{})
	cfg := config(s)
	cfg.LocalName = "client.example.com."
	dial(t, cfg)
	if name, _ := s.Sessions()[0].Hello(); name != "client.example.com" {
		t.Errorf("EHLO %s", name)
	}
}
