package postrider_test

import (
	"context"
	"fmt"
	"log"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/smtp/smtptest"
)

// The example of the README, word for word.
func Example() {
	client, err := postrider.New("smtp://user:password@mail.example.com:587", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(context.Background())

	result, err := client.Send(context.Background(), &mail.Message{
		From:    mail.Addr("Shop <shop@example.com>"),
		To:      mail.Addrs("Zoë <zoe@example.net>", "max@example.org"),
		Subject: "Your receipt",
		Text:    "Thank you for your order.",
	})
	if err != nil {
		log.Print(err) // one line; result says what became of each recipient
	}
	fmt.Println(result.Status, result.MessageID)
}

// One refused recipient does not stop the others, and each has its answer.
func ExampleClient_Send() {
	server, err := smtptest.Start(smtptest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	server.On(smtptest.Rule{Command: "RCPT", Match: "bob@", Action: smtptest.Reply("550 5.1.1 no such user")})

	client, err := postrider.New("smtp://"+server.Addr(), &postrider.Config{TLSConfig: server.TLSClientConfig()})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(context.Background())
	result, err := client.Send(context.Background(), &mail.Message{
		From:    mail.Addr("Shop <shop@example.com>"),
		To:      mail.Addrs("ann@example.net", "bob@example.net"),
		Subject: "Your receipt",
		Text:    "Thank you for your order.",
	})
	fmt.Println(result.Status)
	for _, r := range result.Recipients {
		fmt.Println(r.Address, r.State, r.Reply.Code)
	}
	fmt.Println(err)
	// Output:
	// partial
	// ann@example.net sent 250
	// bob@example.net failed 550
	// postrider: partial: <bob@example.net>: 550 5.1.1 no such user (1 of 2 recipients not sent)
}

// Check tells what a relay offers without sending anything.
func ExampleClient_Check() {
	server, err := smtptest.Start(smtptest.Config{Users: map[string]string{"shop": "secret"}})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client, err := postrider.New("smtp://shop:secret@"+server.Addr(), &postrider.Config{TLSConfig: server.TLSClientConfig()})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(context.Background())
	report, err := client.Check(context.Background())
	fmt.Println(report.OK, report.TLS.Version, report.AuthMechanism, report.RoundTripsPerMessage, err)
	// Output: true TLS 1.3 SCRAM-SHA-256 1 <nil>
}
