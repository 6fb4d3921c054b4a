package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/store"
)

// setupCommand makes a service out of nothing.
type setupCommand struct {
	Tenant string `group:"run" required:"" placeholder:"NAME" help:"Name of the first tenant: 1 to 63 characters of a to z, 0 to 9 and -."`
	Email  string `group:"run" required:"" placeholder:"ADDRESS" help:"Mail address of its first admin, who logs in with it."`
	passwordFlag
	JSON bool `group:"run" name:"json" help:"Print one object with tenant_id, user_id, password, api_key and operator_key."`
	settingsFlags
}

// Help is the text between the command's summary and its flags.
func (*setupCommand) Help() string {
	return `Makes the data directory with its keys and its database (or the tables in PostgreSQL), the first tenant with an admin and an API key, and the key of the operator, who manages tenants. The keys are shown this once. Then: postrider serve.

A password that is given is not repeated: password is then empty in the object that --json prints.`
}

// Run sets up the service.
func (c *setupCommand) Run(p *program) (err error) {
	s, faults := c.load()
	if err := faults.Err(); err != nil {
		return err
	}
	if s.Data != "" {
		if err := config.MakeDirectory(s.Data); err != nil {
			return fmt.Errorf("the data directory cannot be made: %w", err)
		}
		lock := flock.New(filepath.Join(s.Data, setupLockFile), flock.SetPermissions(0o600))
		if ok, err := lock.TryLock(); err != nil || !ok {
			return &exitError{exitTemporary, fmt.Errorf("another postrider setup runs on %s: wait for it", s.Data)}
		}
		defer func() { err = errors.Join(err, lock.Unlock()) }()
	}
	keys, faults := readKeys(s, true)
	if err := faults.Err(); err != nil {
		return err
	}
	logger := newLogger(p.stderr, s)
	if _, err := store.Migrate(p.ctx, migrateConfig(s, quiet(logger))); err != nil {
		return err
	}
	st, err := store.Open(p.ctx, storeConfig(s, keys, logger))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	tenants, _, err := st.Operator().Tenants(p.ctx, store.Page{Limit: 1})
	if err != nil {
		return err
	}
	if len(tenants) > 0 {
		return &exitError{exitUnavailable, fmt.Errorf("%s is set up already, with the tenant %s: postrider tenant create adds one, user password sets a new password, keys operator makes a new operator key", place(s), tenants[0].Name)}
	}
	operatorKey, err := newOperatorKey(s)
	if err != nil {
		return err
	}
	a, err := createAccount(p, st, c.Tenant, c.Email, &c.passwordFlag, atCommandLine("setup"))
	if err != nil {
		return err
	}
	a.OperatorKey = operatorKey.Reveal()
	return c.print(p, s, a)
}

// newOperatorKey makes the operator's key, unless the settings name one, and keeps its hash in the data directory. An older
// hash there is that of a key which nobody has seen, for there is no tenant yet.
func newOperatorKey(s *config.Settings) (auth.Secret, error) {
	if s.Data == "" || !s.OperatorKey.IsZero() || s.OperatorKeyHash != "" {
		return auth.Secret{}, nil
	}
	key, hash := auth.GenerateOperatorKey()
	return key, config.ReplaceKey(filepath.Join(s.Data, operatorHashFile), hash.String())
}

// place names where the service is, without secrets.
func place(s *config.Settings) string {
	if s.Embedded() {
		return s.Data
	}
	return "the database"
}

func (c *setupCommand) print(p *program, s *config.Settings, a *account) error {
	if c.JSON {
		object := struct {
			*account
			OperatorKey string `json:"operator_key"` // also if it is empty
		}{a, a.OperatorKey}
		e := json.NewEncoder(p.stdout)
		e.SetEscapeHTML(false)
		return e.Encode(object)
	}
	a.print(p.stdout)
	if a.OperatorKey != "" {
		fmt.Fprintf(p.stdout, "operator  %s\n", a.OperatorKey)
	}
	serve, listen := "postrider serve", "http://127.0.0.1:8025"
	if s.Given("data") {
		serve += " --data " + s.Data
	}
	_, err := fmt.Fprintf(p.stdout, `
These keys are shown this once: keep them. Now start the service

    %s

and ask it who you are:

    curl -H 'Authorization: Bearer %s' %s/v1/me
`, serve, a.APIKey, listen)
	return err
}
