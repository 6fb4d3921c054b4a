// Command probe drives one conversation by hand, a command at a time: it asks a
// relay whether it would take mail for some recipients, shows the dialogue, and
// sends nothing.
//
//	go run ./examples/probe -host mail.example.com -port 25 -tls none zoe@example.net max@example.org
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/postrider/postrider/smtp"
)

func main() {
	log.SetFlags(0)
	host := flag.String("host", "localhost", "the relay")
	port := flag.Int("port", 0, "its port; 0: that of the TLS mode")
	mode := flag.String("tls", "tls", "none, tls (STARTTLS) or ssl (implicit TLS)")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *host, *port, *mode, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, host string, port int, mode string, recipients []string) error {
	tlsMode, err := smtp.ParseTLSMode(mode)
	if err != nil {
		return err
	}
	dialer, err := smtp.NewDialer(smtp.Config{
		Host:    host,
		Port:    port,
		TLSMode: tlsMode,
		Trace:   func(l smtp.TraceLine) { fmt.Println(l.Dir, l.Text) },
	})
	if err != nil {
		return err
	}
	conn, err := dialer.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()

	// The null reverse-path: nobody is to be told if this should fail.
	if _, err := conn.Mail(ctx, &smtp.Envelope{}, 0); err != nil {
		return err
	}
	for _, address := range recipients {
		reply, err := conn.Rcpt(ctx, smtp.Recipient{Address: address})
		if err != nil && conn.Closed() {
			return err
		}
		fmt.Printf("%s: %s\n", address, reply)
	}
	if err := conn.Reset(ctx); err != nil {
		return err
	}
	return conn.Quit(ctx)
}
