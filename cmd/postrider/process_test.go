package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/smtp/smtptest"
)

// process is the program as a process of its own.
type process struct {
	*exec.Cmd
	out, errs bytes.Buffer
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), "postrider", args...)}
	p.Stdout, p.Stderr = &p.out, &p.errs
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// end waits and gives the exit status; -1: a signal ended it.
func (p *process) end(t *testing.T) int {
	t.Helper()
	_ = p.Wait() // the status tells
	if strings.Contains(p.errs.String(), "goroutine ") {
		t.Fatalf("it crashed: %s", p.errs.String())
	}
	return p.ProcessState.ExitCode()
}

// mergeOf makes a file of n rows and the flags to send them to a server.
func mergeOf(t *testing.T, srv *smtptest.Server, n int, more ...string) (results string, args []string) {
	t.Helper()
	folder := t.TempDir()
	var b strings.Builder
	b.WriteString("email\n")
	for i := range n {
		fmt.Fprintf(&b, "r%d@example.net\n", i+1)
	}
	rows := filepath.Join(folder, "rows.csv")
	if err := os.WriteFile(rows, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	results = filepath.Join(folder, "results.csv")
	return results, append([]string{
		"send", "--relay", "smtp://" + srv.Addr() + "?tls=none", "--merge", rows, "--results", results,
		"--from", "shop@example.com", "--to", "{{email}}", "--text", "x",
	}, more...)
}

// accepted counts the messages by recipient, as the server saw them.
func accepted(srv *smtptest.Server) map[string]int {
	count := make(map[string]int)
	for _, tx := range srv.Transactions() {
		for _, r := range tx.Recipients() {
			count[r]++
		}
	}
	return count
}

// statuses gives for each row all its answers.
func statuses(t *testing.T, path string) map[string][]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]string)
	for _, l := range lines[1:] {
		address := "r" + l[0] + "@example.net"
		all[address] = append(all[address], l[3])
	}
	return all
}

// TestKilledAtRandomMoments kills the program again and again while it sends. No row may
// arrive twice; in the end each has arrived or is told to be unknown.
func TestKilledAtRandomMoments(t *testing.T) {
	n, lives := 400, 12
	if testing.Short() {
		n, lives = 60, 3
	}
	srv := smtptest.StartT(t, smtptest.Config{Rules: []smtptest.Rule{{
		Command: smtptest.CommandContent, Action: smtptest.Delay(2*time.Millisecond, smtptest.Proceed()),
	}}})
	results, args := mergeOf(t, srv, n, "--resume", "--concurrency", "4")
	killed := 0
	for life := range lives {
		p := start(t, args...)
		// It dies when the server has taken so many more, at any moment after that.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		done := len(srv.Transactions()) + rand.IntN(n/lives)
		if done < n {
			_, _ = srv.WaitTransactions(ctx, done)
		}
		cancel()
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if p.end(t) == -1 {
			killed++
		}
		t.Logf("life %d ended with %d messages", life, len(srv.Transactions()))
	}
	if killed == 0 {
		t.Fatal("it was never killed in time")
	}
	last := start(t, args...)
	if status := last.end(t); status != exitOK {
		t.Fatalf("the last run ended with %d: %s", status, last.errs.String())
	}
	got, told := accepted(srv), statuses(t, results)
	unknown := 0
	for i := range n {
		address := fmt.Sprintf("r%d@example.net", i+1)
		answers := told[address]
		isUnknown := slices.Contains(answers, "unknown")
		if isUnknown {
			unknown++
		}
		switch {
		case got[address] > 1:
			t.Errorf("%s arrived %d times", address, got[address])
		case got[address] == 0 && !isUnknown:
			t.Errorf("%s was lost; its answers are %v", address, answers)
		case !isUnknown && !slices.Contains(answers, "success"):
			t.Errorf("%s arrived, and its answers are %v", address, answers)
		}
	}
	t.Logf("killed %d times, %d rows unknown, %d arrived", killed, unknown, len(got))
	if left, _ := filepath.Glob(results + ".sending*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestInterruptedMerge presses Ctrl-C: those under way are finished and noted, no further one is begun.
func TestInterruptedMerge(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{Rules: []smtptest.Rule{{
		Command: smtptest.CommandContent, Action: smtptest.Delay(20*time.Millisecond, smtptest.Proceed()),
	}}})
	results, args := mergeOf(t, srv, 500, "--concurrency", "4")
	p := start(t, args...)
	if _, err := srv.WaitTransactions(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if status := p.end(t); status != exitTemporary || !strings.Contains(p.errs.String(), "postrider: interrupted; go on with --resume\n") {
		t.Errorf("exit status %d: %s", status, p.errs.String())
	}
	got, told := accepted(srv), statuses(t, results)
	if len(got) >= 500 || len(told) != len(got) {
		t.Errorf("%d arrived, %d answers", len(got), len(told))
	}
	p = start(t, append(args, "--resume")...)
	if status := p.end(t); status != exitOK || len(srv.Transactions()) != 500 {
		t.Errorf("exit status %d, %d arrived: %s", status, len(srv.Transactions()), p.errs.String())
	}
}

// TestInterruptedTwice does not wait for a relay that says nothing.
func TestInterruptedTwice(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{Rules: []smtptest.Rule{{Command: smtptest.CommandContent, Action: smtptest.Silence()}}})
	_, args := mergeOf(t, srv, 5)
	p := start(t, args...)
	if err := srv.WaitCommand(t.Context(), smtptest.CommandContent, 5); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = p.Wait()
	}()
	// The second signal may be merged with the first while that is not yet taken: press until it ends.
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		_ = p.Process.Signal(os.Interrupt)
		select {
		case <-ended:
			if code := p.ProcessState.ExitCode(); code != -1 {
				t.Errorf("exit status %d: %s", code, p.errs.String())
			}
			return
		case <-tick.C:
		}
	}
}

// TestInterruptedSend interrupts one message in its phases.
func TestInterruptedSend(t *testing.T) {
	for command, want := range map[string]int{"MAIL": exitTemporary, smtptest.CommandContent: exitUnknown} {
		srv := smtptest.StartT(t, smtptest.Config{
			Without: []string{"CHUNKING", "PIPELINING"},
			Rules:   []smtptest.Rule{{Command: command, Action: smtptest.Silence()}},
		})
		p := start(t, "send", "--relay", "smtp://"+srv.Addr()+"?tls=none", "--from", "a@example.com", "--to", "b@example.com", "--text", "x")
		if err := srv.WaitCommand(t.Context(), command, 1); err != nil {
			t.Fatal(err)
		}
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if status := p.end(t); status != want {
			t.Errorf("%s: exit status %d: %s%s", command, status, p.out.String(), p.errs.String())
		}
	}
}

// TestInterruptedInput presses Ctrl-C while the text is being typed.
func TestInterruptedInput(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	temporary := t.TempDir()
	p := &process{Cmd: exec.CommandContext(t.Context(), "postrider", "send", "--relay", "smtp://"+srv.Addr()+"?tls=none", "--from", "a@example.com", "--to", "b@example.com", "--text-file", "-")}
	p.Stdout, p.Stderr, p.Env = &p.out, &p.errs, append(os.Environ(), "TMPDIR="+temporary)
	in, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("Dear Bob,\n")); err != nil {
		t.Fatal(err)
	}
	awaitFile(t, filepath.Join(temporary, "postrider-*"), true)
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if status := p.end(t); status != exitTemporary || p.errs.String() != "postrider: interrupted; nothing was sent\n" {
		t.Errorf("exit status %d: %s", status, p.errs.String())
	}
	awaitFile(t, filepath.Join(temporary, "postrider-*"), false)
	if n := len(srv.Attempts()); n > 0 {
		t.Errorf("%d transactions", n)
	}
}

func awaitFile(t *testing.T, pattern string, there bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		found, _ := filepath.Glob(pattern)
		if len(found) > 0 == there {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-tick.C:
		}
	}
}

// TestReaderGoesAway closes standard output: what became of the message is still the exit status.
func TestReaderGoesAway(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	_, args := mergeOf(t, srv, 200, "--json")
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"send", "--relay", "smtp://" + srv.Addr() + "?tls=none", "--from", "a@example.com", "--to", "b@example.com", "--text", "x"}, exitOK, "postrider: success, but that could not be printed: "},
		{args, exitSoftware, "postrider: answers cannot be printed: "},
		{[]string{"check", "--relay", "smtp://" + srv.Addr() + "?tls=none"}, exitSoftware, "broken pipe"},
		{[]string{"version"}, exitSoftware, "broken pipe"},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		p := &process{Cmd: exec.CommandContext(t.Context(), "postrider", c.args...)}
		p.Stdout, p.Stderr = w, &p.errs
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		if status := p.end(t); status != c.status || !strings.Contains(p.errs.String(), c.says) {
			t.Errorf("%q: exit status %d: %s", c.args, status, p.errs.String())
		}
	}
	if n := len(srv.Transactions()); n < 2 || n > 100 {
		t.Errorf("%d messages were sent, though nobody heard of them", n)
	}
	p := start(t, append(args, "--resume")...)
	if status := p.end(t); status != exitOK {
		t.Errorf("exit status %d: %s", status, p.errs.String())
	}
	for address, n := range accepted(srv) {
		if n != 1 {
			t.Errorf("%s arrived %d times", address, n)
		}
	}
}

// TestDiskFull sends rows until the results have no more room.
func TestDiskFull(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("needs root on Linux to make a small disk")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=32k"); err != nil {
		t.Skipf("no small disk can be made here: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	}()
	srv := smtptest.StartT(t, smtptest.Config{})
	_, args := mergeOf(t, srv, 2000, "--results", filepath.Join(disk, "results.csv"))
	p := start(t, args...)
	if status := p.end(t); status != exitSoftware {
		t.Errorf("exit status %d", status)
	}
	lines := strings.Split(strings.TrimSuffix(p.errs.String(), "\n"), "\n")
	if last := lines[len(lines)-1]; len(lines) != 2 || !strings.HasPrefix(last, "postrider: the results cannot be kept: ") ||
		!strings.Contains(last, "no space left on device") || !strings.HasSuffix(last, "; go on with --resume") {
		t.Errorf("it said %q", lines)
	}
	if n := len(srv.Transactions()); n == 0 || n >= 2000 {
		t.Errorf("%d messages were sent", n)
	}
}
