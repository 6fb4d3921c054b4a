package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/postrider/postrider"
)

type checkCommand struct {
	relayFlags `embed:""`
	Timeout    time.Duration `group:"run" default:"1m" help:"Give up after this long."`
	JSON       bool          `group:"run" name:"json" help:"Print one JSON object."`
}

// Help is the text between the command's summary and its flags.
func (*checkCommand) Help() string { return exitHelp }

// Run checks the relay and prints the report.
func (c *checkCommand) Run(p *program) error {
	if c.Timeout <= 0 {
		return usagef("--timeout: %s is no time; write for example 30s", c.Timeout)
	}
	client, err := c.client(p, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(p.ctx, c.Timeout)
	defer cancel()
	report, checkErr := client.Check(ctx)
	closeClient(ctx, client)
	if c.JSON {
		if err := printJSON(p.stdout, report); err != nil {
			return err
		}
	} else if err := printReport(p.stdout, report, advice(checkErr)); err != nil {
		return err
	}
	if checkErr != nil {
		return &exitError{statusOf(checkErr), errReported}
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func printReport(out io.Writer, r *postrider.CheckReport, said string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, a ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, oneLine(fmt.Sprintf(format, a...)))
	}
	row("relay", "%s", r.Relay)
	if r.RemoteAddress != "" {
		row("address", "%s", r.RemoteAddress)
	}
	if r.Greeting != "" {
		row("greeting", "%s", r.Greeting)
	}
	if t := r.TLS; t != nil {
		row("TLS", "%s, %s", t.Version, t.CipherSuite)
		row("certificate", "%s, issued by %s", t.Certificate.Subject, t.Certificate.Issuer)
		row("", "for %s, valid until %s", strings.Join(t.Certificate.DNSNames, ", "), t.Certificate.NotAfter.Format(time.DateOnly))
		row("", "SHA-256 %s", t.Certificate.SHA256)
	} else if r.OK {
		row("TLS", "none: the connection is not encrypted")
	}
	switch {
	case r.AuthMechanism != "":
		row("authenticated", "with %s (offered: %s)", r.AuthMechanism, strings.Join(r.AuthOffered, " "))
	case r.OK && len(r.AuthOffered) > 0:
		row("authenticated", "no (offered: %s)", strings.Join(r.AuthOffered, " "))
	}
	for i, keyword := range slices.Sorted(maps.Keys(r.Extensions)) {
		name := "extensions"
		if i > 0 {
			name = ""
		}
		row(name, "%s", strings.TrimSpace(keyword+" "+r.Extensions[keyword]))
	}
	if r.OK {
		row("ready after", "%.1f ms", r.ConnectMS)
		row("round trip", "%.1f ms, %d for each message", r.RoundTripMS, r.RoundTripsPerMessage)
		row("result", "ok")
	} else {
		row("result", "failed: %s", r.Error)
		if said != "" {
			row("", "%s", said)
		}
	}
	return w.Flush()
}
