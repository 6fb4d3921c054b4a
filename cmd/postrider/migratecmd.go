package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/store"
)

// migrateCommand brings the database's tables to the version of this program.
type migrateCommand struct {
	Expand   bool `group:"run" xor:"what" help:"Add what this program needs, and take nothing away: nodes of the version before may be at work, and start again. It is what migrate does without a flag."`
	Contract bool `group:"run" xor:"what" help:"Also take away what only programs of the version before use. Refused while such a node is at work; afterwards such a program does not start."`
	Plan     bool `group:"run" help:"Only print what would be done, and which nodes are in the way; with --contract also that. Exit status: 0 it would be done, or there is nothing to do; 75 nodes are in the way; 78 the database is too new for this program."`
	Force    bool `group:"run" help:"Do not ask which nodes are at work. One of the wrong version fails at what it does next."`
	Status   bool `group:"run" help:"Only say which version the tables have. Exit status 0: one that this program works with; 75: older, and migrate would change that; 78: newer."`
	settingsFlags
}

// Help is the text between the command's summary and its flags.
func (*migrateCommand) Help() string {
	return `It may be run while nodes are at work: no lock is waited for longer than half a second at a time, so that what they do goes on. docs/upgrade.md tells how nodes are replaced one by one.

On PostgreSQL it also makes the roles postrider_api and postrider_delivery and grants them to the logins of database_url and delivery_database_url; it needs a login that owns the tables and may make roles (migration_database_url), on a direct connection, not through a pooler. Several may run at the same time: one works, the others wait. On SQLite serve does all this by itself, apart from --contract.

Exit status: 0 done, 64 usage, 70 a fault of the database, 75 it does not answer, or nodes are in the way, 78 wrong settings or a database that is too new for this program.`
}

// Run migrates the database.
func (c *migrateCommand) Run(p *program) error {
	s, faults := c.load()
	if err := faults.Err(); err != nil {
		return err
	}
	cfg := migrateConfig(s, newLogger(p.stderr, s))
	cfg.Contract, cfg.Force = c.Contract, c.Force
	if c.Status || c.Plan {
		plan, err := store.PlanMigration(p.ctx, cfg)
		if err != nil {
			return err
		}
		if c.Status {
			return printSchema(p, s, plan)
		}
		return printPlan(p, plan)
	}
	if s.Embedded() {
		if err := config.MakeDirectory(s.Data); err != nil {
			return fmt.Errorf("the data directory cannot be made: %w", err)
		}
	}
	start := time.Now()
	report, err := store.Migrate(p.ctx, cfg)
	for _, name := range report.Applied {
		fmt.Fprintln(p.stdout, "applied", name)
	}
	if err != nil {
		return err
	}
	if len(report.Applied) == 0 {
		_, err = fmt.Fprintf(p.stdout, "nothing to do: the schema has version %d\n", report.To)
	} else {
		_, err = fmt.Fprintf(p.stdout, "the schema has version %d now, it had %d; %s\n", report.To, report.From, sinceMS(time.Since(start)))
	}
	if len(report.Left) > 0 && err == nil {
		_, err = fmt.Fprintf(p.stdout, "left for postrider migrate --contract, when no node of the version before is at work: %s\n", strings.Join(report.Left, ", "))
	}
	return err
}

// printSchema says how the versions compare.
func printSchema(p *program, s *config.Settings, plan store.MigratePlan) error {
	switch {
	case plan.Have == 0 && s.Embedded():
		return &exitError{exitTemporary, fmt.Errorf("there is no database in %s yet: run postrider migrate", s.Data)}
	case plan.Have < plan.Needed:
		return &exitError{exitTemporary, &store.SchemaError{Have: plan.Have, Want: plan.Needed}}
	case plan.Have > plan.Known && plan.Blocked != nil:
		return plan.Blocked
	}
	text := "which is this program's"
	if plan.Have != plan.Known {
		text = fmt.Sprintf("which this program works with; its own is %d", plan.Known)
	}
	_, err := fmt.Fprintf(p.stdout, "the schema has version %d, %s\n", plan.Have, text)
	return err
}

// printPlan says what migrate would do, and ends with what is in the way.
func printPlan(p *program, plan store.MigratePlan) error {
	fmt.Fprintf(p.stdout, "the schema has version %d; this program needs %d and knows up to %d\n", plan.Have, plan.Needed, plan.Known)
	for _, step := range plan.Steps {
		how := ""
		if step.Outside {
			how = ", while others write"
		}
		fmt.Fprintf(p.stdout, "would apply %s: %s%s; nodes of schema version %d and newer work with the tables after it\n", step.Name, step.Kind, how, step.CompatibleFrom)
	}
	for _, step := range plan.Left {
		fmt.Fprintf(p.stdout, "left for --contract: %s; nodes of schema version %d and newer work with the tables after it\n", step.Name, step.CompatibleFrom)
	}
	for _, node := range plan.Nodes {
		fmt.Fprintf(p.stdout, "at work: %s\n", oneLine(node))
	}
	if plan.Blocked != nil {
		return plan.Blocked
	}
	last := "nothing to do"
	if len(plan.Steps) > 0 {
		last = "nothing is in the way"
	}
	_, err := fmt.Fprintln(p.stdout, last)
	return err
}
