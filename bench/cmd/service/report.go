package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// busyShare is the share of the processors in others' hands from which on rates tell little.
const busyShare = 0.10

// what says what the table of each part shows.
func what(part string) string {
	return map[string]string{
		"peers": "Beside other stacks that take a message, keep it durably and send it on: the same load, message and sink, 8 callers. " +
			"Rounds take turns, each with all of them; \"times\" is our rate divided by that of the best peer in the same round.",
		"chain":    "The middleware chain of a request, no network, the store's cache warm: µs a request. With Redis the limiter is there, on this machine.",
		"start":    "From the start of the process to the first 200 of /readyz.",
		"accept":   "Taking messages in alone: their relay is paused.",
		"send":     "End to end: from the first request to the last message at the sink, which comes while others are being accepted.",
		"newcomer": "One tenant's single messages, from the answer 202 to the sink's 250, while another tenant's queue is being sent over a relay that both share.",
		"attach":   "One request with four attachments of 25 MB.",
		"growth": "With finished messages in the store (as sent ones leave it, their content removed), and those that the rounds before left. " +
			"Accept: with the relay paused, 64 callers. Send: what was queued so. Lists: the 50 newest that there are, one caller; failed ones and those of the user there are none.",
		"spread": "As many tenants as relays, one each, turn by turn; accept with all of them held, 64 callers, then sent.",
		"rls": "A read as the service does it (role without rights of its own, the tenant told in the same batch, policies forced) and the same query as a role " +
			"that no policy holds, telling no tenant; in pairs, one connection each.",
		"nodes": "Nodes on one PostgreSQL, 64 callers in turn at all of them, 12 relays of 6 tenants. " +
			"Where the processor time of a message goes, end to end: all of it shares this machine.",
	}[part]
}

// render is the section of the report.
func render(files []file) string {
	var b strings.Builder
	b.WriteString("## Service\n\nWritten by `make bench-service` from `raw/`; [README.md](README.md) says what is measured. 2 KB messages, durable; load, service, database and sink share one machine.\nMedian of the rounds (least–most).\n\n")
	renderTimes(&b, files)
	renderGoals(&b, files)
	for i, f := range files {
		if i > 0 && files[i-1].Part == f.Part {
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", strings.ToUpper(f.Part[:1])+f.Part[1:], what(f.Part))
		var same []file
		for _, g := range files[i:] {
			if g.Part == f.Part {
				same = append(same, g)
			}
		}
		renderTable(&b, same)
		for _, g := range same {
			for _, n := range g.Notes {
				fmt.Fprintf(&b, "\n%s%s\n", prefix(g.Database), n)
			}
		}
	}
	return b.String()
}

func prefix(db string) string {
	if db == neither {
		return ""
	}
	return db + ": "
}

// renderTimes says when and under which circumstances each part was measured.
func renderTimes(b *strings.Builder, files []file) {
	b.WriteString("| part | database | measured (UTC) | took s | rounds | load before | others' share of the processors | at |\n|---|---|---|---:|---:|---:|---:|---|\n")
	disturbed := []string{}
	for _, f := range files {
		others := ""
		if len(f.Foreign) > 0 {
			m := median(f.Foreign)
			others = fmt.Sprintf("%.0f %% (%.0f–%.0f)", m*100, slices.Min(f.Foreign)*100, slices.Max(f.Foreign)*100)
			if m > busyShare {
				disturbed = append(disturbed, f.Part+" ("+f.Database+")")
			}
		}
		fmt.Fprintf(b, "| %s | %s | %s | %.0f | %d | %s | %s | %s |\n", f.Part, f.Database, f.Started.Format("2006-01-02 15:04"), f.Took, f.Rounds, f.Load, others, f.Revision)
	}
	if len(files) > 0 {
		kinds := []string{}
		for _, f := range files {
			kind := fmt.Sprintf("%d processors, %s, %s", f.Cores, f.Go, f.Settings)
			if !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
		fmt.Fprintf(b, "\nWith: %s.\n", strings.Join(kinds, "; "))
	}
	if len(disturbed) > 0 {
		fmt.Fprintf(b, "\n**The machine was busy** with other programs during: %s. Read processor times and ratios there, not rates and waits.\n", strings.Join(disturbed, ", "))
	}
}

// renderGoals compares the medians with the goals.
func renderGoals(b *strings.Builder, files []file) {
	var rows strings.Builder
	met, all := 0, 0
	for _, g := range goals() {
		for _, f := range files {
			if f.Part != g.part || f.Database != g.database {
				continue
			}
			v := f.values(g.row, g.column)
			if len(v) == 0 {
				continue
			}
			all++
			verdict := "**not met**"
			if g.met(median(v)) {
				verdict = "met"
				met++
			}
			sign := "≥"
			if g.atMost {
				sign = "≤"
			}
			fmt.Fprintf(&rows, "| %s | %s | %s: %s | %s %s | %s | %s |\n", g.part, g.database, g.row, g.column, sign, short(g.limit), cell(v), verdict)
		}
	}
	fmt.Fprintf(b, "\n### Goals of the service: %d of %d met\n\n| part | database | what | goal | measured | |\n|---|---|---|---:|---:|---|\n%s", met, all, rows.String())
}

// renderTable is a part's figures: a row each, databases below each other.
func renderTable(b *strings.Builder, same []file) {
	var columns []string
	for _, f := range same {
		for _, v := range f.figures {
			if !slices.Contains(columns, v.Column) {
				columns = append(columns, v.Column)
			}
		}
	}
	database, line := "database | ", "---|"
	if same[0].Database == neither {
		database, line = "", ""
	}
	fmt.Fprintf(b, "| %swhat | %s |\n|%s---|%s\n", database, strings.Join(columns, " | "), line, strings.Repeat("---:|", len(columns)))
	for _, f := range same {
		for _, row := range f.rows() {
			b.WriteString("| ")
			if database != "" {
				b.WriteString(f.Database + " | ")
			}
			b.WriteString(row + " |")
			for _, c := range columns {
				b.WriteString(" " + cell(f.values(row, c)) + " |")
			}
			b.WriteString("\n")
		}
	}
}

// rows are the rows of a file in the order in which they came.
func (f file) rows() []string {
	var rows []string
	for _, v := range f.figures {
		if !slices.Contains(rows, v.Row) {
			rows = append(rows, v.Row)
		}
	}
	return rows
}

// values are those of a cell, one a round.
func (f file) values(row, column string) []float64 {
	var values []float64
	for _, v := range f.figures {
		if v.Row == row && v.Column == column {
			values = append(values, v.Value)
		}
	}
	return values
}

func cell(v []float64) string {
	switch len(v) {
	case 0:
		return ""
	case 1:
		return short(v[0])
	}
	return fmt.Sprintf("%s (%s–%s)", short(median(v)), short(slices.Min(v)), short(slices.Max(v)))
}

// median of some values: with an even number the mean of the two in the middle.
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func short(v float64) string {
	switch {
	case v == float64(int(v)) && v < 1000:
		return fmt.Sprintf("%.0f", v)
	case v < 5:
		return fmt.Sprintf("%.2f", v)
	case v < 50:
		return fmt.Sprintf("%.1f", v)
	case v < 10_000:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%d %03d", int(v)/1000, int(v)%1000)
}

// writeSection puts the text into the report in place of the section that is there.
// What the library's runner writes stands before it.
func writeSection(path, text string) error {
	old, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	before, _, _ := strings.Cut("\n"+string(old), "\n## Service\n")
	before = strings.Trim(before, "\n")
	if before != "" {
		before += "\n\n"
	}
	return os.WriteFile(path, []byte(before+text), 0o644)
}

// times is the column of a ratio.
func times(column string) string { return column + ", times" }

// ms is a time in milliseconds.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
