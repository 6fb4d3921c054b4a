package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestEverythingWithTinyNumbers runs all parts against the real program, so that none of them rots. What it measures is
// worth nothing. Left out: the chain, whose benchmark is run where it lives, and the peer that npm would have to fetch.
func TestEverythingWithTinyNumbers(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the service and starts it many times")
	}
	dir := t.TempDir()
	peers, databases := []string{sqlite}, []string{sqlite}
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl"); len(found) > 0 {
		peers, databases = append(peers, postgresql), append(databases, postgresql)
	} else {
		missing(t, "PostgreSQL is not installed")
	}
	if _, err := os.Stat("/usr/lib/postfix/sbin/master"); err == nil && os.Getuid() == 0 {
		peers = append(peers, "postfix")
	} else {
		missing(t, "Postfix is not installed, or this is not root")
	}
	results := filepath.Join(dir, "RESULTS.md")
	if err := os.WriteFile(results, []byte("# Results\n\nthe library's\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, p := range partNames() {
		if p != "chain" {
			parts = append(parts, p)
		}
	}
	args := []string{
		"-dir", "../..", "-raw", filepath.Join(dir, "raw"), "-results", results, "-quick",
		"-parts", strings.Join(parts, ","), "-databases", strings.Join(databases, ","), "-peers", strings.Join(peers, ","),
	}
	if err := run(t.Context(), args); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(results)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	if !strings.HasPrefix(page, "# Results\n\nthe library's\n\n## Service\n") {
		t.Errorf("what stood in the report is gone:\n%.200s", page)
	}
	for _, p := range parts {
		if len(databases) == 1 && (p == "rls" || p == "nodes") {
			continue
		}
		if !strings.Contains(page, "\n### "+strings.ToUpper(p[:1])+p[1:]+"\n") {
			t.Errorf("the report has no section of part %s", p)
		}
	}
	if left, _ := filepath.Glob("../../out/lab*"); len(left) > 0 {
		t.Logf("directories beside the programs, of this run or of another one: %v", left)
	}

	// The report again, of one part measured now and of all others measured before.
	if err := run(t.Context(), append(args[:len(args)-6:len(args)-6], "-report")); err != nil {
		t.Fatal(err)
	}
	again, err := os.ReadFile(results)
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != page {
		t.Error("the report from the same raw results is another one")
	}
}

// missing says what cannot be tested for want of a server.
func missing(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("POSTRIDER_TEST_REQUIRE_SERVERS") == "1" {
		t.Fatalf("real server: %s", why)
	}
	t.Logf("real server: %s: measured without", why)
}

func TestWhatCannotBeMeasuredIsRefused(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-parts accept,banquet", `-parts: "banquet" is none of`},
		{"-databases oracle", `-databases: "oracle" is none of`},
		{"-peers sendmail", `-peers: "sendmail" is none of`},
		{"-rounds 0", "must be more than 0"},
		{"-stored 1000", "must begin with 0"},
		{"-nodes 1,two", `"two" is no number`},
		{"accept", `"accept" is no flag`},
	} {
		_, err := parse(strings.Fields(c.args))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.args, err, c.want)
		}
	}
	if _, err := parse(nil); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func TestProcessorTimeIsTheTreesAndTheRestIsForeign(t *testing.T) {
	c := exec.Command("sh", "-c", `i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; read x`)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		_ = c.Wait()
	}()
	u := users{useNode: {c.Process.Pid}, useLoad: {os.Getpid()}}
	w, err := u.start()
	if err != nil {
		t.Fatal(err)
	}
	for range 100_000 {
		s, err := u.used()
		if err != nil {
			t.Fatal(err)
		}
		if s[useNode] >= w.before[useNode]+2*tick {
			break
		}
	}
	s, err := w.end()
	if err != nil {
		t.Fatal(err)
	}
	if s.by[useNode] < 2*tick || s.foreign < 0 || s.foreign > 1.5 {
		t.Errorf("%+v", s)
	}
}

func TestReportComparesMediansWithGoals(t *testing.T) {
	f := file{header: header{Part: "accept", Database: sqlite, Rounds: 3, Foreign: []float64{0.3, 0.2, 0.4}}}
	for i, v := range []float64{5000, 7000, 6100} {
		f.figures = append(f.figures, figure{callersRow(64), acceptedRate, i, v}, figure{callersRow(8), acceptP99, i, 11 + float64(i)})
	}
	page := render([]file{f})
	for _, want := range []string{
		"| accept | sqlite | 64 callers: accepted/s | ≥ 6000 | 6100 (5000–7000) | met |",
		"| accept | sqlite | 8 callers: p99 ms | ≤ 10 | 12 (11–13) | **not met** |",
		"1 of 2 met",
		"**The machine was busy** with other programs during: accept (sqlite)",
		"| sqlite | 64 callers | 6100 (5000–7000) |  |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
}

func TestBestPeerIsThatOfTheSameRound(t *testing.T) {
	b := &bencher{files: map[string]*file{neither: {}}}
	ours := contestant{row: oursSQLite, ours: true}
	chosen := []contestant{ours, {row: bullRow}, {row: postfixRow}}
	for round, v := range [][3]float64{{4000, 1000, 500}, {6000, 500, 2000}} {
		b.round = round
		for i, c := range chosen {
			b.add(neither, c.row, acceptedRate, v[i])
		}
		b.compare(chosen)
		if got, _ := b.value(neither, oursSQLite, timesAccepted); got != []float64{4, 3}[round] {
			t.Errorf("round %d: %v times", round, got)
		}
	}
}
