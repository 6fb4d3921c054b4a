package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/internal/egress"
	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/store"
)

// relaySettings are the settings of the service that the relay commands need beside the database.
func relaySettings() []string {
	return append(databaseSettings(), "seal_keyset", "egress_allow", "egress_ports", "hostname")
}

// relayFields are what a relay is, as flags; those that are not given are nil.
type relayFields struct {
	Host          *string `group:"relay" placeholder:"HOST" help:"Domain name or IP address of the server."`
	Port          *int    `group:"relay" placeholder:"PORT" help:"Port. Default: 25, 587 or 465, by --tls."`
	TLS           *string `group:"relay" name:"tls" enum:"none,tls,ssl" placeholder:"MODE" help:"none, tls (STARTTLS, required) or ssl (TLS from the first octet). Default: ssl on port 465, else tls."`
	Username      *string `group:"relay" placeholder:"NAME" help:"User name; empty: no login."`
	PasswordFile  *string `group:"relay" placeholder:"FILE" help:"Read the password from the first line of FILE; - is standard input; empty: no password."`
	HELO          *string `group:"relay" name:"helo" placeholder:"NAME" help:"Name given in EHLO. Default: the service's hostname."`
	FromDomains   *string `group:"relay" placeholder:"DOMAIN,…" help:"Domains that it may send for; empty, the default: any."`
	MaxConns      *int    `group:"relay" placeholder:"N" help:"Connections at the same time. 0, the default: 10."`
	PerConn       *int    `group:"relay" name:"messages-per-conn" placeholder:"N" help:"Messages over one connection. 0, the default: 100."`
	PerMinute     *int    `group:"relay" name:"messages-per-minute" placeholder:"N" help:"Messages a minute. 0, the default: no limit."`
	PerDay        *int    `group:"relay" name:"recipients-per-day" placeholder:"N" help:"Recipients a day. 0, the default: no limit."`
	RetrySchedule *string `group:"relay" placeholder:"TIME,…" help:"Waits before the second, third, … attempt; the last one is repeated. Empty, the default: 1s,5s,30s, then 2m doubling to 1h."`
	GiveUpAfter   *string `group:"relay" placeholder:"TIME" help:"How long a message is tried. Empty, the default: 72h."`
	CAFile        *string `group:"relay" name:"ca-file" placeholder:"FILE" help:"Certificates (PEM) that the relay's must descend from; empty, the default: the system's."`
	SkipVerify    *bool   `group:"relay" name:"dangerously-skip-tls-verify" negatable:"" help:"Take any certificate: anybody on the way can read the mail and the password."`
}

// patch reads the files that flags name.
func (f *relayFields) patch(p *program, old store.RelayLimits) (api.RelayPatch, error) {
	patch := api.RelayPatch{Host: f.Host, Port: f.Port, TLS: f.TLS, Username: f.Username, HELO: f.HELO, GiveUpAfter: f.GiveUpAfter, DangerouslySkipTLSVerify: f.SkipVerify}
	list := func(text *string) *[]string {
		if text == nil {
			return nil
		}
		all := []string{}
		for one := range strings.SplitSeq(*text, ",") {
			if one = strings.TrimSpace(one); one != "" {
				all = append(all, one)
			}
		}
		return &all
	}
	patch.FromDomains, patch.RetrySchedule = list(f.FromDomains), list(f.RetrySchedule)
	limits := api.RelayLimits{
		MaxConns: old.MaxConns, MessagesPerConn: old.MessagesPerConn, MessagesPerMinute: old.MessagesPerMinute, RecipientsPerDay: old.RecipientsPerDay,
	}
	for _, l := range []struct{ to, from *int }{
		{&limits.MaxConns, f.MaxConns},
		{&limits.MessagesPerConn, f.PerConn},
		{&limits.MessagesPerMinute, f.PerMinute},
		{&limits.RecipientsPerDay, f.PerDay},
	} {
		if l.from != nil {
			*l.to, patch.Limits = *l.from, &limits
		}
	}
	if f.CAFile != nil {
		text := ""
		if *f.CAFile != "" {
			pem, err := readSmallFile(*f.CAFile)
			if err != nil {
				return patch, usagef("--ca-file: %w", err)
			}
			text = string(pem)
		}
		patch.CACert = &text
	}
	if f.PasswordFile != nil {
		text := ""
		if *f.PasswordFile != "" {
			var err error
			if text, err = readPassword(p, *f.PasswordFile); err != nil {
				return patch, err
			}
			if text == "" {
				return patch, usagef("--password-file: the first line of %s is empty", *f.PasswordFile)
			}
		}
		patch.Password = &text
	}
	return patch, nil
}

// desk is what commands share with the routes of the HTTP API.
func (i *installation) desk() (httpapi.Desk, error) {
	if err := i.need("seal_keyset", "egress_allow", "egress_ports"); err != nil {
		return httpapi.Desk{}, err
	}
	if i.keys.sealer == nil {
		return httpapi.Desk{}, &exitError{exitConfig, errors.New("there is no key to seal passwords with yet: postrider serve makes one")}
	}
	dialer, err := (&plan{settings: i.settings}).newEgress()
	return httpapi.Desk{Store: i.store, Sealer: i.keys.sealer, Egress: dialer}, err
}

// fieldFaults makes what is wrong with fields of a relay one line each, by the names of the flags.
func fieldFaults(err error) error {
	faults := httpapi.Faults(err)
	if len(faults) == 0 {
		return err
	}
	lines := make(faultLines, len(faults))
	for i, f := range faults {
		name, _, _ := strings.Cut(strings.TrimPrefix(f.Pointer, "/"), "/")
		switch name {
		case "ca_cert":
			name = "ca_file"
		case "password":
			name = "password_file"
		}
		lines[i] = fmt.Sprintf("--%s: %s", strings.ReplaceAll(name, "_", "-"), f.Detail)
	}
	return &exitError{exitInvalid, lines}
}

type relayCreateCommand struct {
	Name string `arg:"" help:"Name, unique among its owner's relays."`
	ofOwner
	relayFields
	JSON bool `group:"run" name:"json" help:"Print one object."`
	settingsFlags
}

// Run creates a relay.
func (c *relayCreateCommand) Run(p *program) error {
	if c.Host == nil {
		return usagef("--host is missing")
	}
	return c.withOwner(p, c.Tenant, func(o relayOwner) error {
		desk, err := o.desk()
		if err != nil {
			return err
		}
		f, err := c.patch(p, store.RelayLimits{})
		if err != nil {
			return err
		}
		n, err := desk.NewRelay(o.id, api.NewRelay{
			Name: c.Name, Host: given(f.Host), Port: given(f.Port), TLS: given(f.TLS), Username: given(f.Username), Password: given(f.Password), HELO: given(f.HELO),
			FromDomains: given(f.FromDomains), Limits: given(f.Limits), RetrySchedule: given(f.RetrySchedule), GiveUpAfter: given(f.GiveUpAfter), CACert: given(f.CACert),
			DangerouslySkipTLSVerify: given(f.DangerouslySkipTLSVerify),
		})
		if err != nil {
			return fieldFaults(err)
		}
		r, err := o.CreateRelay(p.ctx, n, atCommandLine("relay create"))
		if err != nil {
			return err
		}
		return printRelay(p, c.JSON, r)
	})
}

// given is what a flag says, or nothing.
func given[T any](flag *T) T {
	if flag == nil {
		var none T
		return none
	}
	return *flag
}

type relayUpdateCommand struct {
	theRelay
	Name *string `group:"relay" placeholder:"NAME" help:"Another name."`
	relayFields
	JSON bool `group:"run" name:"json" help:"Print one object."`
	settingsFlags
}

// Help is the text between the command's summary and its flags.
func (*relayUpdateCommand) Help() string {
	return "What no flag names stays. A running service uses the new settings within a second or two. Another host needs the password again."
}

// Run changes a relay.
func (c *relayUpdateCommand) Run(p *program) error {
	return c.withRelay(p, c.theRelay, func(o relayOwner, old store.Relay) error {
		if o.id != old.OwnerTenant {
			return o.owned(store.ErrNotOwner, old)
		}
		desk, err := o.desk()
		if err != nil {
			return err
		}
		f, err := c.patch(p, old.Limits)
		if err != nil {
			return err
		}
		f.Name = c.Name
		patch, err := desk.RelayPatch(o.id, old, f)
		if err != nil {
			return fieldFaults(err)
		}
		r, err := o.UpdateRelay(p.ctx, old.ID, patch, atCommandLine("relay update"))
		if err != nil {
			return o.owned(err, old)
		}
		return printRelay(p, c.JSON, r)
	})
}

type relayCheckCommand struct {
	theRelay
	JSON bool `group:"run" name:"json" help:"Print one object, as postrider check --json does."`
	settingsFlags
}

// Help is the text between the command's summary and its flags.
func (*relayCheckCommand) Help() string {
	return "It is dialled from this machine, under the rules of egress_allow and egress_ports. " + exitHelp
}

// Run checks a relay.
func (c *relayCheckCommand) Run(p *program) error {
	return c.withRelay(p, c.theRelay, func(o relayOwner, r store.Relay) error {
		desk, err := o.desk()
		if err != nil {
			return err
		}
		secret := o.RelaySecret
		if r.OwnerTenant != o.id { // a shared one
			secret = o.store.Operator().RelaySecret
		}
		report, refused, err := desk.CheckRelay(p.ctx, r, secret)
		if err != nil {
			return err
		}
		if c.JSON {
			err = printJSON(p.stdout, report)
		} else {
			err = printReport(p.stdout, report, advice(refused))
		}
		if err != nil || refused == nil {
			return err
		}
		if _, ok := errors.AsType[*egress.RefusedError](refused); ok {
			return &exitError{exitUnavailable, errReported} // it will not work later, unless the settings change
		}
		return &exitError{statusOf(refused), errReported}
	})
}
