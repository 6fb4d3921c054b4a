// Command forward sends messages that exist already, as files in the form of
// RFC 5322 (.eml), to the recipients in their own header, or to others.
//
//	export POSTRIDER_RELAY='smtp://user:password@mail.example.com:587'
//	go run ./examples/forward -to archive@example.com message.eml another.eml
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mail"
)

func main() {
	log.SetFlags(0)
	to := flag.String("to", "", "the recipients, separated by commas; empty: those of the header")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *to, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, to string, files []string) error {
	client, err := postrider.New(os.Getenv("POSTRIDER_RELAY"), nil)
	if err != nil {
		return err
	}
	defer client.Close(context.Background())

	var options mail.RawOptions
	if to != "" {
		if options.Rcpt, err = mail.ParseAddressList(to); err != nil {
			return err
		}
	}
	var failed []error
	for _, name := range files {
		// The file is opened for each pass: one to check it, one for each attempt.
		composed, err := mail.ComposeRaw(func() (io.ReadCloser, error) { return os.Open(name) }, &options)
		if err == nil {
			var result *postrider.Result
			result, err = client.SendComposed(ctx, composed)
			fmt.Println(name, result.Status, result.MessageID)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(failed...)
}
