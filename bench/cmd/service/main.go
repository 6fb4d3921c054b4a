// Command service measures the service: how many messages a second it accepts and
// sends on, how long a caller waits for the answer, what memory it takes, how long one
// tenant's message waits behind another's, on SQLite and on PostgreSQL.
//
// It builds postrider and the sink, starts them as processes of their own on loopback
// with durable settings, asks over HTTP as any caller would, counts at the sink, and
// writes a section of the report. README.md in the directory above says how to run it.
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
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "service:", err)
		os.Exit(1)
	}
}

// settings are the command line.
type settings struct {
	dir       string // the bench directory
	bin       string // built programs
	results   string // the report; "" means only printed
	databases []string
	parts     []string
	rounds    int
	aim       time.Duration
	queue     int
}

// partNames are what can be measured, in the order of the report.
func partNames() []string {
	return []string{"chain", "start", "accept", "send", "newcomer", "attach"}
}

func run(ctx context.Context, args []string) error {
	var s settings
	var databases, parts string
	f := flag.NewFlagSet("service", flag.ContinueOnError)
	f.StringVar(&s.dir, "dir", ".", "the bench directory")
	f.StringVar(&s.results, "results", "", "file of the report (default RESULTS.md in the bench directory; none if a part only is measured)")
	f.StringVar(&databases, "databases", "sqlite,postgresql", "databases, comma separated")
	f.StringVar(&parts, "parts", strings.Join(partNames(), ","), "parts, comma separated")
	f.IntVar(&s.rounds, "rounds", 3, "rounds of each part")
	f.DurationVar(&s.aim, "aim", 3*time.Second, "length of one run of accept and send")
	f.IntVar(&s.queue, "queue", 100_000, "messages that a newcomer's waits behind")
	if err := f.Parse(args); err != nil {
		return err
	}
	s.databases, s.parts = strings.Split(databases, ","), strings.Split(parts, ",")
	for _, p := range s.parts {
		if !slices.Contains(partNames(), p) {
			return fmt.Errorf("-parts: %q is none of %s", p, strings.Join(partNames(), ", "))
		}
	}
	for _, d := range s.databases {
		if d != "sqlite" && d != "postgresql" {
			return fmt.Errorf("-databases: %q is neither sqlite nor postgresql", d)
		}
	}
	if s.rounds < 1 || s.aim <= 0 || s.queue < 1 {
		return errors.New("-rounds, -aim and -queue must be more than 0")
	}
	whole := len(s.databases) == 2 && len(s.parts) == len(partNames())
	if s.results == "" && whole {
		s.results = filepath.Join(s.dir, "RESULTS.md")
	}
	var err error
	if s.bin, err = filepath.Abs(filepath.Join(s.dir, "out", "bin")); err != nil {
		return err
	}
	if err := build(ctx, s); err != nil {
		return err
	}
	return measureAll(ctx, s)
}

// build makes the programs. The service is built as it is shipped: static.
func build(ctx context.Context, s settings) error {
	for _, b := range []struct{ name, dir, pkg string }{
		{"postrider-service", filepath.Join(s.dir, ".."), "./cmd/postrider"},
		{"sink", s.dir, "./cmd/sink"},
	} {
		c := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(s.bin, b.name), b.pkg)
		c.Dir = b.dir
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s: %w: %s", b.pkg, err, out)
		}
	}
	return nil
}

// measureAll runs the parts on each database and writes the report.
func measureAll(ctx context.Context, s settings) error {
	var all []figure
	parts := slices.Clone(s.parts)
	if slices.Contains(parts, "chain") {
		fmt.Fprintln(os.Stderr, "service: chain")
		got, err := chain(ctx, s)
		if err != nil {
			return err
		}
		all, parts = got, slices.DeleteFunc(parts, func(p string) bool { return p == "chain" })
	}
	for _, db := range s.databases {
		for round := range s.rounds {
			for _, part := range parts {
				if round > 0 && (part == "newcomer" || part == "attach") {
					continue // long, and of many samples in itself
				}
				fmt.Fprintf(os.Stderr, "service: %s, %s, round %d\n", db, part, round+1)
				got, err := measure(ctx, s, db, part)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", db, part, err)
				}
				all = append(all, got...)
			}
		}
	}
	text := render(s, all)
	fmt.Print(text)
	if s.results == "" {
		return nil
	}
	return writeSection(s.results, text)
}

// measure runs one part against a service begun anew.
func measure(ctx context.Context, s settings, db, part string) (_ []figure, err error) {
	l, err := launch(ctx, s, db)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	switch part {
	case "start":
		return []figure{{db, "start to ready, empty data directory, ms", float64(l.ready.Milliseconds())}}, nil
	case "accept":
		return l.accepts(ctx)
	case "send":
		return l.sends(ctx)
	case "newcomer":
		return l.newcomer(ctx)
	default:
		return l.attachment(ctx)
	}
}
