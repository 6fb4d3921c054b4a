package main

import (
	"fmt"

	"github.com/postrider/postrider/internal/store"
)

// becauseOf is why something is paused.
type becauseOf struct {
	Reason string `group:"run" placeholder:"TEXT" help:"Why, for those who ask why their messages do not leave."`
}

type relayPauseCommand struct {
	theRelay
	becauseOf
	settingsFlags
}

// Run pauses a relay.
func (c *relayPauseCommand) Run(p *program) error {
	return c.withRelay(p, c.theRelay, func(o relayOwner, r store.Relay) error {
		if _, err := o.PauseRelay(p.ctx, r.ID, c.Reason, atCommandLine("relay pause")); err != nil {
			return o.owned(err, r)
		}
		_, err := fmt.Fprintf(p.stdout, "relay %s is paused\n", r.Name)
		return err
	})
}

type relayResumeCommand struct {
	theRelay
	settingsFlags
}

// Run lets a relay go on.
func (c *relayResumeCommand) Run(p *program) error {
	return c.withRelay(p, c.theRelay, func(o relayOwner, r store.Relay) error {
		if _, err := o.ResumeRelay(p.ctx, r.ID, atCommandLine("relay resume")); err != nil {
			return o.owned(err, r)
		}
		_, err := fmt.Fprintf(p.stdout, "relay %s is active\n", r.Name)
		return err
	})
}

// shared names a relay of the operator and a tenant.
type shared struct {
	Relay string `arg:"" help:"Name or id of a relay of the operator."`
	ofTenant
}

type relayShareCommand struct {
	shared
	settingsFlags
}

// Run shares a relay.
func (c *relayShareCommand) Run(p *program) error {
	return c.withShared(p, c.shared, func(i *installation, r store.Relay, t store.TenantRecord) error {
		if err := i.store.Operator().ShareRelay(p.ctx, r.ID, t.ID, atCommandLine("relay share")); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.stdout, "tenant %s may use relay %s\n", t.Name, r.Name)
		return err
	})
}

type relayUnshareCommand struct {
	shared
	settingsFlags
}

// Run takes a relay away from a tenant.
func (c *relayUnshareCommand) Run(p *program) error {
	return c.withShared(p, c.shared, func(i *installation, r store.Relay, t store.TenantRecord) error {
		if err := i.store.Operator().UnshareRelay(p.ctx, r.ID, t.ID, atCommandLine("relay unshare")); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.stdout, "tenant %s may no longer use relay %s\n", t.Name, r.Name)
		return err
	})
}

func (f *settingsFlags) withShared(p *program, which shared, fn func(*installation, store.Relay, store.TenantRecord) error) error {
	return f.withRelay(p, theRelay{Relay: which.Relay}, func(o relayOwner, r store.Relay) error {
		t, err := o.tenant(p.ctx, which.Tenant)
		if err != nil {
			return err
		}
		return fn(o.installation, r, t)
	})
}

type relayPauseAllCommand struct {
	becauseOf
	settingsFlags
}

// Run stops all sending.
func (c *relayPauseAllCommand) Run(p *program) error {
	return c.with(p, func(i *installation) error {
		if err := i.store.Operator().PauseAll(p.ctx, c.Reason, atCommandLine("relay pause-all")); err != nil {
			return err
		}
		_, err := fmt.Fprintln(p.stdout, "nothing is sent until postrider relay resume-all")
		return err
	})
}

type relayResumeAllCommand struct{ settingsFlags }

// Run lets sending go on.
func (c *relayResumeAllCommand) Run(p *program) error {
	return c.with(p, func(i *installation) error {
		if err := i.store.Operator().ResumeAll(p.ctx, atCommandLine("relay resume-all")); err != nil {
			return err
		}
		_, err := fmt.Fprintln(p.stdout, "sending goes on")
		return err
	})
}
