package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

// userCommand manages the users of a tenant.
type userCommand struct {
	Create   userCreateCommand   `cmd:"" help:"Create a user."`
	List     userListCommand     `cmd:"" help:"List the users of a tenant, the newest first."`
	Suspend  userSuspendCommand  `cmd:"" help:"Suspend a user: its sessions end, its tokens and keys are refused."`
	Resume   userResumeCommand   `cmd:"" help:"Let a suspended user log in again."`
	Password userPasswordCommand `cmd:"" help:"Set a user's password: its sessions end, its tokens are revoked."`
}

// ofTenant names the tenant whose users are meant.
type ofTenant struct {
	Tenant string `group:"run" required:"" placeholder:"TENANT" help:"Name or id of the tenant."`
}

type userCreateCommand struct {
	Email string `arg:"" help:"Mail address, with which the user logs in."`
	ofTenant
	Name string `group:"run" placeholder:"NAME" help:"Name of the user."`
	Role string `group:"run" default:"user" enum:"user,admin" placeholder:"ROLE" help:"user (its own rows) or admin (all of its tenant's). Default: user."`
	passwordFlag
	JSON bool `group:"run" name:"json" help:"Print one object with tenant_id, user_id and password."`
	settingsFlags
}

// Run creates a user.
func (c *userCreateCommand) Run(p *program) error {
	return c.withTenant(p, c.Tenant, func(i *installation, t store.TenantRecord) error {
		password, show, err := c.password(p)
		if err != nil {
			return err
		}
		hash, err := hashPassword(p.ctx, password)
		if err != nil {
			return err
		}
		u, err := i.store.Tenant(t.ID).CreateUser(p.ctx, store.NewUser{Email: c.Email, Name: c.Name, Role: auth.Role(c.Role), PasswordHash: hash}, atCommandLine("user create"))
		if err != nil {
			return err
		}
		return printPassword(p, c.JSON, u, password, show)
	})
}

// printPassword tells of a user, and of a password that nobody has seen yet.
func printPassword(p *program, asJSON bool, u store.User, password auth.Secret, show bool) error {
	text := ""
	if show {
		text = password.Reveal()
	}
	if asJSON {
		return json.NewEncoder(p.stdout).Encode(map[string]any{"tenant_id": u.TenantID, "user_id": u.ID, "password": text})
	}
	_, err := fmt.Fprintf(p.stdout, "user      %s (%s), %s\n", u.Email, u.ID, u.Role)
	if show && err == nil {
		_, err = fmt.Fprintf(p.stdout, "password  %s\n", text)
	}
	return err
}

type userListCommand struct {
	ofTenant
	JSON bool `group:"run" name:"json" help:"Print one object a line."`
	settingsFlags
}

// Run lists users.
func (c *userListCommand) Run(p *program) error {
	return c.withTenant(p, c.Tenant, func(i *installation, t store.TenantRecord) error {
		w := tabwriter.NewWriter(p.stdout, 2, 0, 2, ' ', 0)
		err := pages(p.ctx, i.store.Tenant(t.ID).Users, func(u store.User) error {
			if c.JSON {
				return json.NewEncoder(p.stdout).Encode(map[string]any{
					"id": u.ID, "email": u.Email, "name": u.Name, "role": u.Role, "state": u.State, "created_at": u.CreatedAt,
				})
			}
			_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", u.ID, u.State, u.Role, u.CreatedAt.Format(time.RFC3339), oneLine(u.Email))
			return err
		})
		if err != nil {
			return err
		}
		return w.Flush()
	})
}

// theUser names one user.
type theUser struct {
	User string `arg:"" help:"Mail address or id."`
	ofTenant
}

type userSuspendCommand struct {
	theUser
	settingsFlags
}

// Run suspends a user.
func (c *userSuspendCommand) Run(p *program) error {
	return setUserState(p, &c.settingsFlags, c.theUser, store.StateSuspended, "suspend")
}

type userResumeCommand struct {
	theUser
	settingsFlags
}

// Run resumes a user.
func (c *userResumeCommand) Run(p *program) error {
	return setUserState(p, &c.settingsFlags, c.theUser, store.StateActive, "resume")
}

func setUserState(p *program, f *settingsFlags, who theUser, state store.State, verb string) error {
	return f.withUser(p, who, func(i *installation, u store.User) error {
		if _, err := i.store.Tenant(u.TenantID).UpdateUser(p.ctx, u.ID, store.UserPatch{State: &state}, atCommandLine("user "+verb)); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.stdout, "user %s is %s\n", u.Email, state)
		return err
	})
}

type userPasswordCommand struct {
	theUser
	passwordFlag
	JSON bool `group:"run" name:"json" help:"Print one object with tenant_id, user_id and password."`
	settingsFlags
}

// Run sets a password.
func (c *userPasswordCommand) Run(p *program) error {
	return c.withUser(p, c.theUser, func(i *installation, u store.User) error {
		password, show, err := c.password(p)
		if err != nil {
			return err
		}
		hash, err := hashPassword(p.ctx, password)
		if err != nil {
			return err
		}
		if err := i.store.Tenant(u.TenantID).SetPassword(p.ctx, u.ID, hash, atCommandLine("user password")); err != nil {
			return err
		}
		return printPassword(p, c.JSON, u, password, show)
	})
}

// withUser opens the installation, finds a user in it, and closes it after fn.
func (f *settingsFlags) withUser(p *program, who theUser, fn func(*installation, store.User) error) error {
	return f.withTenant(p, who.Tenant, func(i *installation, t store.TenantRecord) error {
		u, err := i.user(p.ctx, t, who.User)
		if err != nil {
			return err
		}
		return fn(i, u)
	})
}
