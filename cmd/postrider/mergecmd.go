package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/merge"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/retry"
)

// mergeFlags turn a message into one for each row of a CSV file.
type mergeFlags struct {
	Merge         string `group:"merge" placeholder:"FILE.csv" help:"Send one message for each row. {{column}} stands for the row's value in addresses, --subject, --header, --list-unsubscribe, text and HTML (escaped there)."`
	Results       string `group:"merge" placeholder:"FILE" help:"Where each row's answer goes, as CSV; default: FILE.csv.results.csv."`
	Resume        bool   `group:"merge" help:"Go on with an earlier run: skip the rows that were sent, and those that may have been."`
	ResendUnknown bool   `group:"merge" help:"With --resume: send rows again whose outcome is not known; they may arrive twice."`
	Concurrency   int    `group:"merge" default:"10" help:"Rows, and so connections, at a time."`
}

func (f *mergeFlags) mergeOnly() bool { return f.Results != "" || f.Resume || f.ResendUnknown }

// graceAfterSignal is how long messages under way may take once the user wants to
// stop: more than a relay in good order needs, less than a person's patience.
const graceAfterSignal = 30 * time.Second

func (c *sendCommand) checkMerge() error {
	switch {
	case c.Raw != "" || c.Print:
		return usagef("--merge composes a message for each row: it cannot go with --raw or --print")
	case c.Concurrency < 1 || c.Concurrency > 1000:
		return usagef("--concurrency: %d is not between 1 and 1000", c.Concurrency)
	case c.MessageID != "":
		return usagef("--message-id cannot go with --merge: each message needs its own")
	case c.ResendUnknown && !c.Resume:
		return usagef("--resend-unknown needs --resume")
	case len(c.To)+len(c.Cc)+len(c.Bcc) == 0:
		return usagef("--to is missing: write --to '{{email}}' with the column that holds the address")
	case c.From == "":
		return usagef("--from is missing: write --from shop@example.com")
	}
	return nil
}

func (c *sendCommand) runMerge(ctx context.Context, p *program, source *messageSource, sign signFunc) error {
	if err := c.checkMerge(); err != nil {
		return err
	}
	results := c.Results
	if results == "" {
		results = c.Merge + ".results.csv"
	}
	client, err := c.client(p, func(cfg *postrider.Config) {
		c.adjust(sign)(cfg)
		cfg.Pool.MaxConns = c.Concurrency
	})
	if err != nil {
		return err
	}
	defer closeClient(ctx, client)
	// A first signal begins no further row; those under way get some time.
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		defer cancel()
		_ = retry.Wait(sending, graceAfterSignal)
	})()

	bar := &progress{}
	run, err := merge.Prepare(merge.Config{
		Rows:          c.Merge,
		Results:       results,
		Resume:        c.Resume,
		ResendUnknown: c.ResendUnknown,
		Concurrency:   c.Concurrency,
		Letter:        func(columns []string) (*merge.Letter, error) { return c.letter(source, columns) },
		Send:          client.Send,
		Each: func(a merge.Answer) error {
			// The row's line first: a bar that is full ends, and takes no line any more.
			err := c.printRow(p, bar, a)
			bar.step()
			return err
		},
	})
	if err != nil {
		return mergeFault(err)
	}
	before := run.Summary()
	if before.Skipped > 0 {
		fmt.Fprintf(p.stderr, "postrider: %d of %d rows were dealt with in the earlier run and are skipped%s\n",
			before.Skipped, before.Rows, unknownNote(before.SkippedUnknown))
	}
	if !c.Verbose { // the dialogue and a bar would overwrite each other
		bar.start(p.stderr, before.Rows-before.Skipped)
	}
	summary, err := run.Go(sending, ctx)
	bar.finish()
	return c.summarise(ctx, p, summary, results, err)
}

func unknownNote(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d of them with an unknown outcome (--resend-unknown sends those again)", n)
}

// mergeFault sorts what Prepare has found: a fault of the message, of this machine, or of what was given.
func mergeFault(err error) error {
	_, storage := errors.AsType[*merge.StorageError](err)
	if storage || statusOf(err) != exitSoftware {
		return err
	}
	return usagef("--merge: %w", err)
}

// letter prepares the message of the flags for the CSV's columns.
func (c *sendCommand) letter(source *messageSource, columns []string) (*merge.Letter, error) {
	f := merge.Fields{
		To: c.To, Cc: c.Cc, Bcc: c.Bcc, ReplyTo: c.ReplyTo,
		Subject: c.Subject, Text: c.Text, HTML: c.HTML, ListUnsubscribe: c.ListUnsubscribe,
	}
	plain := *c
	plain.To, plain.Cc, plain.Bcc, plain.ReplyTo, plain.Subject, plain.Text, plain.HTML, plain.ListUnsubscribe = nil, nil, nil, nil, "", "", "", nil
	plain.TextFile, plain.HTMLFile = "", ""
	var err error
	if c.TextFile != "" {
		if f.Text, err = readTemplate(source, "--text-file", c.TextFile, c.Charset); err != nil {
			return nil, templateFault("text", err)
		}
	}
	if c.HTMLFile != "" {
		if f.HTML, err = readTemplate(source, "--html-file", c.HTMLFile, c.Charset); err != nil {
			return nil, templateFault("html", err)
		}
	}
	base, err := plain.message(source)
	if err != nil {
		return nil, err
	}
	f.Header, base.Header = base.Header, nil
	return merge.NewLetter(*base, f, columns)
}

func templateFault(field string, err error) error {
	fault, err := fileFault(field, err)
	if err != nil {
		return err
	}
	return mail.Faults{fault}
}

// readTemplate reads a body's template; it is held in memory once for all rows.
func readTemplate(source *messageSource, flag, path, charset string) (string, error) {
	open, err := source.open(flag, path, charset)
	if err != nil {
		return "", err
	}
	r, err := open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

// printRow prints a row's answer: with --json each, else those that were not sent.
func (c *sendCommand) printRow(p *program, bar *progress, a merge.Answer) error {
	if c.JSON {
		e := json.NewEncoder(p.stdout)
		e.SetEscapeHTML(false)
		if err := e.Encode(struct {
			Row    int               `json:"row"`
			Result *postrider.Result `json:"result"`
		}{a.Row, a.Result}); err != nil {
			return &exitError{exitSoftware, fmt.Errorf("answers cannot be printed: %w", err)}
		}
		return nil
	}
	if a.Result.Status != postrider.StatusSuccess {
		// Lost with the terminal, at worst: the results file has it too.
		fmt.Fprintf(bar.out(p.stderr), "postrider: row %d <%s>: %s: %s\n", a.Row, printable(a.To), a.Result.Status, oneLine(a.Result.SMTPError))
	}
	return nil
}

func (c *sendCommand) summarise(ctx context.Context, p *program, s merge.Summary, results string, stopped error) error {
	done := 0
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(s.Count)) {
		done += s.Count[status]
		parts = append(parts, fmt.Sprintf("%d %s", s.Count[status], status))
	}
	if len(parts) == 0 {
		parts = []string{"nothing sent"}
	}
	fmt.Fprintf(p.stderr, "postrider: %d rows, %d skipped, %d left: %s; answers in %s\n",
		s.Rows, s.Skipped, s.Rows-s.Skipped-done, strings.Join(parts, ", "), printable(results))
	status := mergeStatus(s)
	if stopped == nil {
		if status == exitOK {
			return nil
		}
		return &exitError{status, errReported}
	}
	_, storage := errors.AsType[*merge.StorageError](stopped)
	_, printing := errors.AsType[*exitError](stopped)
	switch {
	case storage, printing:
		status = exitSoftware
	case status == exitOK || status == exitInvalid:
		status = exitTemporary
	}
	if errors.Is(stopped, merge.ErrInterrupted) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		stopped = errors.New("the time that --timeout gives is over")
	}
	return &exitError{status, fmt.Errorf("%w; go on with --resume", stopped)}
}

// mergeStatus gives the gravest exit status among the rows.
func mergeStatus(s merge.Summary) int {
	switch {
	case s.AuthRefused:
		return exitNoAuth
	case s.Count[postrider.StatusUnknown] > 0:
		return exitUnknown
	case s.Count[postrider.StatusRetry]+s.Count[postrider.StatusTempFailed] > 0:
		return exitTemporary
	case s.Count[postrider.StatusRejected]+s.Count[postrider.StatusFailed]+s.Count[postrider.StatusPartial] > 0:
		return exitUnavailable
	case s.Count[postrider.StatusInvalid] > 0:
		return exitInvalid
	default:
		return exitOK
	}
}
