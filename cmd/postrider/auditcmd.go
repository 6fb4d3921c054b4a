package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
)

// auditCommand reads the audit log.
type auditCommand struct {
	List   auditListCommand   `cmd:"" help:"List entries, the newest first."`
	Verify auditVerifyCommand `cmd:"" help:"Find entries that were changed, removed, reordered or cut off."`

	ErasePerson auditErasePersonCommand `cmd:"" help:"Erase what the log of a tenant holds of a user as a person."`
}

type auditListCommand struct {
	Tenant  string    `group:"run" placeholder:"TENANT" help:"Name or id of the tenant whose log it is; default: the operator's own."`
	Actor   string    `group:"run" placeholder:"WHO" help:"Only of this user, token or key (id), or of a kind: token, api_key, operator, command, system, nobody."`
	Action  string    `group:"run" placeholder:"ACTION" help:"Only this action, such as user.create; user. is all that begin so."`
	Target  string    `group:"run" placeholder:"ID" help:"Only on this."`
	Outcome string    `group:"run" enum:"done,denied,failed,any" default:"any" placeholder:"OUTCOME" help:"Only done, denied or failed. Default: any."`
	From    time.Time `group:"run" placeholder:"TIME" help:"Only at this time or later, as 2026-11-23T08:00:00Z."`
	To      time.Time `group:"run" placeholder:"TIME" help:"Only before this time."`
	Limit   int       `group:"run" default:"100" placeholder:"N" help:"At most so many; 0: all. Default: 100."`
	JSON    bool      `group:"run" name:"json" help:"Print one object a line."`
	settingsFlags
}

// Run lists entries.
func (c *auditListCommand) Run(p *program) error {
	return c.with(p, func(i *installation) error {
		list := i.store.Operator().Audit
		if c.Tenant != "" {
			t, err := i.tenant(p.ctx, c.Tenant)
			if err != nil {
				return err
			}
			list = i.store.Tenant(t.ID).Audit
		}
		filter := store.AuditFilter{Actor: c.Actor, Action: c.Action, Target: c.Target, Outcome: c.Outcome, From: c.From, To: c.To}
		if c.Outcome == "any" {
			filter.Outcome = ""
		}
		w := tabwriter.NewWriter(p.stdout, 2, 0, 2, ' ', 0)
		n := 0
		err := pages(p.ctx, func(ctx context.Context, page store.Page) ([]store.AuditEntry, string, error) {
			return list(ctx, filter, page)
		}, func(e store.AuditEntry) error {
			if n++; c.Limit > 0 && n > c.Limit {
				return errEnough
			}
			if c.JSON {
				return json.NewEncoder(p.stdout).Encode(auditObject(e))
			}
			_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", e.At.Format(time.RFC3339), e.Outcome, oneLine(e.Action), actorText(e.Actor),
				oneLine(e.TargetKind+" "+e.TargetID), times(e.Count))
			return err
		})
		if err != nil && err != errEnough { //nolint:errorlint // it comes as it is
			return err
		}
		return w.Flush()
	})
}

// errEnough ends a walk through pages.
var errEnough = io.EOF

func times(n int) string {
	if n > 1 {
		return strconv.Itoa(n) + " times"
	}
	return ""
}

func actorText(a store.Actor) string {
	switch {
	case a.UserID != uuid.Nil:
		return fmt.Sprintf("%s %s", a.Kind, a.UserID)
	case a.UserAgent != "":
		return oneLine(a.UserAgent)
	}
	return string(a.Kind)
}

func auditObject(e store.AuditEntry) map[string]any {
	object := map[string]any{
		"id": e.ID, "at": e.At, "action": e.Action, "outcome": e.Outcome, "count": max(e.Count, 1), "target_kind": e.TargetKind, "target_id": e.TargetID,
		"actor_kind": e.Actor.Kind, "detail": e.Detail, "request_id": e.Actor.RequestID, "token_id": e.Actor.TokenID, "user_agent": e.Actor.UserAgent,
	}
	for name, id := range map[string]uuid.UUID{"tenant_id": e.TenantID, "user_id": e.Actor.UserID} {
		if id != uuid.Nil {
			object[name] = id
		}
	}
	if e.Actor.Addr.IsValid() {
		object["address"] = e.Actor.Addr
	}
	return object
}

type auditVerifyCommand struct {
	Log  string `group:"run" placeholder:"FILE" help:"Compare with the checkpoints in a log of serve as well; - is standard input. Only a copy that the database's owner cannot change shows an end that was cut off together with its checkpoints."`
	JSON bool   `group:"run" name:"json" help:"Print the report as one object."`
	settingsFlags
}

// Help is the text between the command's summary and its flags.
func (*auditVerifyCommand) Help() string {
	return `Exit status: 0 nothing is wrong, 65 the log was tampered with: each fault is named.`
}

// Run verifies the log.
func (c *auditVerifyCommand) Run(p *program) error {
	return c.with(p, func(i *installation) error {
		if err := i.need("audit_key"); err != nil {
			return err
		}
		var cfg store.VerifyConfig
		switch c.Log {
		case "":
		case "-":
			cfg.Log = p.stdin
		default:
			f, err := os.Open(c.Log)
			if err != nil {
				return usagef("--log: %w", err)
			}
			defer f.Close()
			cfg.Log = f
		}
		report, err := i.store.VerifyAudit(p.ctx, cfg)
		if err != nil {
			return err
		}
		if c.JSON {
			if err := json.NewEncoder(p.stdout).Encode(report); err != nil {
				return err
			}
		} else if err := printAuditReport(p.stdout, report); err != nil {
			return err
		}
		if !report.OK() {
			return &exitError{exitInvalid, fmt.Errorf("the audit log is not what was written: %d faults", report.FaultCount)}
		}
		return nil
	})
}

func printAuditReport(w io.Writer, r store.AuditReport) error {
	for _, f := range r.Faults {
		if _, err := fmt.Fprintln(w, oneLine(f.String())); err != nil {
			return err
		}
	}
	if more := r.FaultCount - int64(len(r.Faults)); more > 0 {
		if _, err := fmt.Fprintf(w, "and %d more\n", more); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%d entries, %d checkpoints, %d checkpoints of the log compared", r.Entries, r.Checkpoints, r.LogCheckpoints)
	if r.Unchained > 0 && err == nil {
		_, err = fmt.Fprintf(w, "; %d entries not chained yet, the oldest of %s", r.Unchained, r.Oldest.Format(time.RFC3339))
	}
	if r.LogUnverified > 0 && err == nil {
		_, err = fmt.Fprintf(w, "; %d lines of the log look like checkpoints and are not signed by this key", r.LogUnverified)
	}
	if r.Unsigned && err == nil {
		_, err = fmt.Fprint(w, "; signatures were not looked at: there is no audit_key")
	}
	if r.OK() && err == nil {
		_, err = fmt.Fprint(w, "; nothing is wrong")
	}
	if err == nil {
		_, err = fmt.Fprintln(w)
	}
	return err
}
