package report_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/bench/contract"
	"github.com/postrider/postrider/bench/report"
	"github.com/postrider/postrider/bench/sink"
)

func run(peer string, round, sent int, seconds float64) report.Run {
	return report.Run{
		Peer: peer, Mode: "plain", Size: 2048, Conns: 1, N: sent, Round: round,
		Driver: contract.Result{Sent: sent, Seconds: seconds},
		Sink:   sink.Stats{Conns: 1, Messages: int64(sent), UniqueIDs: int64(sent), Bytes: int64(sent) * 3000, Turns: int64(sent)},
	}
}

// TestMarkdown writes raw results, reads them back and looks for the figures.
// The second round ran on a machine that was ten times slower: ratios taken
// within the rounds do not see it, ratios of medians would.
func TestMarkdown(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(report.Path(dir, report.Throughput))
	if err != nil {
		t.Fatal(err)
	}
	enc := json.NewEncoder(f)
	lines := []any{
		report.Header{
			Part: report.Throughput, Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), CPU: "Abacus", Cores: 2, Rounds: 2, Go: "go1.26",
			Versions: map[string]string{"go-mail": "go-mail 0.8.1"}, Missing: map[string]string{"go-smtp": "it broke"},
		},
		run(report.Ours, 1, 14000, 1), run(report.Bound, 1, 20000, 1), run("net/smtp", 1, 5000, 1),
		run("net/smtp", 2, 500, 1), run(report.Ours, 2, 1400, 1), run(report.Bound, 2, 2000, 1),
	}
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	parts, err := report.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := report.Faults(parts); got != nil {
		t.Errorf("faults: %v", got)
	}
	page := report.Markdown(parts)
	for _, want := range []string{
		"throughput 2026-01-02 03:04 (2 rounds)",
		"Abacus, 2 cores",
		"go-mail 0.8.1",
		"go-smtp is missing: its driver did not build.** `it broke`",
		"| 2 KB plain ×1: share of the bound | ≥ 0.6 | 0.70 (0.70–0.70) | met | 7 700 and 11 000 msgs/s (raw/bdat) |",
		"| 2 KB plain ×1: times net/smtp | ≥ 3 | 2.80 (2.80–2.80) | **not met** | 7 700 and 2 750 msgs/s (net/smtp) |",
		"| 2 KB STARTTLS ×8: CPU s per 1000 | ≤ 0.035 | – | not measured |  |",
		"| idle STARTTLS connection, KiB | ≤ 50 | – | not measured |  |",
		"| net/smtp | 2 750 (500–5 000) | – | – | – |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

func TestNothingMeasured(t *testing.T) {
	parts, err := report.Read(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if page := report.Markdown(parts); !strings.Contains(page, "Nothing has been measured yet.") {
		t.Error(page)
	}
}

func TestFault(t *testing.T) {
	for name, change := range map[string]func(*report.Run){
		"":                   func(*report.Run) {},
		"1 of 9 failed":      func(r *report.Run) { r.Driver.Sent, r.Driver.Failed = 8, 1 },
		"but 8 arrived":      func(r *report.Run) { r.Sink.UniqueIDs = 8 },
		"and 1 twice":        func(r *report.Run) { r.Sink.DupIDs = 1 },
		"only 900 bytes":     func(r *report.Run) { r.Sink.Bytes = 900 },
		"messages with bare": func(r *report.Run) { r.Sink.BareLF = 1 },
	} {
		r := run("net/smtp", 1, 9, 1)
		change(&r)
		if got := r.Fault(); got != name && (name == "" || !strings.Contains(got, name)) {
			t.Errorf("got %q, want %q", got, name)
		}
	}
}
