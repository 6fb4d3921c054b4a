package main

import (
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// settings are the command line.
type settings struct {
	dir        string // the bench directory
	bin        string // built programs; what is started works beside them
	raw        string // raw results
	results    string // the report; "" means only printed
	reportOnly bool
	quick      bool
	databases  []string
	parts      []string
	peers      []string
	rounds     int
	aim        time.Duration // length of one run
	queue      int           // messages that a newcomer's waits behind
	newcomers  int           // single messages behind them
	batch      int           // messages of one run where their number is given
	stored     []int         // finished messages that the growth is measured with
	spread     []int         // relays and tenants
	nodes      []int
	reads      int // of each kind
	attach     int // octets of each of four attachments
	chainTime  string
}

const usage = `usage: service [flags]

Measures the service and writes the section "Service" of the report from the raw results of all
parts, those of this run and those of before. Parts: %s.

`

// parse reads the command line.
func parse(args []string) (settings, error) {
	s := settings{reads: 2000, attach: 25_000_000, chainTime: "300ms"}
	var databases, parts, peers, stored, spread, nodes string
	f := flag.NewFlagSet("service", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprintf(f.Output(), usage, strings.Join(partNames(), ", "))
		f.PrintDefaults()
	}
	f.StringVar(&s.dir, "dir", ".", "the bench directory")
	f.StringVar(&s.raw, "raw", "", "directory of the raw results (default raw in the bench directory; out/quick with -quick)")
	f.StringVar(&s.results, "results", "", "file of the report (default RESULTS.md in the bench directory; none with -quick)")
	f.BoolVar(&s.reportOnly, "report", false, "measure nothing: write the report again from the raw results")
	f.BoolVar(&s.quick, "quick", false, "tiny numbers, to see that everything works: the figures are worth nothing")
	f.StringVar(&databases, "databases", "sqlite,postgresql", "databases, comma separated")
	f.StringVar(&parts, "parts", strings.Join(partNames(), ","), "parts, comma separated")
	f.StringVar(&peers, "peers", strings.Join(peerNames(), ","), "what part peers compares, comma separated")
	f.IntVar(&s.rounds, "rounds", 3, "rounds of each part")
	f.DurationVar(&s.aim, "aim", 2*time.Second, "length of one run")
	f.IntVar(&s.queue, "queue", 100_000, "messages that a newcomer's waits behind")
	f.IntVar(&s.newcomers, "newcomers", 200, "single messages behind that queue")
	f.IntVar(&s.batch, "messages", 3000, "messages of one run of growth and spread")
	f.StringVar(&stored, "stored", "0,1000,100000,1000000", "finished messages that are stored in part growth, ascending, comma separated")
	f.StringVar(&spread, "spread", "1,10,100", "relays and tenants in part spread, ascending, comma separated")
	f.StringVar(&nodes, "nodes", "1,2,3", "nodes in part nodes, comma separated")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	if f.NArg() > 0 {
		return s, fmt.Errorf("%q is no flag", f.Arg(0))
	}
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if s.quick {
		tiny := func(name string, set func()) {
			if !given[name] {
				set()
			}
		}
		tiny("rounds", func() { s.rounds = 1 })
		tiny("aim", func() { s.aim = 100 * time.Millisecond })
		tiny("queue", func() { s.queue = 1000 })
		tiny("newcomers", func() { s.newcomers = 5 })
		tiny("messages", func() { s.batch = 60 })
		tiny("stored", func() { stored = "0,200" })
		tiny("spread", func() { spread = "1,2" })
		tiny("nodes", func() { nodes = "1,2" })
		s.reads, s.attach, s.chainTime = 20, 1_000_000, "1x"
	}
	s.databases, s.parts, s.peers = strings.Split(databases, ","), strings.Split(parts, ","), strings.Split(peers, ",")
	if s.raw == "" {
		s.raw = filepath.Join(s.dir, "raw")
		if s.quick {
			s.raw = filepath.Join(s.dir, "out", "quick")
		}
	}
	if s.results == "" && !s.quick {
		s.results = filepath.Join(s.dir, "RESULTS.md")
	}
	var err, all error
	s.bin, all = filepath.Abs(filepath.Join(s.dir, "out", "bin"))
	for _, n := range []struct {
		flag, text string
		to         *[]int
	}{{"stored", stored, &s.stored}, {"spread", spread, &s.spread}, {"nodes", nodes, &s.nodes}} {
		*n.to, err = numbers(n.flag, n.text)
		all = errors.Join(all, err)
	}
	return s, errors.Join(all, s.check())
}

// check tells what cannot be measured.
func (s settings) check() error {
	var faults []error
	for _, l := range []struct {
		flag         string
		given, known []string
	}{
		{"databases", s.databases, []string{sqlite, postgresql}},
		{"parts", s.parts, partNames()},
		{"peers", s.peers, peerNames()},
	} {
		for _, v := range l.given {
			if !slices.Contains(l.known, v) {
				faults = append(faults, fmt.Errorf("-%s: %q is none of %s", l.flag, v, strings.Join(l.known, ", ")))
			}
		}
	}
	if min(s.rounds, s.queue, s.newcomers, s.batch, int(s.aim)) < 1 {
		faults = append(faults, errors.New("-rounds, -aim, -queue, -newcomers and -messages must be more than 0"))
	}
	if s.stored[0] != 0 || s.spread[0] != 1 || s.nodes[0] != 1 {
		faults = append(faults, errors.New("-stored must begin with 0, -spread and -nodes with 1: the others are compared with it"))
	}
	return errors.Join(faults...)
}

// numbers reads a list of numbers; it is never empty.
func numbers(name, text string) ([]int, error) {
	var l []int
	for v := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(v))
		if err != nil || n < 0 {
			return []int{-1}, fmt.Errorf("-%s: %q is no number", name, v)
		}
		l = append(l, n)
	}
	return l, nil
}
