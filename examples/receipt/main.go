// Command receipt sends one message with a text and an HTML body, a picture
// that the HTML shows, and an attachment, and tells what became of each
// recipient.
//
//	export POSTRIDER_RELAY='smtp://user:password@mail.example.com:587'
//	go run ./examples/receipt -from shop@example.com -to zoe@example.net -picture logo.png -attach receipt.pdf
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/smtp"
)

func main() {
	log.SetFlags(0)
	from := flag.String("from", "Shop <shop@example.com>", "the author")
	to := flag.String("to", "", "the recipients, separated by commas")
	picture := flag.String("picture", "", "a picture that the HTML shows")
	attach := flag.String("attach", "", "a file to attach")
	flag.Parse()

	// Ctrl-C interrupts whatever is under way.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *from, *to, *picture, *attach); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, from, to, picture, attach string) error {
	client, err := postrider.New(os.Getenv("POSTRIDER_RELAY"), nil)
	if err != nil {
		return err
	}
	defer client.Close(context.Background())

	recipients, err := mail.ParseAddressList(to)
	if err != nil {
		return err
	}
	m := &mail.Message{
		From:    mail.Addr(from),
		To:      recipients,
		Subject: "Your receipt",
		Text:    "Thank you for your order.\n",
		HTML:    "<p>Thank you for your order.</p>\n",
	}
	if picture != "" {
		logo, err := mail.FileAttachment(picture)
		if err != nil {
			return err
		}
		logo.ContentID = "logo"
		m.HTML += `<p><img src="cid:logo" alt=""></p>` + "\n"
		m.Attachments = append(m.Attachments, logo)
	}
	if attach != "" {
		// The file is read while it is sent, never held in memory.
		file, err := mail.FileAttachment(attach)
		if err != nil {
			return err
		}
		m.Attachments = append(m.Attachments, file)
	}

	result, err := client.Send(ctx, m)
	for _, r := range result.Recipients {
		fmt.Println(r.Address, r.State, r.Reply)
	}
	if smtp.MaybeAccepted(err) {
		return errors.Join(err, errors.New("the relay may hold the message: ask there before sending it again"))
	}
	return err
}
