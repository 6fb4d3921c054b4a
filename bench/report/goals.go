package report

import (
	"fmt"
	"math"
)

// goal is one line of the goals table.
type goal struct {
	what, want string
	got        figures // of each round; empty if not measured
	digits     int
	note       string
	met        bool
}

func (g goal) verdict() string {
	switch {
	case len(g.got) == 0:
		return "not measured"
	case g.met:
		return "met"
	default:
		return "**not met**"
	}
}

func atLeast(what, want string, limit float64, got figures, digits int, note string) goal {
	return goal{what, want, got, digits, note, got.median() >= limit}
}

func atMost(what, want string, limit float64, got figures, digits int, note string) goal {
	return goal{what, want, got, digits, note, got.median() <= limit}
}

// throughputCells are the columns of the throughput tables, by size.
func throughputCells(size int) []cell {
	return []cell{{"plain", size, 1}, {"plain", size, 8}, {"starttls", size, 1}, {"starttls", size, 8}}
}

// goals are the library's goals. The median of the rounds decides.
func goals(parts map[string]Part) []goal {
	var g []goal
	g = append(g, throughputGoals(parts[Throughput].Runs)...)
	g = append(g, latencyGoals(parts[First].Runs, parts[Warm].Runs)...)
	return append(g, memoryGoals(parts[Attach].Runs, parts[Idle].Runs)...)
}

func throughputGoals(runs []Run) []goal {
	var g []goal
	for _, c := range throughputCells(2048) {
		g = append(
			g,
			atLeast(c.String()+": share of the bound", "≥ 0.6", 0.6, ratios(runs, Ours, Bound, c.has, Run.Rate), 2, rates(runs, c, Bound)),
			atLeast(c.String()+": times net/smtp", "≥ 3", 3, ratios(runs, Ours, "net/smtp", c.has, Run.Rate), 2, rates(runs, c, "net/smtp")),
		)
	}
	c := cell{"starttls", 2048, 8}
	g = append(g, atMost(c.String()+": CPU s per 1000", "≤ 0.035", 0.035, pick(runs, Ours, c.has, Run.CPUPer1000), 3, ""))
	for _, c := range throughputCells(51200) {
		if c.mode == "starttls" && c.conns == 1 {
			continue // measured, but no goal
		}
		best, ratio := bestPeer(runs, c.has, Run.Rate, false)
		g = append(
			g,
			atLeast(c.String()+": share of the bound", "≥ 0.5", 0.5, ratios(runs, Ours, Bound, c.has, Run.Rate), 2, rates(runs, c, Bound)),
			atLeast(c.String()+": times the best peer", "≥ 3", 3, ratio, 2, rates(runs, c, best)),
		)
	}
	return g
}

func rates(runs []Run, c cell, other string) string {
	return fmt.Sprintf("%s and %s msgs/s (%s)", number(pick(runs, Ours, c.has, Run.Rate).median(), 0),
		number(pick(runs, other, c.has, Run.Rate).median(), 0), other)
}

// bestPeer is the library that we do worst against, with the ratios to it: the
// lowest ratio where more is better, the highest where less is.
func bestPeer(runs []Run, match func(Run) bool, measure func(Run) float64, less bool) (string, figures) {
	var name string
	var best figures
	for _, p := range libraries(runs) {
		f := ratios(runs, Ours, p, match, measure)
		if len(f) == 0 {
			continue
		}
		if best == nil || less == (f.median() > best.median()) {
			name, best = p, f
		}
	}
	return name, best
}

func latencyGoals(first, warm []Run) []goal {
	var g []goal
	for _, m := range []struct {
		mode, name, want string
		limit            float64
	}{
		{"plain", "plain and AUTH", "≤ 5.1", 5.1},
		{"starttls", "STARTTLS and AUTH", "≤ 8.2", 8.2},
		{"tls", "TLS and AUTH", "≤ 6.2", 6.2},
	} {
		f := pick(first, Ours, inMode(m.mode), firstTrips)
		g = append(g, atMost("round trips to the first message, "+m.name, m.want, m.limit, f, 2, ""))
	}
	for _, m := range []struct{ mode, name string }{{"plain", "plain"}, {"starttls", "STARTTLS"}} {
		f := pick(warm, Ours, inMode(m.mode), warmTrips)
		g = append(
			g,
			atMost("round trips a message, warm, "+m.name, "≤ 1.05", 1.05, f, 3, ""),
			atLeast("msgs/s a connection at 50 ms, "+m.name, "≥ 19", 19, pick(warm, Ours, inMode(m.mode), warmRate), 1, ""),
		)
	}
	return append(
		g,
		atMost("first send at 50 ms, STARTTLS and AUTH, ms", "≤ 420", 420, pick(first, Ours, inMode("starttls"), firstMS), 0, ""),
		atMost("later send at 50 ms, STARTTLS, ms", "≤ 55", 55, pick(warm, Ours, inMode("starttls"), warmMS), 1, ""),
	)
}

func memoryGoals(attach, idle []Run) []goal {
	best, ratio := bestPeer(attach, every, seconds, true)
	note := ""
	if best != "" {
		note = fmt.Sprintf("%s and %s s (%s)", number(pick(attach, Ours, every, seconds).median(), 3),
			number(pick(attach, best, every, seconds).median(), 3), best)
	}
	return []goal{
		atMost("25 MiB attachment: wall time, share of the best peer", "≤ 0.6", 0.6, ratio, 2, note),
		atMost("25 MiB attachment: CPU s", "≤ 0.12", 0.12, pick(attach, Ours, every, cpuSeconds), 3, ""),
		atMost("25 MiB attachment: peak RSS MiB", "≤ 12", 12, pick(attach, Ours, every, peakMiB), 1, ""),
		atMost("idle STARTTLS connection, KiB", "≤ 50", 50, pick(idle, Ours, knownRSS, idleKiB), 1, ""),
	}
}

func inMode(mode string) func(Run) bool { return func(r Run) bool { return r.Mode == mode } }

func seconds(r Run) float64    { return r.Driver.Seconds }
func cpuSeconds(r Run) float64 { return r.Driver.CPUSeconds }
func peakMiB(r Run) float64    { return float64(r.Driver.PeakRSSKB) / 1024 }
func firstMS(r Run) float64    { return r.Driver.FirstMS }
func firstTrips(r Run) float64 { return r.Driver.FirstMS / r.RTTMS }
func warmTrips(r Run) float64  { return warmMS(r) / r.RTTMS }
func warmRate(r Run) float64   { return 1000 / warmMS(r) }

func warmMS(r Run) float64 {
	if r.Driver.WarmN == 0 {
		return math.NaN()
	}
	return r.Driver.WarmSeconds / float64(r.Driver.WarmN) * 1000
}

// knownRSS: only Linux tells a process its resident set size.
func knownRSS(r Run) bool { return r.Driver.HoldRSSKB > 0 }

// idleKiB divides by the connections that the sink saw open, not by those asked for.
func idleKiB(r Run) float64 {
	return float64(r.Driver.HoldRSSKB-r.Driver.BaseRSSKB) / float64(r.Sink.MaxOpen)
}

func freedKiB(r Run) float64 {
	return float64(r.Driver.FreedRSSKB-r.Driver.BaseRSSKB) / float64(r.Sink.MaxOpen)
}
