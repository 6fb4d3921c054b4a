package main

import (
	"errors"
	"fmt"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

// auditErasePersonCommand forgets a person.
type auditErasePersonCommand struct {
	User string `arg:"" help:"Address or id of the user; the id also of one whom the service no longer knows."`
	ofTenant
	settingsFlags
}

// Help is the text between the command's summary and its flags.
func (*auditErasePersonCommand) Help() string {
	return `Erases the addresses and user agents that the user came with, and details that name the user. The entries stay, with the user's id and what was done, and audit verify finds the log whole. The erasure is an entry of its own. It cannot be undone.

Copies elsewhere stay: backups, and the service's own log.`
}

// Run erases a person from the audit log.
func (c *auditErasePersonCommand) Run(p *program) error {
	return c.withTenant(p, c.Tenant, func(i *installation, t store.TenantRecord) error {
		id, err := auth.ParseID(c.User)
		if err != nil {
			u, err := i.user(p.ctx, t, c.User)
			if err != nil {
				return err
			}
			id = u.ID
		}
		n, err := i.store.EraseAuditPerson(p.ctx, t.ID, id, atCommandLine("audit erase-person"))
		if err != nil {
			return errors.Join(err, fmt.Errorf("%d pieces of data were erased before that: run it again", n))
		}
		_, err = fmt.Fprintf(p.stdout, "%d pieces of data about user %s are erased\n", n, id)
		return err
	})
}
