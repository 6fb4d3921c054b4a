package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/store"
)

// relayCommand manages relays: a tenant's, or the operator's.
type relayCommand struct {
	Create    relayCreateCommand    `cmd:"" help:"Create a relay."`
	List      relayListCommand      `cmd:"" help:"List relays, the newest first."`
	Show      relayShowCommand      `cmd:"" help:"Show a relay, without its password."`
	Update    relayUpdateCommand    `cmd:"" help:"Change a relay. A pause because it refused the password ends with it."`
	Delete    relayDeleteCommand    `cmd:"" help:"Delete a relay."`
	Pause     relayPauseCommand     `cmd:"" help:"Pause a relay: messages are accepted and wait, and are not given up meanwhile."`
	Resume    relayResumeCommand    `cmd:"" help:"Let a relay go on, whoever paused it."`
	Check     relayCheckCommand     `cmd:"" help:"Connect to a relay, log in, and report what it offers."`
	Share     relayShareCommand     `cmd:"" help:"Let a tenant use a relay of the operator."`
	Unshare   relayUnshareCommand   `cmd:"" help:"Take a relay of the operator away from a tenant; messages that wait for it stay."`
	PauseAll  relayPauseAllCommand  `cmd:"" help:"Stop all sending, for every tenant: messages are accepted and wait."`
	ResumeAll relayResumeAllCommand `cmd:"" help:"Let sending go on; relays that are paused by themselves stay so."`
}

// ofOwner names the owner of relays.
type ofOwner struct {
	Tenant string `group:"run" placeholder:"TENANT" help:"Name or id of the tenant whose relay it is; without it, it is one of the operator's, which are shared with tenants."`
}

// theRelay names one relay.
type theRelay struct {
	Relay string `arg:"" help:"Name or id."`
	ofOwner
}

// relayReader and relayWriter are what owners of relays can do: a store.Tenant or a store.Operator.
type relayReader interface {
	Relay(ctx context.Context, id uuid.UUID) (store.Relay, error)
	Relays(ctx context.Context, page store.Page) ([]store.Relay, string, error)
	RelaySecret(ctx context.Context, id uuid.UUID) ([]byte, error)
}

type relayWriter interface {
	CreateRelay(ctx context.Context, n store.NewRelay, by store.Actor) (store.Relay, error)
	UpdateRelay(ctx context.Context, id uuid.UUID, patch store.RelayPatch, by store.Actor) (store.Relay, error)
	DeleteRelay(ctx context.Context, id uuid.UUID, by store.Actor) error
	PauseRelay(ctx context.Context, id uuid.UUID, reason string, by store.Actor) (store.Relay, error)
	ResumeRelay(ctx context.Context, id uuid.UUID, by store.Actor) (store.Relay, error)
}

// relayOwner is a tenant or, with uuid.Nil, the operator.
type relayOwner struct {
	*installation
	id   uuid.UUID
	flag string // how to name it again: " --tenant acme"
	relayReader
	relayWriter
}

// withOwner opens the installation and closes it after fn.
func (f *settingsFlags) withOwner(p *program, tenant string, fn func(relayOwner) error) error {
	if tenant == "" {
		return f.with(p, func(i *installation) error {
			return fn(relayOwner{i, uuid.Nil, "", i.store.Operator(), i.store.Operator()})
		})
	}
	return f.withTenant(p, tenant, func(i *installation, t store.TenantRecord) error {
		return fn(relayOwner{i, t.ID, " --tenant " + t.Name, i.store.Tenant(t.ID), i.store.Tenant(t.ID)})
	})
}

// withRelay finds a relay too.
func (f *settingsFlags) withRelay(p *program, which theRelay, fn func(relayOwner, store.Relay) error) error {
	return f.withOwner(p, which.Tenant, func(o relayOwner) error {
		r, err := o.find(p.ctx, which.Relay)
		if err != nil {
			return err
		}
		return fn(o, r)
	})
}

// errFound ends a search.
var errFound = errors.New("found")

// find finds a relay by id or name. Among relays of one name that of a tenant goes before one that is shared with it.
func (o relayOwner) find(ctx context.Context, nameOrID string) (store.Relay, error) {
	if id, err := auth.ParseID(nameOrID); err == nil {
		r, err := o.Relay(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			err = o.missing(nameOrID)
		}
		return r, err
	}
	var shared, own *store.Relay
	err := pages(ctx, o.Relays, func(r store.Relay) error {
		switch {
		case r.Name != nameOrID:
		case r.OwnerTenant != o.id:
			shared = &r
		default:
			own = &r
			return errFound
		}
		return nil
	})
	switch {
	case own != nil:
		return *own, nil
	case err != nil:
		return store.Relay{}, err
	case shared != nil:
		return *shared, nil
	}
	return store.Relay{}, o.missing(nameOrID)
}

func (o relayOwner) missing(nameOrID string) error {
	return &exitError{exitUnavailable, fmt.Errorf("there is no relay %s; postrider relay list%s shows them", nameOrID, o.flag)}
}

// owned refuses to change what is shared with a tenant.
func (o relayOwner) owned(err error, r store.Relay) error {
	switch {
	case errors.Is(err, store.ErrNotOwner) || o.id != r.OwnerTenant && errors.Is(err, store.ErrNotFound):
		return &exitError{exitUnavailable, fmt.Errorf("relay %s is the operator's and only shared with the tenant: leave --tenant out", r.Name)}
	case errors.Is(err, store.ErrInUse):
		return &exitError{exitUnavailable, fmt.Errorf("messages wait for relay %s: cancel them, or wait until they are sent", r.Name)}
	}
	return err
}

type relayListCommand struct {
	ofOwner
	JSON bool `group:"run" name:"json" help:"Print one object a line."`
	settingsFlags
}

// Run lists relays.
func (c *relayListCommand) Run(p *program) error {
	return c.withOwner(p, c.Tenant, func(o relayOwner) error {
		w := tabwriter.NewWriter(p.stdout, 2, 0, 2, ' ', 0)
		err := pages(p.ctx, o.Relays, func(r store.Relay) error {
			if c.JSON {
				return json.NewEncoder(p.stdout).Encode(httpapi.ShowRelay(r))
			}
			_, err := fmt.Fprintf(w, "%s\t%s\t%s:%d\t%s\t%s\n", r.ID, relayState(r), r.Host, r.Port, r.TLS, oneLine(r.Name))
			return err
		})
		if err != nil {
			return err
		}
		return w.Flush()
	})
}

// relayState says in a word or two whether a relay is used.
func relayState(r store.Relay) string {
	switch {
	case r.Pause.Kind != store.PauseNone:
		return "paused by " + string(r.Pause.Kind)
	case r.NotBefore.After(time.Now()):
		return "held until " + r.NotBefore.UTC().Format(time.RFC3339)
	}
	return "active"
}

type relayShowCommand struct {
	theRelay
	JSON bool `group:"run" name:"json" help:"Print one object."`
	settingsFlags
}

// Run shows a relay.
func (c *relayShowCommand) Run(p *program) error {
	return c.withRelay(p, c.theRelay, func(_ relayOwner, r store.Relay) error { return printRelay(p, c.JSON, r) })
}

func printRelay(p *program, asJSON bool, r store.Relay) error {
	if asJSON {
		return json.NewEncoder(p.stdout).Encode(httpapi.ShowRelay(r))
	}
	w := tabwriter.NewWriter(p.stdout, 2, 0, 2, ' ', 0)
	row := func(name, format string, a ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, oneLine(fmt.Sprintf(format, a...)))
	}
	row("relay", "%s (%s)", r.Name, r.ID)
	row("server", "%s:%d, %s", r.Host, r.Port, r.TLS)
	if r.Username != "" {
		row("login", "as %s, with a stored password", r.Username)
	}
	if r.HELO != "" {
		row("EHLO", "%s", r.HELO)
	}
	if len(r.FromDomains) > 0 {
		row("sends for", "%s", strings.Join(r.FromDomains, ", "))
	}
	for _, l := range []struct {
		name string
		n    int
	}{
		{"connections", r.Limits.MaxConns},
		{"messages a connection", r.Limits.MessagesPerConn},
		{"messages a minute", r.Limits.MessagesPerMinute},
		{"recipients a day", r.Limits.RecipientsPerDay},
	} {
		if l.n > 0 {
			row("limit", "%d %s", l.n, l.name)
		}
	}
	if len(r.RetrySchedule) > 0 {
		row("tried again", "after %s", durationList(r.RetrySchedule))
	}
	if r.GiveUpAfter > 0 {
		row("given up", "after %s", r.GiveUpAfter)
	}
	if r.CACert != "" {
		row("certificate", "of authorities of its own")
	}
	if r.DangerouslySkipTLSVerify {
		row("certificate", "any is taken")
	}
	row("state", "%s", relayState(r))
	if r.Pause.Reason != "" {
		row("", "%s", r.Pause.Reason)
	}
	return w.Flush()
}

func durationList(list []time.Duration) string {
	texts := make([]string, len(list))
	for i, d := range list {
		texts[i] = d.String()
	}
	return strings.Join(texts, ",")
}

type relayDeleteCommand struct {
	theRelay
	settingsFlags
}

// Help is the text between the command's summary and its flags.
func (*relayDeleteCommand) Help() string {
	return "A relay of a tenant for which messages wait is not deleted. Messages that wait for one of the operator fail."
}

// Run deletes a relay.
func (c *relayDeleteCommand) Run(p *program) error {
	return c.withRelay(p, c.theRelay, func(o relayOwner, r store.Relay) error {
		if err := o.DeleteRelay(p.ctx, r.ID, atCommandLine("relay delete")); err != nil {
			return o.owned(err, r)
		}
		_, err := fmt.Fprintf(p.stdout, "relay %s is deleted\n", r.Name)
		return err
	})
}
