// Package signup is a small piece of a program that sends mail, with a test
// that shows how such a piece is tested against a real SMTP server.
package signup

import (
	"context"
	"fmt"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mail"
)

// Mailer sends the mails of a sign-up. Client is the program's one client.
type Mailer struct {
	Client *postrider.Client
	From   mail.Address
}

// Welcome sends a new user the link that confirms the address. The error is
// nil only if the relay took the message.
func (m *Mailer) Welcome(ctx context.Context, user mail.Address, link string) error {
	_, err := m.Client.Send(ctx, &mail.Message{
		From:          m.From,
		To:            []mail.Address{user},
		Subject:       "Please confirm your address",
		Text:          "Welcome. Open this link to confirm your address:\n\n" + link + "\n",
		AutoSubmitted: mail.AutoSubmittedGenerated,
	})
	if err != nil {
		return fmt.Errorf("welcome mail: %w", err)
	}
	return nil
}
