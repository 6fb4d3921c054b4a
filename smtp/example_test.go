package smtp_test

import (
	"context"
	"fmt"
	"log"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
)

func Example() {
	relay, err := smtptest.Start(smtptest.Config{}) // stands for a real one
	if err != nil {
		log.Fatal(err)
	}
	defer relay.Close()
	relay.On(smtptest.Rule{Command: "RCPT", Match: "carol@", Action: smtptest.Reply("550 5.1.1 no such user")})

	d, err := smtp.NewDialer(smtp.Config{Host: relay.Host(), Port: relay.Port(), TLSConfig: relay.TLSClientConfig()})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	c, err := d.Dial(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Quit(ctx) }()

	out, err := c.Send(ctx, &smtp.Envelope{
		MailFrom: "alice@example.com",
		RcptTo:   []smtp.Recipient{{Address: "bob@example.com"}, {Address: "carol@example.com"}},
	}, smtp.Bytes([]byte("From: alice@example.com\r\nSubject: hello\r\n\r\nHello.\r\n")))
	if err != nil {
		log.Fatal(err) // nobody was served
	}
	for _, r := range out.Recipients {
		fmt.Println(r.Address, r.Err)
	}
	fmt.Println("round trips:", out.RoundTrips)
	// Output:
	// bob@example.com <nil>
	// carol@example.com smtp: rcpt <carol@example.com>: 550 5.1.1 no such user
	// round trips: 1
}

func ExampleMaybeAccepted() {
	relay, err := smtptest.Start(smtptest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer relay.Close()
	// A relay that takes the message and dies before it can say so.
	relay.On(smtptest.Rule{Command: smtptest.CommandContent, Action: smtptest.Sequence(smtptest.Accept(), smtptest.Drop())})

	d, err := smtp.NewDialer(smtp.Config{Host: relay.Host(), Port: relay.Port(), TLSMode: smtp.TLSNone})
	if err != nil {
		log.Fatal(err)
	}
	c, err := d.Dial(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	_, err = c.Send(context.Background(), &smtp.Envelope{RcptTo: []smtp.Recipient{{Address: "bob@example.com"}}},
		smtp.Bytes([]byte("Subject: hello\r\n\r\nHello.\r\n")))
	fmt.Println(smtp.IsTransient(err), smtp.MaybeAccepted(err))
	// Output: false true
}
