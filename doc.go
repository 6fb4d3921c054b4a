// Package postrider sends mail through an SMTP relay: one call takes a message,
// validates and composes it, hands it to the relay in as few round trips as the
// relay allows, tries again where that is safe, and returns an answer for every
// recipient.
//
// A [Client] belongs to one relay as one user, keeps a bounded pool of
// connections to it, and is safe for concurrent use:
//
//	client, err := postrider.New("smtp://user:password@mail.example.com:587", nil)
//	…
//	defer client.Close(context.Background())
//	result, err := client.Send(ctx, &mail.Message{
//		From:    mail.Addr("Shop <shop@example.com>"),
//		To:      mail.Addrs("Zoë <zoe@example.net>"),
//		Subject: "Your receipt",
//		Text:    "Thank you.",
//	})
//
// What a success says: the relay answered 250 after the content and took
// responsibility (RFC 5321 §4.2.5). It does not say that anybody has received
// or read the message.
//
// What the package does not do: it keeps nothing on disk (a message whose Send
// has not returned is lost with the process), it looks up no MX records, and it
// never sends again where the relay may already hold the message, unless told
// to by [Config.RetryUnknown].
//
// The parts can be used alone: package mail composes and validates, package
// smtp holds one conversation, package smtppool many connections, package retry
// decides when to try again.
package postrider
