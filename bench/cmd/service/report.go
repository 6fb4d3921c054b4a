package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// figure is one measured value of one round.
type figure struct {
	db, what string
	value    float64
}

// limit is a goal for a figure.
type limit struct {
	atMost  bool
	limits  map[string]float64 // by database
	decides string             // the figure
}

func goals() []limit {
	both := func(v float64) map[string]float64 { return map[string]float64{"sqlite": v, "postgresql": v} }
	none := func(v float64) map[string]float64 { return map[string]float64{"–": v} }
	return []limit{
		{true, none(15), chainPrefix + "HS256/new"},
		{true, none(15), chainPrefix + "HS256/seen"},
		{true, none(15), chainPrefix + "APIKey"},
		{true, none(100), chainPrefix + "ES256/new"},
		{true, none(15), chainPrefix + "ES256/seen"},
		{true, none(115), chainPrefix + "Redis/HS256/seen"}, // at most 100 more than in memory
		{true, none(115), chainPrefix + "Redis/APIKey"},
		{false, map[string]float64{"sqlite": 6000, "postgresql": 4000}, "accepted/s, 64 callers"},
		{true, map[string]float64{"sqlite": 10, "postgresql": 15}, "accept p99 ms, 8 callers"},
		{false, map[string]float64{"sqlite": 4000, "postgresql": 3000}, "sent/s end to end, 64 callers"},
		{true, both(100), "memory MB, after sending"},
		{true, both(100), "newcomer, own relay, median ms"},
		{true, both(500), "newcomer, own relay, worst ms"},
		{true, both(100), "newcomer, shared relay, median ms"},
		{true, both(500), "newcomer, shared relay, worst ms"},
		{true, both(64), "100 MB of attachments, more memory MB"},
		{true, both(300), "start to ready, empty data directory, ms"},
	}
}

// render is the section of the report: the median of the rounds, with the least and the
// most.
func render(s settings, all []figure) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## Service\n\nWritten by `make bench-service`, %s: 2 KB messages, durable, %d rounds; load, service, database and sink share %d cores.\nMedian of the rounds (least–most).\n\n",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), s.rounds, runtime.NumCPU())
	b.WriteString("| what | database | measured | goal | |\n|---|---|---:|---:|---|\n")
	var order []figure
	values := map[figure][]float64{}
	for _, f := range all {
		k := figure{f.db, f.what, 0}
		if _, seen := values[k]; !seen {
			order = append(order, k)
		}
		values[k] = append(values[k], f.value)
	}
	for _, k := range order {
		v := values[k]
		slices.Sort(v)
		median := v[len(v)/2]
		goal, verdict := "", ""
		for _, g := range goals() {
			if g.decides != k.what {
				continue
			}
			sign, met := "≥", median >= g.limits[k.db]
			if g.atMost {
				sign, met = "≤", median <= g.limits[k.db]
			}
			goal, verdict = fmt.Sprintf("%s %.0f", sign, g.limits[k.db]), "met"
			if !met {
				verdict = "**not met**"
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s (%s–%s) | %s | %s |\n", k.what, k.db, short(median), short(v[0]), short(v[len(v)-1]), goal, verdict)
	}
	return b.String()
}

func short(v float64) string {
	if v < 20 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// writeSection puts the text into the report in place of the section that is there.
// What the library's runner writes stands before it.
func writeSection(path, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, _, _ := strings.Cut(string(old), "\n## Service\n")
	return os.WriteFile(path, []byte(strings.TrimRight(before, "\n")+"\n\n"+text), 0o644)
}
