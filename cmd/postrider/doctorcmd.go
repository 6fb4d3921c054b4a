package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/egress"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/ratelimit/redislimit"
)

// doctorCommand says what is wrong with a service and how to mend it.
type doctorCommand struct {
	Ready   bool          `group:"run" help:"Only ask the service on this machine whether it is ready, as health checks of containers do."`
	Deep    bool          `group:"run" help:"Read the whole SQLite file, to find damage that no request has met yet."`
	Relays  int           `group:"run" default:"20" placeholder:"N" help:"Connect to at most N relays that are not paused, the operator's first; 0: to none. Default: 20."`
	Timeout time.Duration `group:"run" default:"1m" placeholder:"TIME" help:"Give up after this long. Default: 1m; with --ready at most 5s."`
	JSON    bool          `group:"run" name:"json" help:"Print one JSON object."`
	settingsFlags
}

// Help is the text between the command's summary and its flags.
func (*doctorCommand) Help() string {
	return `It takes the settings that serve takes, changes nothing, and may be run beside a service or without one.

Exit status: 0 nothing is wrong (a warning is not), 64 usage, 70 a fault of this machine or its database, 75 something does not answer or is not ready, 78 wrong settings or a database of another version. Of several faults the first one counts.`
}

// checkup is one line of the report.
type checkup struct {
	Check  string       `json:"check"`
	Health store.Health `json:"status"`
	Detail string       `json:"detail"`
	Mend   string       `json:"mend,omitempty"`

	status int // of the exit, if it failed
}

// readyTimeout is what a health check waits: an orchestrator's own limit is seldom shorter.
const readyTimeout = 5 * time.Second

// Run looks at everything and prints a line each.
func (c *doctorCommand) Run(p *program) error {
	if c.Timeout <= 0 || c.Relays < 0 {
		return usagef("--timeout and --relays: write for example --timeout 30s and --relays 5")
	}
	ctx, cancel := context.WithTimeout(p.ctx, c.Timeout)
	defer cancel()
	s, faults := c.load()
	d := &doctor{ctx: ctx, settings: s}
	if c.Ready {
		if d.wrongSettings(faults) {
			return c.report(p, d.found)
		}
		d.service()
		return c.report(p, d.found)
	}
	plan, more := newPlan(s, false)
	if d.wrongSettings(append(faults, more...)) {
		return c.report(p, d.found)
	}
	d.say("settings", store.HealthOK, 0, "", "in order: postrider serve --check-config prints them")
	d.database(c.Deep)
	d.redis()
	if d.open() {
		d.relays(plan, c.Relays)
		d.close()
	}
	d.service()
	return c.report(p, d.found)
}

// report prints what was found and gives the exit status.
func (c *doctorCommand) report(p *program, found []checkup) error {
	status := exitOK
	for _, f := range found {
		if f.Health == store.HealthFail && status == exitOK {
			status = f.status
		}
	}
	if c.JSON {
		if err := printJSON(p.stdout, map[string]any{"ok": status == exitOK, "checks": found}); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		for _, f := range found {
			text := f.Detail
			if f.Mend != "" {
				text += "; to mend it: " + f.Mend
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", f.Health, oneLine(f.Check), oneLine(text))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if status == exitOK {
		return nil
	}
	return &exitError{status, errReported}
}

// doctor gathers what is found.
type doctor struct {
	ctx       context.Context
	settings  *config.Settings
	found     []checkup
	installed *installation
}

func (d *doctor) say(check string, h store.Health, status int, mend, format string, a ...any) {
	d.found = append(d.found, checkup{check, h, fmt.Sprintf(format, a...), mend, status})
}

// wrongSettings tells each fault. With one nothing else is looked at: it would not be what serve meets.
func (d *doctor) wrongSettings(faults config.Faults) bool {
	for _, f := range faults {
		d.say("settings", store.HealthFail, exitConfig, "docs/service.md lists every setting", "%s", f.Error())
	}
	return len(faults) > 0
}

func (d *doctor) database(deep bool) {
	s := d.settings
	cfg := store.InspectConfig{Config: storeConfig(s, &keyring{}, slog.New(slog.DiscardHandler)), LockURL: s.LockDatabaseURL.Reveal(), Deep: deep}
	if s.Embedded() && !fileExists(filepath.Join(s.Data, databaseFile)) { // SQLite would make it
		d.say("database", store.HealthFail, exitConfig, "postrider setup --data "+s.Data, "there is no service in %s yet", s.Data)
		return
	}
	for _, f := range store.Inspect(d.ctx, cfg) {
		status := exitSoftware
		if f.Err != nil {
			status = statusOf(f.Err)
		}
		d.found = append(d.found, checkup{f.Check, f.Health, f.Detail, f.Mend, status})
	}
}

func (d *doctor) redis() {
	s := d.settings
	if s.RedisURL.IsZero() {
		if !s.Embedded() {
			d.say("redis", store.HealthWarn, 0, "set redis_url if there is more than one node", "none: each node counts rate limits for itself")
		}
		return
	}
	client, err := redislimit.Open(s.RedisURL.Reveal(), 0)
	if err == nil {
		begun := time.Now()
		err = client.Ping(d.ctx).Err()
		took := time.Since(begun)
		_ = client.Close()
		if err == nil {
			d.say("redis", store.HealthOK, 0, "", "it answers in %s", took.Round(10*time.Microsecond))
			return
		}
	}
	meanwhile := "each node counts rate limits for itself"
	if s.RateLimitRedisAway == "refuse" {
		meanwhile = "requests are refused"
	}
	d.say("redis", store.HealthFail, exitTemporary, "see that it runs and that redis_url is right", "it does not answer (%v); %s meanwhile", err, meanwhile)
}

// open opens the service's database for its relays. Why it cannot be opened, database has told.
func (d *doctor) open() bool {
	s := d.settings
	if s.Embedded() && !fileExists(filepath.Join(s.Data, databaseFile)) {
		return false
	}
	keys, faults := readKeys(s, false)
	logger := slog.New(slog.DiscardHandler)
	st, err := store.Open(d.ctx, storeConfig(s, keys, logger))
	d.installed = &installation{settings: s, logger: logger, keys: keys, keyFaults: faults, store: st}
	return err == nil
}

func (d *doctor) close() { _ = d.installed.close() }

// relays connects to up to most relays that are in use, and logs in.
func (d *doctor) relays(plan *plan, most int) {
	i := d.installed
	if i.keys.sealer == nil || most == 0 {
		return
	}
	owners := []relayOwner{{i, uuid.Nil, "", i.store.Operator(), i.store.Operator()}}
	err := pages(d.ctx, i.store.Operator().Tenants, func(t store.TenantRecord) error {
		if t.State == store.StateActive {
			owners = append(owners, relayOwner{i, t.ID, " --tenant " + t.Name, i.store.Tenant(t.ID), i.store.Tenant(t.ID)})
		}
		return nil
	})
	desk, deskErr := i.desk()
	if err = errors.Join(err, deskErr); err != nil {
		d.say("relays", store.HealthFail, statusOf(err), "", "they cannot be listed: %v", err)
		return
	}
	seen := 0
	for o := range slices.Values(owners) {
		_ = pages(d.ctx, o.Relays, func(r store.Relay) error {
			if r.OwnerTenant != o.id || r.Pause.Kind != store.PauseNone {
				return nil
			}
			if seen++; seen > most {
				return errEnough
			}
			report, refused, err := desk.CheckRelay(d.ctx, r, o.RelaySecret)
			check := fmt.Sprintf("relay %s%s", r.Name, o.flag)
			if err = errors.Join(refused, err); err == nil {
				d.say(check, store.HealthOK, 0, "", "%s:%d answers at %s", r.Host, r.Port, report.RemoteAddress)
				return nil
			}
			mend := strings.TrimSuffix(advice(refused), ".")
			if mend == "" {
				mend = fmt.Sprintf("postrider relay check %s%s tells more; its messages wait meanwhile", r.Name, o.flag)
			}
			status := exitTemporary
			if _, ok := errors.AsType[*egress.RefusedError](refused); ok {
				status = exitConfig
			}
			d.say(check, store.HealthFail, status, mend, "%s:%d: %v", r.Host, r.Port, err)
			return nil
		})
	}
	if seen > most {
		d.say("relays", store.HealthOK, 0, "", "the others were not tried: --relays N tries more")
	}
}
