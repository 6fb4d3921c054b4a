package main

import (
	"fmt"
	"io"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/alecthomas/kong"

	"github.com/postrider/postrider/internal/config"
)

// cli is the command line. Each command is a struct with its flags and a Run method.
type cli struct {
	Send     sendCommand     `cmd:"" help:"Send a message, or one message for each row of a CSV file."`
	Check    checkCommand    `cmd:"" help:"Connect to a relay, negotiate TLS, authenticate, and report what it offers."`
	Inbox    inboxCommand    `cmd:"" help:"Run a catch-all SMTP server for development that shows what arrived."`
	Setup    setupCommand    `cmd:"" help:"Make a service: data directory, keys, first tenant, first admin, first API key."`
	Serve    serveCommand    `cmd:"" help:"Run the service."`
	Migrate  migrateCommand  `cmd:"" help:"Bring the service's database to this program's version."`
	Backup   backupCommand   `cmd:"" help:"Copy the SQLite database of a service, which may be running, into a file."`
	Restore  restoreCommand  `cmd:"" help:"Put such a copy in the place of the database."`
	Restored restoredCommand `cmd:"" help:"After a restore: what is on hold since it may have been sent, and what becomes of it."`
	Tenant   tenantCommand   `cmd:"" help:"Create, list, suspend and resume tenants; set their quotas."`
	User     userCommand     `cmd:"" help:"Create, list, suspend and resume users of a tenant; set passwords."`
	Relay    relayCommand    `cmd:"" help:"Create, change, check, pause and share the relays of the service."`
	Message  messageCommand  `cmd:"" help:"List, show, explain, retry, cancel and delete messages of a tenant."`
	Token    tokenCommand    `cmd:"" help:"Create, verify and revoke tokens."`
	Audit    auditCommand    `cmd:"" help:"List and verify the audit log; erase a person from it."`
	Keys     keysCommand     `cmd:"" help:"Show and rotate the service's keys."`
	Nodes    nodesCommand    `cmd:"" help:"List the nodes of a service, and who drains which relay."`
	Doctor   doctorCommand   `cmd:"" help:"Say what is wrong with a service, its database, Redis, disk, clock and relays, and how to mend it."`
	Version  versionCommand  `cmd:"" help:"Print the version."`
}

// newCLI makes the command line; the settings of the service are flags made from their table.
func newCLI() *cli {
	var c cli
	c.Serve.settingsFlags = newSettingsFlags()
	c.Doctor.settingsFlags = newSettingsFlags()
	keys := append(databaseSettings(), "jwt_secret", "jwt_keys", "operator_key_hash", "seal_keyset", "audit_key")
	for _, f := range []*settingsFlags{&c.Setup.settingsFlags, &c.Keys.Show.settingsFlags, &c.Keys.Operator.settingsFlags, &c.Keys.Rotate.settingsFlags} {
		*f = newSettingsFlags(keys...)
	}
	for _, f := range []*settingsFlags{&c.Token.Create.settingsFlags, &c.Token.Verify.settingsFlags, &c.Token.Revoke.settingsFlags} {
		*f = newSettingsFlags(tokenSettings()...)
	}
	for _, f := range []*settingsFlags{&c.Audit.Verify.settingsFlags, &c.Audit.List.settingsFlags} {
		*f = newSettingsFlags(append(databaseSettings(), "audit_key")...)
	}
	for _, f := range []*settingsFlags{&c.Relay.Create.settingsFlags, &c.Relay.Update.settingsFlags, &c.Relay.Check.settingsFlags} {
		*f = newSettingsFlags(relaySettings()...)
	}
	for _, f := range []*settingsFlags{
		&c.Relay.List.settingsFlags, &c.Relay.Show.settingsFlags, &c.Relay.Delete.settingsFlags, &c.Relay.Pause.settingsFlags, &c.Relay.Resume.settingsFlags,
		&c.Relay.Share.settingsFlags, &c.Relay.Unshare.settingsFlags, &c.Relay.PauseAll.settingsFlags, &c.Relay.ResumeAll.settingsFlags,
		&c.Message.List.settingsFlags, &c.Message.Show.settingsFlags, &c.Message.Explain.settingsFlags, &c.Message.Content.settingsFlags,
		&c.Message.Retry.settingsFlags, &c.Message.Cancel.settingsFlags, &c.Message.Delete.settingsFlags,
		&c.Tenant.Quota.settingsFlags, &c.Audit.ErasePerson.settingsFlags, &c.Nodes.settingsFlags,
		&c.Migrate.settingsFlags, &c.Backup.settingsFlags, &c.Restore.settingsFlags,
		&c.Restored.Show.settingsFlags, &c.Restored.Hold.settingsFlags, &c.Restored.Send.settingsFlags, &c.Restored.End.settingsFlags, &c.Restored.Complete.settingsFlags,
		&c.Tenant.Create.settingsFlags, &c.Tenant.List.settingsFlags, &c.Tenant.Suspend.settingsFlags, &c.Tenant.Resume.settingsFlags,
		&c.User.Create.settingsFlags, &c.User.List.settingsFlags, &c.User.Suspend.settingsFlags, &c.User.Resume.settingsFlags, &c.User.Password.settingsFlags,
	} {
		*f = newSettingsFlags(databaseSettings()...)
	}
	return &c
}

// groups are the headings of the help, in their order.
func groups() []kong.Group {
	all := []kong.Group{
		{Key: "message", Title: "Message:"},
		{Key: "relay", Title: "Relay:"},
		{Key: "run", Title: "What to do and to print:"},
		{Key: "merge", Title: "Mail merge:"},
		{Key: "field", Title: "More header fields:"},
		{Key: "dsn", Title: "Delivery reports and transport:"},
		{Key: "dkim", Title: "DKIM signature:"},
		{Key: "server", Title: "Server:"},
		{Key: "chaos", Title: "Misbehaviour:"},
		{Key: "other", Title: "Other:"},
	}
	for _, g := range config.Groups() {
		all = append(all, kong.Group{Key: g, Title: g + ":"})
	}
	return all
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(p *program) error {
	_, err := fmt.Fprintln(p.stdout, "postrider", versionText())
	return err
}

// versionText is the module's version, which the go command takes from git.
func versionText() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown)"
}

// run parses the command line, runs the command and gives the exit status.
func run(outside *program, args []string) int {
	p := *outside
	p.stderr = &lineWriter{w: outside.stderr}
	return p.run(args)
}

// lineWriter keeps apart what is written at the same time: the dialogues of several
// connections, rows' answers, complaints.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Write is one write of the underlying writer.
func (l *lineWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func (p *program) run(args []string) int {
	helped := false
	parser, err := kong.New(newCLI(),
		kong.Name("postrider"),
		kong.Description("Gets e-mail to its SMTP relay, with an honest answer for every recipient: from the shell, or as a service."),
		kong.Writers(p.stdout, p.stderr),
		kong.ExplicitGroups(groups()),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		// Kong wants to exit when it has printed help. We let it parse on and forget what it found.
		kong.Exit(func(int) { helped = true }),
	)
	if err != nil {
		complain(p, err)
		return exitSoftware
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, err := parser.Parse(args)
	if helped {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(p.stderr, "postrider: %s; see postrider %s--help\n", oneLine(hideSecrets(err.Error())), commandName(args))
		return exitUsage
	}
	err = ctx.Run(p)
	if err != nil {
		complain(p, err)
	}
	return statusOf(err)
}

// secret is what stands between a user's name and the last @.
var secret = regexp.MustCompile(`:[^/\s].*@`)

// hideSecrets blots out what may be a password in a line that repeats an
// argument: a relay URL can have come to stand where none belongs. Where one
// begins nothing more is repeated, since it may be one that cannot be read.
func hideSecrets(s string) string {
	if before, _, ok := strings.Cut(s, "://"); ok {
		s = before + "://***"
	}
	return secret.ReplaceAllString(s, ":***@")
}

// commandName is the command that was called, with its subcommand, and a space; empty if it is not known.
func commandName(args []string) string {
	commands := map[string][]string{
		"send": nil, "check": nil, "inbox": nil, "setup": nil, "serve": nil, "migrate": nil, "version": nil, "backup": nil, "restore": nil,
		"restored": {"show", "hold", "send", "end", "complete"}, "doctor": nil, "nodes": nil,
		"tenant":  {"create", "list", "suspend", "resume", "quota"},
		"user":    {"create", "list", "suspend", "resume", "password"},
		"relay":   {"create", "list", "show", "update", "delete", "pause", "resume", "check", "share", "unshare", "pause-all", "resume-all"},
		"message": {"list", "show", "explain", "content", "retry", "cancel", "delete"},
		"token":   {"create", "verify", "revoke"},
		"audit":   {"list", "verify", "erase-person"},
		"keys":    {"show", "rotate", "operator"},
	}
	for i, a := range args {
		subs, ok := commands[a]
		if !ok {
			continue
		}
		if i+1 < len(args) && slices.Contains(subs, args[i+1]) {
			a += " " + args[i+1]
		}
		return a + " "
	}
	return ""
}
