package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/mail/dkim"
	"github.com/postrider/postrider/retry"
)

// sendCommand sends one message, or with --merge one for each row of a CSV file.
type sendCommand struct {
	messageFlags `embed:""`
	relayFlags   `embed:""`

	NoRetry bool          `group:"run" help:"Do not try again after a transient failure (else after 1, 5 and 30 seconds)."`
	Timeout time.Duration `group:"run" placeholder:"D" help:"Give up after this long in all, such as 90s. Default: only each SMTP phase is bounded; RFC 5321 waits 10 minutes for the last reply."`
	JSON    bool          `group:"run" name:"json" help:"Print one JSON object (with --merge: one a row)."`
	Print   bool          `group:"run" help:"Print the composed message and send nothing."`

	mergeFlags  `embed:""`
	detailFlags `embed:""`
}

// Help is the text between the command's summary and its flags.
func (*sendCommand) Help() string {
	return `Examples:

    postrider send --relay smtp://user@mail.example.com:587 --password-file pw \
        --from shop@example.com --to ann@example.net --subject Receipt --text Thanks --attach receipt.pdf
    postrider send --merge people.csv --from shop@example.com --to '{{name}} <{{email}}>' \
        --subject 'Hello {{name}}' --text-file letter.txt

` + exitHelp
}

// closingTime bounds what follows when the answer is known: QUIT and the like.
const closingTime = 5 * time.Second

// Run composes the message, sends it and prints the answer.
func (c *sendCommand) Run(p *program) error {
	ctx := p.ctx
	if c.Timeout < 0 {
		return usagef("--timeout: %s is negative; write for example 90s", c.Timeout)
	}
	if c.Charset != "" && c.Raw == "" && c.TextFile == "" && c.HTMLFile == "" {
		return usagef("--charset goes with --text-file and --html-file; all else on the command line is UTF-8")
	}
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	sign, err := c.signer()
	if err != nil {
		return err
	}
	source := &messageSource{ctx: ctx, stdin: p.stdin}
	defer source.close()
	if c.Merge != "" {
		return c.runMerge(ctx, p, source, sign)
	}
	if c.mergeOnly() {
		return usagef("--results, --resume and --resend-unknown need --merge FILE")
	}
	if c.Print {
		return c.print(p, source, sign)
	}
	// First the client: a wrong command line must not wait for standard input.
	client, err := c.client(p, c.adjust(sign))
	if err != nil {
		return err
	}
	defer closeClient(ctx, client)
	composed, err := c.compose(source)
	if err != nil {
		return c.refuse(p, err)
	}
	if ctx.Err() != nil {
		return errInterrupted(ctx)
	}
	return c.report(ctx, p, client, composed)
}

// closeClient says QUIT. The answer is known by then, so an error changes nothing.
func closeClient(ctx context.Context, client *postrider.Client) {
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closingTime)
	defer cancel()
	_ = client.Close(closing)
}

func (c *sendCommand) adjust(sign signFunc) func(*postrider.Config) {
	return func(cfg *postrider.Config) {
		cfg.Sign = sign
		cfg.Compose = *c.options()
		if c.NoRetry {
			cfg.Retry = &retry.Schedule{}
		}
	}
}

type signFunc = func(*mail.Composed) (*mail.Composed, error)

func (c *sendCommand) print(p *program, source *messageSource, sign signFunc) error {
	m, err := c.compose(source)
	if err == nil && sign != nil {
		m, err = sign(m)
	}
	if err != nil {
		return c.refuse(p, err)
	}
	_, err = m.WriteTo(p.stdout)
	return err
}

// refuse reports a message that cannot be sent: the faults as lines, or as a result.
func (c *sendCommand) refuse(p *program, err error) error {
	faults, ok := errors.AsType[mail.Faults](err)
	if !ok || !c.JSON {
		return err
	}
	result := &postrider.Result{Status: postrider.StatusInvalid, SMTPError: oneLine(err.Error()), Faults: faults}
	if err := printJSON(p.stdout, result); err != nil {
		return err
	}
	return &exitError{exitInvalid, errReported}
}

// report sends the message and prints the answer. The exit status tells what
// became of the message, even where the answer cannot be printed: who takes a
// full disk for a failure of sending would send it again.
func (c *sendCommand) report(ctx context.Context, p *program, client *postrider.Client, m *mail.Composed) error {
	result, sendErr := client.SendComposed(ctx, m)
	show := printResult
	if c.JSON {
		show = func(w io.Writer, r *postrider.Result) error { return printJSON(w, r) }
	}
	if err := show(p.stdout, result); err != nil {
		fmt.Fprintf(p.stderr, "postrider: %s, but that could not be printed: %s\n", result.Status, oneLine(err.Error()))
	}
	if sendErr != nil {
		return &exitError{statusOf(sendErr), errReported}
	}
	return nil
}

// signer builds the DKIM signer that the flags describe; nil: none.
func (c *sendCommand) signer() (signFunc, error) {
	given := 0
	for _, v := range []string{c.DKIMDomain, c.DKIMSelector, c.DKIMKey} {
		if v != "" {
			given++
		}
	}
	if given == 0 {
		return nil, nil
	}
	if given != 3 {
		return nil, usagef("--dkim-domain, --dkim-selector and --dkim-key go together")
	}
	pem, err := readSmallFile(c.DKIMKey)
	if err != nil {
		return nil, usagef("--dkim-key: %w", err)
	}
	key, err := dkim.ParseKey(pem)
	if err != nil {
		return nil, usagef("--dkim-key: %s: %w", c.DKIMKey, err)
	}
	s, err := dkim.New(dkim.Config{Domain: c.DKIMDomain, Selector: c.DKIMSelector, Key: key})
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return s.Sign, nil
}
