package signup_test

import (
	"context"
	"strings"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/examples/signup"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/retry"
	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
)

// mailer gives a Mailer that talks to server.
func mailer(t *testing.T, server *smtptest.Server) *signup.Mailer {
	t.Helper()
	client, err := postrider.New("smtp://"+server.Addr(), &postrider.Config{
		TLSConfig: server.TLSClientConfig(),
		Retry:     &retry.Schedule{}, // a test need not wait for a second attempt
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	return &signup.Mailer{Client: client, From: mail.Addr("Shop <shop@example.com>")}
}

func TestWelcome(t *testing.T) {
	server := smtptest.StartT(t, smtptest.Config{})
	if err := mailer(t, server).Welcome(t.Context(), mail.Addr("zoe@example.net"), "https://example.com/c/1"); err != nil {
		t.Fatal(err)
	}
	got := server.Transactions()
	if len(got) != 1 || !strings.Contains(got[0].Text(), "https://example.com/c/1") {
		t.Errorf("got %v", got)
	}
}

func TestWelcomeRefused(t *testing.T) {
	server := smtptest.StartT(t, smtptest.Config{})
	server.On(smtptest.Rule{Command: "RCPT", Action: smtptest.Reply("450 4.2.1 come back later")})
	err := mailer(t, server).Welcome(t.Context(), mail.Addr("zoe@example.net"), "https://example.com/c/1")
	if !smtp.IsTransient(err) {
		t.Errorf("got %v, want a transient failure", err)
	}
}
