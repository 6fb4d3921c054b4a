package main

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// realServer stands in the reason of every skipped real-server test.
const realServer = "real server:"

// event is one line of go test -json; see go doc test2json.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output events, instead of Package
	Test       string // "" for what concerns the whole package
	Output     string
}

// test is one test, subtest, example or fuzz target of one package.
type test struct {
	state  string // "", "pass", "fail", "skip"
	parent bool   // it has subtests
	output []string
}

// skip is one skipped test and why.
type skip struct{ name, reason string }

// tally adds up events and prints what people need of them as they come: one line a
// package, and all that a failed test said.
type tally struct {
	out      io.Writer
	running  map[string]map[string]*test // by package, then by test; until the package ends
	loose    map[string][]string         // by package: output of no test
	passed   int
	failed   []string
	skipped  []skip
	position *regexp.Regexp
}

func newTally(out io.Writer) *tally {
	return &tally{
		out:     out,
		running: map[string]map[string]*test{},
		loose:   map[string][]string{},
		// The place that the testing package writes before a message.
		position: regexp.MustCompile(`^\s+[\w.-]+\.go:\d+: `),
	}
}

// failures is the number of failed tests so far.
func (t *tally) failures() int { return len(t.failed) }

// fail records a failure that is no test's.
func (t *tally) fail(name, why string) { t.failed = append(t.failed, name+": "+why) }

// add takes one event.
func (t *tally) add(e event) {
	switch {
	case e.Action == "build-output":
		fmt.Fprint(t.out, e.Output)
	case e.Test != "":
		t.addTest(e)
	case e.Action == "output":
		t.addLoose(e)
	case e.Action == "pass", e.Action == "fail", e.Action == "skip":
		t.endPackage(e)
	}
}

func (t *tally) addTest(e event) {
	tests := t.running[e.Package]
	if tests == nil {
		tests = map[string]*test{}
		t.running[e.Package] = tests
	}
	one := tests[e.Test]
	if one == nil {
		one = &test{}
		tests[e.Test] = one
		for i, c := range e.Test {
			if up := tests[e.Test[:i]]; c == '/' && up != nil {
				up.parent = true
			}
		}
	}
	switch e.Action {
	case "output":
		one.output = append(one.output, e.Output)
	case "pass", "skip":
		one.state = e.Action
		if one.state == "pass" {
			one.output = nil
		}
	case "fail":
		one.state = e.Action
		fmt.Fprint(t.out, strings.Join(one.output, ""))
	}
}

// addLoose prints the closing line of a package at once and keeps all else: it is of
// use only when the package fails.
func (t *tally) addLoose(e event) {
	if strings.HasPrefix(e.Output, "ok  \t") || strings.HasPrefix(e.Output, "FAIL\t") {
		fmt.Fprint(t.out, e.Output)
		return
	}
	if e.Output == "PASS\n" || e.Output == "FAIL\n" {
		return
	}
	t.loose[e.Package] = append(t.loose[e.Package], e.Output)
}

// endPackage counts the tests of a package that has ended.
func (t *tally) endPackage(e event) {
	tests, failedBefore := t.running[e.Package], len(t.failed)
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		one := tests[name]
		full := e.Package + " " + name
		switch one.state {
		case "pass":
			if !one.parent {
				t.passed++
			}
		case "skip":
			t.skipped = append(t.skipped, skip{full, t.reason(one.output)})
		case "fail":
			if !one.parent || !childFailed(tests, name) {
				t.failed = append(t.failed, full)
			}
		default: // the process ended while it ran: a panic, a timeout, os.Exit
			fmt.Fprint(t.out, strings.Join(one.output, ""))
			if !one.parent {
				t.failed = append(t.failed, full+" (did not end)")
			}
		}
	}
	if e.Action == "fail" {
		fmt.Fprint(t.out, strings.Join(t.loose[e.Package], ""))
		if len(t.failed) == failedBefore {
			t.fail(e.Package, "failed outside of its tests, or does not build")
		}
	}
	delete(t.running, e.Package)
	delete(t.loose, e.Package)
}

func childFailed(tests map[string]*test, parent string) bool {
	for name, one := range tests {
		if one.state == "fail" && strings.HasPrefix(name, parent+"/") {
			return true
		}
	}
	return false
}

// reason finds in a skipped test's output the last thing that it said.
func (t *tally) reason(output []string) string {
	for _, line := range slices.Backward(output) {
		if place := t.position.FindString(line); place != "" {
			return strings.TrimSpace(strings.TrimPrefix(line, place))
		}
	}
	return "no reason given"
}

// close prints the summary and reports whether all is well: something ran, nothing
// failed and, where servers are required, no test went without one. note is printed
// above the count unless empty.
func (t *tally) close(require bool, note string) bool {
	for pkg := range t.running { // go test died before the package ended
		t.fail(pkg, "did not end")
	}
	var servers, others []skip
	for _, s := range t.skipped {
		if strings.Contains(s.reason, realServer) {
			servers = append(servers, s)
		} else {
			others = append(others, s)
		}
	}
	fmt.Fprintln(t.out)
	printSkips(t.out, "Skipped:", others)
	printSkips(t.out, "NOT TESTED against a real server:", servers)
	skipped := len(t.skipped)
	if require && len(servers) > 0 {
		fmt.Fprintf(t.out, "%s=1: each of these %d counts as failed.\n", requireServers, len(servers))
		skipped -= len(servers)
		for _, s := range servers {
			t.fail(s.name, "skipped")
		}
	}
	if len(t.failed) > 0 {
		fmt.Fprintln(t.out, "Failed:")
		for _, name := range t.failed {
			fmt.Fprintln(t.out, "  "+name)
		}
	}
	total := t.passed + len(t.failed) + skipped
	if total == 0 {
		fmt.Fprintln(t.out, "No test was run.")
	}
	if note != "" {
		fmt.Fprintln(t.out, note)
	}
	fmt.Fprintf(t.out, "%d passed, %d failed, %d skipped\n", t.passed, len(t.failed), skipped)
	return len(t.failed) == 0 && total > 0
}

func printSkips(out io.Writer, title string, skips []skip) {
	if len(skips) == 0 {
		return
	}
	fmt.Fprintln(out, title)
	for _, s := range skips {
		fmt.Fprintf(out, "  %s: %s\n", s.name, s.reason)
	}
}
