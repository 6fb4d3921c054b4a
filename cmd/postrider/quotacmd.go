package main

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/internal/store"
)

type tenantQuotaCommand struct {
	Tenant   string `arg:"" help:"Name or id."`
	PerDay   *int   `group:"run" name:"messages-per-day" placeholder:"N" help:"Messages accepted on a day, UTC; 0: no bound."`
	PerMonth *int   `group:"run" name:"messages-per-month" placeholder:"N" help:"Messages accepted in a month, UTC; 0: no bound."`
	Queued   *int   `group:"run" placeholder:"N" help:"Messages that wait at the same time; 0: no bound."`
	JSON     bool   `group:"run" name:"json" help:"Print one object."`
	settingsFlags
}

// Help is the text between the command's summary and its flags.
func (*tenantQuotaCommand) Help() string {
	return "Without one of these bounds it shows those there are; bounds that no flag names stay. They count from the next message on."
}

// Run shows and sets quotas.
func (c *tenantQuotaCommand) Run(p *program) error {
	return c.withTenant(p, c.Tenant, func(i *installation, t store.TenantRecord) error {
		quotas, err := i.store.Tenant(t.ID).Quotas(p.ctx)
		if err != nil {
			return err
		}
		changed := false
		for _, q := range []struct{ to, from *int }{{&quotas.MessagesPerDay, c.PerDay}, {&quotas.MessagesPerMonth, c.PerMonth}, {&quotas.Queued, c.Queued}} {
			if q.from != nil {
				*q.to, changed = *q.from, true
			}
		}
		if changed {
			if err := i.store.Operator().SetQuotas(p.ctx, t.ID, quotas, atCommandLine("tenant quota")); err != nil {
				return err
			}
		}
		if c.JSON {
			return json.NewEncoder(p.stdout).Encode(api.Quotas{MessagesPerDay: quotas.MessagesPerDay, MessagesPerMonth: quotas.MessagesPerMonth, Queued: quotas.Queued})
		}
		bound := func(n int) string {
			if n == 0 {
				return "no bound"
			}
			return strconv.Itoa(n)
		}
		_, err = fmt.Fprintf(p.stdout, "messages a day    %s\nmessages a month  %s\nqueued            %s\n", bound(quotas.MessagesPerDay), bound(quotas.MessagesPerMonth), bound(quotas.Queued))
		return err
	})
}
