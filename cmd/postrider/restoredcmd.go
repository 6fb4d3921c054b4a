package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
)

// restoredCommand decides what becomes of messages that a restored database takes for waiting.
type restoredCommand struct {
	Show     restoredShowCommand     `cmd:"" default:"withargs" help:"Show how many messages are on hold, of which tenants."`
	Hold     restoredHoldCommand     `cmd:"" help:"Say that the database was restored, where serve cannot find out: what may have been sent since is put on hold."`
	Send     restoredSendCommand     `cmd:"" help:"Send what is on hold. Whatever left after the backup arrives twice."`
	End      restoredEndCommand      `cmd:"" help:"Send nothing of what is on hold: its recipients become unknown."`
	Complete restoredCompleteCommand `cmd:"" help:"Say that nothing was lost though the database moved, so that serve holds nothing."`
}

type restoredShowCommand struct {
	JSON bool `group:"run" name:"json" help:"Print one object a line."`
	settingsFlags
}

// Run lists tenants.
func (c *restoredShowCommand) Run(p *program) error {
	return c.with(p, func(i *installation) error {
		list, err := i.store.Held(p.ctx)
		if err != nil {
			return err
		}
		if len(list) == 0 && !c.JSON {
			_, err := fmt.Fprintln(p.stdout, "nothing is on hold")
			return err
		}
		w := tabwriter.NewWriter(p.stdout, 2, 0, 2, ' ', 0)
		for _, h := range list {
			if c.JSON {
				err = json.NewEncoder(p.stdout).Encode(map[string]any{"tenant_id": h.Tenant, "tenant": h.Name, "messages": h.Messages, "oldest_due": h.OldestDue.UTC()})
			} else {
				_, err = fmt.Fprintf(w, "%s\t%d messages on hold\tdue since %s\n", h.Name, h.Messages, h.OldestDue.UTC().Format(time.RFC3339))
			}
			if err != nil {
				return err
			}
		}
		return w.Flush()
	})
}

type restoredHoldCommand struct {
	Stopped string `group:"run" placeholder:"TIME" help:"When the old service stopped, such as 2026-11-23T21:00:00Z: what was due later cannot have been sent, and goes on by itself. Default: now."`
	settingsFlags
}

// Run puts messages on hold.
func (c *restoredHoldCommand) Run(p *program) error {
	var stopped time.Time
	if c.Stopped != "" {
		var err error
		if stopped, err = time.Parse(time.RFC3339, c.Stopped); err != nil {
			return usagef("--stopped: write a time such as 2026-11-23T21:00:00Z")
		}
	}
	return c.with(p, func(i *installation) error {
		n, err := i.store.DeclareRestored(p.ctx, stopped, atCommandLine("restored hold"))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.stdout, "%d messages are on hold; postrider restored send or end decides\n", n)
		return err
	})
}

// ofSome chooses whose messages.
type ofSome struct {
	Tenant string `group:"run" placeholder:"TENANT" help:"Only those of this tenant: its name or id. Default: all."`
}

func (o ofSome) with(p *program, f *settingsFlags, fn func(*installation, uuid.UUID) error) error {
	if o.Tenant == "" {
		return f.with(p, func(i *installation) error { return fn(i, uuid.Nil) })
	}
	return f.withTenant(p, o.Tenant, func(i *installation, t store.TenantRecord) error { return fn(i, t.ID) })
}

type restoredSendCommand struct {
	ofSome
	settingsFlags
}

// Run lets messages go.
func (c *restoredSendCommand) Run(p *program) error {
	return c.ofSome.with(p, &c.settingsFlags, func(i *installation, tenant uuid.UUID) error {
		n, err := i.store.SendHeld(p.ctx, tenant, atCommandLine("restored send"))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.stdout, "%d messages go on\n", n)
		return err
	})
}

type restoredEndCommand struct {
	ofSome
	settingsFlags
}

// Run ends messages.
func (c *restoredEndCommand) Run(p *program) error {
	return c.ofSome.with(p, &c.settingsFlags, func(i *installation, tenant uuid.UUID) error {
		n, err := i.store.EndHeld(p.ctx, tenant, atCommandLine("restored end"))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.stdout, "%d messages ended as unknown; postrider message retry sends one again\n", n)
		return err
	})
}

type restoredCompleteCommand struct {
	settingsFlags
}

// Run says that nothing was lost.
func (c *restoredCompleteCommand) Run(p *program) error {
	return c.with(p, func(i *installation) error {
		if err := i.store.DeclareComplete(p.ctx, markFile(i.settings), atCommandLine("restored complete")); err != nil {
			return err
		}
		_, err := fmt.Fprintln(p.stdout, "the database is taken for complete: serve holds nothing when it starts")
		return err
	})
}
