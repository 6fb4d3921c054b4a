package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Markdown is the whole report. Parts that are absent are left out, and their
// goals say "not measured".
func Markdown(parts map[string]Part) string {
	var b strings.Builder
	b.WriteString("# Results\n\nWritten by `make bench`; [README.md](README.md) says what each figure means and how far to trust it.\n")
	writeHeader(&b, parts)
	writeFaults(&b, parts)
	writeGoals(&b, goals(parts))
	writeThroughput(&b, parts[Throughput].Runs)
	writeLatency(&b, parts[First].Runs, parts[Warm].Runs)
	writeAttach(&b, parts[Attach].Runs)
	writeIdle(&b, parts[Idle].Runs)
	return b.String()
}

// table writes a Markdown table; all columns but the first are numbers.
func table(b *strings.Builder, head []string, rows [][]string) {
	fmt.Fprintf(b, "| %s |\n|---|%s\n", strings.Join(head, " | "), strings.Repeat("---:|", len(head)-1))
	for _, r := range rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(r, " | "))
	}
}

func writeHeader(b *strings.Builder, parts map[string]Part) {
	var first Header
	var when []string
	versions, missing := map[string]string{}, map[string]string{}
	for _, name := range Parts() {
		p, ok := parts[name]
		if !ok {
			continue
		}
		if first.Part == "" {
			first = p.Header
		}
		line := fmt.Sprintf("%s %s (%d rounds", name, p.Started.UTC().Format("2006-01-02 15:04"), p.Rounds)
		if p.Load != "" {
			line += ", load " + p.Load
		}
		when = append(when, line+")")
		maps.Copy(versions, p.Versions)
		maps.Copy(missing, p.Missing)
	}
	if first.Part == "" {
		b.WriteString("\nNothing has been measured yet.\n")
		return
	}
	fmt.Fprintf(b, "\n- Measured (UTC): %s\n- Machine: %s, %d cores, %s; the sink and the driver share it\n- %s", strings.Join(when, "; "),
		first.CPU, first.Cores, first.System, first.Go)
	for _, p := range slices.Sorted(maps.Keys(versions)) {
		fmt.Fprintf(b, "; %s", versions[p])
	}
	if first.Revision != "" {
		fmt.Fprintf(b, "\n- Postrider at %s", first.Revision)
	}
	b.WriteString("\n")
	for _, p := range slices.Sorted(maps.Keys(missing)) {
		fmt.Fprintf(b, "- **%s is missing: its driver did not build.** `%s`\n", p, missing[p])
	}
}

// writeFaults lists runs whose figures are not to be trusted.
func writeFaults(b *strings.Builder, parts map[string]Part) {
	if f := Faults(parts); len(f) > 0 {
		fmt.Fprintf(b, "\n**Runs with faults:**\n\n")
		for _, l := range f {
			fmt.Fprintf(b, "- %s\n", l)
		}
	}
}

// Faults are the runs in which a message failed, was lost, came twice or was malformed.
func Faults(parts map[string]Part) []string {
	var f []string
	for _, name := range Parts() {
		for _, r := range parts[name].Runs {
			if s := r.Fault(); s != "" {
				f = append(f, fmt.Sprintf("%s, %s %s, %d bytes ×%d, round %d: %s", name, r.Peer, r.Mode, r.Size, r.Conns, r.Round, s))
			}
		}
	}
	return f
}

func writeGoals(b *strings.Builder, goals []goal) {
	b.WriteString("\n## Goals\n\nMedian of the rounds (least–most). Ratios are taken within each round.\n\n")
	rows := make([][]string, 0, len(goals))
	met := 0
	for _, g := range goals {
		if len(g.got) > 0 && g.met {
			met++
		}
		rows = append(rows, []string{g.what, g.want, g.got.spread(g.digits), g.verdict(), noteOf(g)})
	}
	table(b, []string{"what", "goal", "Postrider", "", "medians"}, rows)
	fmt.Fprintf(b, "\n%d of %d met.\n", met, len(goals))
}

func noteOf(g goal) string {
	if len(g.got) == 0 {
		return ""
	}
	return g.note
}

func writeThroughput(b *strings.Builder, runs []Run) {
	if len(runs) == 0 {
		return
	}
	for _, size := range []int{2048, 51200} {
		cells := throughputCells(size)
		fmt.Fprintf(b, "\n## %d KB messages, msgs/s\n\n", size/1024)
		throughputTable(b, runs, cells, Run.Rate, 0)
		fmt.Fprintf(b, "\nCPU of the client, seconds for 1000 messages:\n\n")
		throughputTable(b, runs, cells, Run.CPUPer1000, 3)
	}
	b.WriteString("\nOn the wire, 2 KB plain ×1, and what a message cost the client in memory and the sink in CPU time:\n\n")
	c := cell{"plain", 2048, 1}
	var rows [][]string
	for _, p := range peersOf(runs) {
		of := func(m func(Run) float64) figures { return pick(runs, p, c.has, m) }
		rows = append(rows, []string{
			p,
			number(of(func(r Run) float64 { return float64(r.Sink.Bytes) / float64(r.Driver.Sent) }).median(), 0),
			number(of(func(r Run) float64 { return float64(r.Sink.Turns) / float64(r.Driver.Sent) }).median(), 2),
			number(of(func(r Run) float64 { return r.Driver.AllocKB }).median(), 1),
			number(of(func(r Run) float64 { return r.CPU / float64(r.Driver.Sent) * 1e6 }).median(), 0),
		})
	}
	table(b, []string{"", "bytes a message", "turns a message", "allocated KiB a message", "sink CPU µs a message"}, rows)
}

func throughputTable(b *strings.Builder, runs []Run, cells []cell, measure func(Run) float64, digits int) {
	head := []string{""}
	for _, c := range cells {
		head = append(head, strings.SplitN(c.String(), " ", 3)[2])
	}
	var rows [][]string
	for _, p := range peersOf(runs) {
		row := []string{p}
		for _, c := range cells {
			row = append(row, pick(runs, p, c.has, measure).spread(digits))
		}
		rows = append(rows, row)
	}
	table(b, head, rows)
}

func writeLatency(b *strings.Builder, first, warm []Run) {
	if len(first)+len(warm) == 0 {
		return
	}
	all := append(slices.Clone(warm), first...)
	fmt.Fprintf(b, "\n## Emulated round trip of %s ms\n\nRound trips: time divided by the round trip.\n\n", number(all[0].RTTMS, 0))
	var rows [][]string
	for _, p := range peersOf(all) {
		rows = append(rows, []string{
			p,
			number(pick(warm, p, inMode("plain"), warmTrips).median(), 2),
			number(pick(warm, p, inMode("starttls"), warmTrips).median(), 2),
			number(pick(warm, p, inMode("plain"), warmRate).median(), 1),
			number(pick(first, p, inMode("plain"), firstTrips).median(), 2),
			number(pick(first, p, inMode("starttls"), firstTrips).median(), 2),
			number(pick(first, p, inMode("tls"), firstTrips).median(), 2),
		})
	}
	table(b, []string{
		"", "warm, plain", "warm, STARTTLS", "msgs/s a connection", "to the first message: plain+AUTH", "STARTTLS+AUTH", "TLS+AUTH",
	}, rows)
}

func writeAttach(b *strings.Builder, runs []Run) {
	if len(runs) == 0 {
		return
	}
	b.WriteString("\n## One 25 MiB attachment, plain\n\n")
	var rows [][]string
	for _, p := range peersOf(runs) {
		rows = append(rows, []string{
			p,
			pick(runs, p, every, seconds).spread(3),
			pick(runs, p, every, cpuSeconds).spread(3),
			pick(runs, p, every, peakMiB).spread(1),
		})
	}
	table(b, []string{"", "wall s", "CPU s", "peak RSS MiB"}, rows)
}

func writeIdle(b *strings.Builder, runs []Run) {
	if len(runs) == 0 {
		return
	}
	b.WriteString("\n## Idle STARTTLS connections, one message sent on each\n\n")
	var rows [][]string
	for _, p := range peersOf(runs) {
		rows = append(rows, []string{
			p,
			pick(runs, p, knownRSS, idleKiB).spread(1),
			pick(runs, p, knownRSS, freedKiB).spread(1),
			number(pick(runs, p, every, func(r Run) float64 { return float64(r.Sink.MaxOpen) }).median(), 0),
		})
	}
	table(b, []string{"", "KiB each", "KiB each, unused pages given back", "open"}, rows)
}
