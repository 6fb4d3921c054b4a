// Command bench measures this library, its Go peers and the bound on this
// machine, and compares the figures with the library's goals.
//
// It builds one driver program for each library (drivers/), starts the sink
// (cmd/sink), runs the drivers one after another in interleaved rounds, keeps
// every result as a JSON line in out/, and writes the report. README.md in this
// directory says how to run it and what the figures mean.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/postrider/postrider/bench/report"
)

// errFaults: the run went through, but some messages did not.
var errFaults = errors.New("some runs had faults, see the report")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings are the command line.
type settings struct {
	dir     string // the bench directory
	out     string // raw results
	results string // the report; "" means only printed
	rounds  int
	aim     time.Duration // length of one throughput run
	rtt     time.Duration
	attach  int
	open    int
	peers   []string // nil means all
	modes   []string
	sizes   []int
	conns   []int
}

const usage = `usage: bench [flags] [all | throughput | rtt | attach | idle | report]

  all         every part; the default
  throughput  messages a second: 2 KB and 50 KB, 1 and 8 connections, plain and STARTTLS
  rtt         round trips to the first message and for each later one, behind an emulated round trip
  attach      one 25 MiB attachment: wall time, CPU, peak memory
  idle        memory of an idle STARTTLS connection
  report      write the report again from the raw results

With -peers, -modes, -sizes or -conns only a part is measured: the raw results go to out/narrowed
and the report is printed, not written, unless -out and -results say otherwise.

`

func parse(args []string) (settings, string, error) {
	var s settings
	var peers, modes, sizes, conns string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprint(f.Output(), usage)
		f.PrintDefaults()
	}
	f.StringVar(&s.dir, "dir", ".", "the bench directory")
	f.StringVar(&s.out, "out", "", "directory of the raw results (default out in the bench directory)")
	f.StringVar(&s.results, "results", "", "file of the report (default RESULTS.md in the bench directory)")
	f.IntVar(&s.rounds, "rounds", 5, "interleaved rounds")
	f.DurationVar(&s.aim, "aim", 600*time.Millisecond, "length of one throughput run")
	f.DurationVar(&s.rtt, "rtt", 50*time.Millisecond, "emulated round trip time")
	f.IntVar(&s.attach, "bytes", 25<<20, "bytes of the attachment")
	f.IntVar(&s.open, "open", 200, "idle connections")
	f.StringVar(&peers, "peers", "", "only these, comma separated: "+strings.Join(names(), ", "))
	f.StringVar(&modes, "modes", "", "only these, comma separated: plain, starttls, tls (tls for rtt only)")
	f.StringVar(&sizes, "sizes", "", "only these sizes in bytes, comma separated (default 2048,51200)")
	f.StringVar(&conns, "conns", "", "only these numbers of connections, comma separated (default 1,8)")
	if err := f.Parse(args); err != nil {
		return s, "", err
	}
	s.peers, s.modes = list(peers), list(modes)
	var err error
	if s.sizes, err = numbers("-sizes", sizes); err != nil {
		return s, "", err
	}
	if s.conns, err = numbers("-conns", conns); err != nil {
		return s, "", err
	}
	for _, p := range s.peers {
		if !slices.Contains(names(), p) {
			return s, "", fmt.Errorf("-peers: %q is none of %s", p, strings.Join(names(), ", "))
		}
	}
	if s.rounds < 1 || s.open < 1 || s.rtt <= 0 || s.aim <= 0 || s.attach < 1 {
		return s, "", errors.New("-rounds, -aim, -rtt, -bytes and -open must be more than 0")
	}
	narrowed := peers+modes+sizes+conns != ""
	if s.results == "" && !narrowed {
		s.results = filepath.Join(s.dir, "RESULTS.md")
	}
	if s.out == "" {
		s.out = filepath.Join(s.dir, "out")
		if narrowed {
			s.out = filepath.Join(s.out, "narrowed")
		}
	}
	if f.NArg() > 1 {
		return s, "", fmt.Errorf("one part at a time, not %q; flags come before it", f.Args())
	}
	what := f.Arg(0)
	if what == "" {
		what = "all"
	}
	if known := []string{"all", "throughput", "rtt", "attach", "idle", "report"}; !slices.Contains(known, what) {
		return s, "", fmt.Errorf("%q is no part; there are %s", what, strings.Join(known, ", "))
	}
	return s, what, nil
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	l := strings.Split(s, ",")
	for i := range l {
		l[i] = strings.TrimSpace(l[i])
	}
	return l
}

func numbers(name, s string) ([]int, error) {
	var l []int
	for _, v := range list(s) {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%s: %q is no number above 0", name, v)
		}
		l = append(l, n)
	}
	return l, nil
}

func run(ctx context.Context, args []string) error {
	s, what, err := parse(args)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return err
	}
	if what != "report" {
		b, err := build(ctx, s)
		if err != nil {
			return err
		}
		if err := measure(ctx, b, what); err != nil {
			return err
		}
	}
	parts, err := report.Read(s.out)
	if err != nil {
		return err
	}
	page := report.Markdown(parts)
	fmt.Print(page)
	if s.results != "" {
		// What cmd/service wrote stands at the end and stays.
		old, err := os.ReadFile(s.results)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if _, service, found := strings.Cut(string(old), "\n## Service\n"); found {
			page = strings.TrimRight(page, "\n") + "\n\n## Service\n" + service
		}
		if err := os.WriteFile(s.results, []byte(page), 0o644); err != nil {
			return err
		}
	}
	if len(report.Faults(parts)) > 0 {
		return errFaults
	}
	return nil
}

// measure runs one part, or all of them in the order of the report.
func measure(ctx context.Context, b *bench, what string) error {
	for _, p := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"throughput", b.throughput},
		{"rtt", b.latency},
		{"attach", b.attachment},
		{"idle", b.idle},
	} {
		if what != "all" && what != p.name {
			continue
		}
		if err := p.run(ctx); err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted; the raw results so far are kept, the report is not written")
			}
			return err
		}
	}
	return nil
}
