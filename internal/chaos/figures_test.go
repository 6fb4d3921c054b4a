package chaos_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// twoAtOnce are steps of two faults, in the figures.
const twoAtOnce = "two of these at once"

// figures are what came of rounds.
type figures struct {
	rounds, faults                int
	accepted, unanswered, arrived int
	sent, unknown, waiting        int
	twice, lost                   int
	longest, took                 time.Duration
	recovery                      map[string][]time.Duration // by fault
	takeover                      map[string][]time.Duration // by fault, of each relay of the broken node
}

func newFigures() figures {
	return figures{recovery: map[string][]time.Duration{}, takeover: map[string][]time.Duration{}}
}

func (f *figures) add(g figures) {
	f.rounds += g.rounds
	f.faults += g.faults
	f.accepted += g.accepted
	f.unanswered += g.unanswered
	f.arrived += g.arrived
	f.sent += g.sent
	f.unknown += g.unknown
	f.waiting += g.waiting
	f.twice += g.twice
	f.lost += g.lost
	f.longest = max(f.longest, g.longest)
	for name, times := range g.recovery {
		f.recovery[name] = append(f.recovery[name], times...)
	}
	for name, times := range g.takeover {
		f.takeover[name] = append(f.takeover[name], times...)
	}
}

// table is the figures as Markdown.
func (f *figures) table() string {
	var b strings.Builder
	b.WriteString("| | |\n|---|---:|\n")
	for _, line := range []struct {
		name string
		n    int
	}{
		{"rounds", f.rounds},
		{"faults", f.faults},
		{"messages answered with 202", f.accepted},
		{"requests without an answer, not repeated", f.unanswered},
		{"of the accepted: arrived", f.arrived},
		{"of the accepted: `sent`", f.sent},
		{"of the accepted: `unknown`, not sent again", f.unknown},
		{"of the accepted: `deferred` after an unknown outcome, until the ten minutes are over", f.waiting},
		{"arrived twice, under `retry`", f.twice},
		{"arrived twice under `hold`, or three times", 0}, // or the test had failed
		{"accepted, and neither arrived nor reported", f.lost},
	} {
		fmt.Fprintf(&b, "| %s | %d |\n", line.name, line.n)
	}
	fmt.Fprintf(&b, "| longest round | %.1f s |\n| all rounds | %.0f s |\n", f.longest.Seconds(), f.took.Seconds())
	b.WriteString(times("until a new message is accepted and arrives, after", f.recovery))
	if len(f.takeover) > 0 {
		b.WriteString(times("until another node sends for a relay of the broken node, after", f.takeover))
	}
	return b.String()
}

// times is a table of how long something took.
func times(title string, by map[string][]time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n| %s | times | median | longest |\n|---|---:|---:|---:|\n", title)
	for _, name := range slices.Sorted(maps.Keys(by)) {
		if sorted := slices.Sorted(slices.Values(by[name])); len(sorted) > 0 {
			fmt.Fprintf(&b, "| %s | %d | %.2f s | %.2f s |\n", name, len(sorted), sorted[len(sorted)/2].Seconds(), sorted[len(sorted)-1].Seconds())
		}
	}
	return b.String()
}

// report prints the figures, and writes them into the document if that was asked for, where it has a place of this name.
func (f *figures) report(t *testing.T, place string) {
	t.Helper()
	if f.rounds == 0 {
		return
	}
	table := f.table()
	t.Log("\n" + table)
	if !*figuresFlag || t.Failed() {
		return
	}
	const path = "../../docs/reliability.md"
	begin, end := "<!-- begin "+place+" -->\n", "<!-- end "+place+" -->"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, also := strings.Cut(rest, end)
	if !ok || !also {
		t.Fatalf("%s has no place for %s", path, place)
	}
	table = fmt.Sprintf("\nRun of %s.\n\n%s\n", time.Now().UTC().Format(time.DateOnly), table)
	if err := os.WriteFile(path, []byte(before+begin+table+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
