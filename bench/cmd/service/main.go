// Command service measures the service: how many messages a second it accepts and
// sends on, how long a caller waits for the answer, what memory and processor time it
// takes, beside other stacks that do the same; how one tenant's message fares behind
// another's, how cost grows with what is stored, with relays and with nodes; on SQLite
// and on PostgreSQL.
//
// It builds postrider and the sink, starts them as processes of their own on loopback
// with durable settings, asks over HTTP as any caller would, counts at the sink, keeps
// what it measured in a raw file for each part, and writes a section of the report from
// all raw files. README.md in the directory above says how to run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "service:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.raw, 0o755); err != nil {
		return err
	}
	if !s.reportOnly {
		if err := build(ctx, s); err != nil {
			return err
		}
		if err := measure(ctx, s); err != nil {
			return err
		}
	}
	files, err := readAll(s.raw)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s holds no raw results to report", s.raw)
	}
	text := render(files)
	fmt.Print(text)
	if s.results == "" {
		return nil
	}
	return writeSection(s.results, text)
}

// build makes the programs. The service is built as it is shipped: static, without paths.
func build(ctx context.Context, s settings) error {
	for _, b := range []struct{ name, dir, pkg string }{
		{"postrider-service", filepath.Join(s.dir, ".."), "./cmd/postrider"},
		{"sink", s.dir, "./cmd/sink"},
	} {
		c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(s.bin, b.name), b.pkg)
		c.Dir = b.dir
		// Flags for this module are not meant for the other one.
		c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s: %w: %s", b.pkg, err, out)
		}
	}
	return nil
}

// measure runs the parts one after another and keeps the raw results of each when it is
// through, so that an interrupted run leaves those of before.
func measure(ctx context.Context, s settings) (err error) {
	all := &servers{share: s.quick}
	defer func() { err = errors.Join(err, all.stop()) }()
	for _, p := range parts() {
		if !slices.Contains(s.parts, p.name) {
			continue
		}
		databases := p.databases
		if len(databases) > 1 { // one that needs no database, or one of them alone, is not chosen by -databases
			databases = slices.DeleteFunc(slices.Clone(databases), func(d string) bool { return !slices.Contains(s.databases, d) })
		}
		if len(databases) == 0 || databases[0] == postgresql && !slices.Contains(s.databases, postgresql) {
			continue
		}
		b := begin(ctx, s, p, databases, all)
		if err := p.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if err := b.keep(); err != nil {
			return err
		}
	}
	return nil
}

const (
	sqlite     = "sqlite"
	postgresql = "postgresql"
	neither    = "–" // a part that has no database, or several things beside each other
)

// part is something that can be measured alone.
type part struct {
	name      string
	databases []string
	run       func(context.Context, *bencher) error
}

// parts are all, in the order of the report.
func parts() []part {
	both := []string{sqlite, postgresql}
	return []part{
		{"peers", []string{neither}, peers},
		{"chain", []string{neither}, chain},
		{"start", both, starts},
		{"accept", both, accepts},
		{"send", both, sends},
		{"newcomer", both, newcomers},
		{"attach", both, attachments},
		{"growth", both, growth},
		{"spread", both, spread},
		{"rls", []string{postgresql}, policies},
		{"nodes", []string{postgresql}, nodes},
	}
}

func partNames() []string {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

// each calls fn for each database in each round, so that what disturbs the machine for a
// while meets all of them.
func (b *bencher) each(fn func(round int, db string) error) error {
	for round := range b.s.rounds {
		b.round = round
		for _, db := range b.databases {
			b.say("%s, round %d", db, round+1)
			if err := fn(round, db); err != nil {
				return fmt.Errorf("%s, round %d: %w", db, round+1, err)
			}
		}
	}
	return nil
}

// say tells what is being measured.
func (b *bencher) say(format string, args ...any) {
	fmt.Fprintln(os.Stderr, strings.TrimSpace("service: "+b.part.name+": "+fmt.Sprintf(format, args...)))
}
