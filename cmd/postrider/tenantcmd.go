package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/postrider/postrider/internal/store"
)

// tenantCommand manages tenants.
type tenantCommand struct {
	Create  tenantCreateCommand  `cmd:"" help:"Create a tenant with its first admin and an API key."`
	List    tenantListCommand    `cmd:"" help:"List tenants, the newest first."`
	Suspend tenantSuspendCommand `cmd:"" help:"Suspend a tenant: its users can do nothing and its messages wait."`
	Resume  tenantResumeCommand  `cmd:"" help:"Let a suspended tenant go on."`
	Quota   tenantQuotaCommand   `cmd:"" help:"Show how many messages a tenant may send, or bound them."`
}

type tenantCreateCommand struct {
	Name  string `arg:"" help:"Name: 1 to 63 characters of a to z, 0 to 9 and -."`
	Email string `group:"run" required:"" placeholder:"ADDRESS" help:"Mail address of its first admin, who logs in with it."`
	passwordFlag
	JSON bool `group:"run" name:"json" help:"Print one object with tenant_id, user_id, password and api_key."`
	settingsFlags
}

// Run creates a tenant.
func (c *tenantCreateCommand) Run(p *program) error {
	return c.with(p, func(i *installation) error {
		a, err := createAccount(p, i.store, c.Name, c.Email, &c.passwordFlag, atCommandLine("tenant create"))
		if err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(p.stdout).Encode(a)
		}
		a.print(p.stdout)
		_, err = fmt.Fprintln(p.stdout, "\nThe key is shown this once: keep it.")
		return err
	})
}

type tenantListCommand struct {
	JSON bool `group:"run" name:"json" help:"Print one object a line."`
	settingsFlags
}

// Run lists tenants.
func (c *tenantListCommand) Run(p *program) error {
	return c.with(p, func(i *installation) error {
		w := tabwriter.NewWriter(p.stdout, 2, 0, 2, ' ', 0)
		err := pages(p.ctx, i.store.Operator().Tenants, func(t store.TenantRecord) error {
			if c.JSON {
				return json.NewEncoder(p.stdout).Encode(map[string]any{"id": t.ID, "name": t.Name, "state": t.State, "created_at": t.CreatedAt})
			}
			_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.ID, t.State, t.CreatedAt.Format(time.RFC3339), t.Name)
			return err
		})
		if err != nil {
			return err
		}
		return w.Flush()
	})
}

// pages calls each for every row of a list, page by page.
func pages[T any](ctx context.Context, list func(context.Context, store.Page) ([]T, string, error), each func(T) error) error {
	page := store.Page{Limit: 200}
	for {
		rows, next, err := list(ctx, page)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := each(row); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		page.After = next
	}
}

type tenantSuspendCommand struct {
	Tenant string `arg:"" help:"Name or id."`
	settingsFlags
}

// Run suspends a tenant.
func (c *tenantSuspendCommand) Run(p *program) error {
	return setTenantState(p, &c.settingsFlags, c.Tenant, store.StateSuspended, "suspend")
}

type tenantResumeCommand struct {
	Tenant string `arg:"" help:"Name or id."`
	settingsFlags
}

// Run resumes a tenant.
func (c *tenantResumeCommand) Run(p *program) error {
	return setTenantState(p, &c.settingsFlags, c.Tenant, store.StateActive, "resume")
}

func setTenantState(p *program, f *settingsFlags, nameOrID string, state store.State, verb string) error {
	return f.withTenant(p, nameOrID, func(i *installation, t store.TenantRecord) error {
		if err := i.store.Operator().SetTenantState(p.ctx, t.ID, state, atCommandLine("tenant "+verb)); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.stdout, "tenant %s is %s\n", t.Name, state)
		return err
	})
}
