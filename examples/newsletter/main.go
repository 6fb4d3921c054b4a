// Command newsletter sends each reader a message of its own, over one client
// with a few connections, signed with DKIM, with a link that ends the
// subscription by one click (RFC 8058). Readers come from standard input, an
// address a line.
//
//	export POSTRIDER_RELAY='smtp://user:password@mail.example.com:587'
//	go run ./examples/newsletter -from news@example.com -domain example.com -selector s1 -key key.pem < readers.txt
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log"
	"net/url"
	"os"
	"os/signal"
	"sync"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/mail/dkim"
	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtppool"
)

const connections = 4

func main() {
	log.SetFlags(0)
	from := flag.String("from", "News <news@example.com>", "the author")
	domain := flag.String("domain", "", "the signing domain")
	selector := flag.String("selector", "", "the name of the key in that domain")
	keyFile := flag.String("key", "", "a file with the private key in PEM; none: messages are not signed")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *from, *domain, *selector, *keyFile); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, from, domain, selector, keyFile string) error {
	cfg := &postrider.Config{Pool: smtppool.Config{MaxConns: connections}}
	if keyFile != "" {
		text, err := os.ReadFile(keyFile)
		if err != nil {
			return err
		}
		key, err := dkim.ParseKey(text)
		if err != nil {
			return err
		}
		signer, err := dkim.New(dkim.Config{Domain: domain, Selector: selector, Key: key})
		if err != nil {
			return err
		}
		cfg.Sign = signer.Sign
	}
	client, err := postrider.New(os.Getenv("POSTRIDER_RELAY"), cfg)
	if err != nil {
		return err
	}
	defer client.Close(context.Background())

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	readers := make(chan string)
	var senders sync.WaitGroup
	for range connections {
		senders.Go(func() {
			for reader := range readers {
				result, err := client.Send(ctx, issue(from, reader))
				fmt.Println(reader, result.Status, result.SMTPError)
				if smtp.IsRelayFault(err) {
					cancel(err) // a wrong password stops the run, not every message by itself
				}
			}
		})
	}
	lines := bufio.NewScanner(os.Stdin)
	for ctx.Err() == nil && lines.Scan() {
		readers <- lines.Text()
	}
	close(readers)
	senders.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return lines.Err()
}

// issue is one reader's message.
func issue(from, reader string) *mail.Message {
	return &mail.Message{
		From:                mail.Addr(from),
		To:                  mail.Addrs(reader),
		Subject:             "News of the week",
		Text:                "It was a quiet week.\n",
		ListUnsubscribe:     []string{"https://example.com/leave?reader=" + url.QueryEscape(reader)},
		ListUnsubscribePost: true,
	}
}
