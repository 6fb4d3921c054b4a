//go:build unix

package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/smtp/smtptest"
)

// slowRelay takes a moment for each message.
func slowRelay(t *testing.T) *smtptest.Server {
	t.Helper()
	return smtptest.StartT(t, smtptest.Config{Rules: []smtptest.Rule{{
		Command: smtptest.CommandContent, Action: smtptest.Delay(20*time.Millisecond, smtptest.Proceed()),
	}}})
}

// TestTerminalGoesAway closes the terminal in the middle of a run: the kernel and the shell
// may both say so. Those under way are finished and noted, and none becomes unknown.
func TestTerminalGoesAway(t *testing.T) {
	srv := slowRelay(t)
	results, args := mergeOf(t, srv, 500, "--concurrency", "4")
	p := start(t, args...)
	if _, err := srv.WaitTransactions(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := p.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	if status := p.end(t); status != exitTemporary || !strings.Contains(p.errs.String(), "postrider: interrupted; go on with --resume\n") {
		t.Errorf("exit status %d: %s", status, p.errs.String())
	}
	if got, told := accepted(srv), statuses(t, results); len(got) >= 500 || len(told) != len(got) {
		t.Errorf("%d arrived, %d answers", len(got), len(told))
	}
}

// TestNohup keeps sending when the terminal goes away, since that was asked for.
func TestNohup(t *testing.T) {
	srv := slowRelay(t)
	_, args := mergeOf(t, srv, 40, "--concurrency", "4")
	p := &process{Cmd: exec.CommandContext(t.Context(), "sh", append([]string{"-c", `trap "" HUP; exec postrider "$@"`, "sh"}, args...)...)}
	p.Stdout, p.Stderr = &p.out, &p.errs
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.WaitTransactions(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if status := p.end(t); status != exitOK || len(srv.Transactions()) != 40 {
		t.Errorf("exit status %d, %d arrived: %s", status, len(srv.Transactions()), p.errs.String())
	}
}

// TestInboxLeavesNothing ends an inbox with its terminal: the mail that it kept goes.
func TestInboxLeavesNothing(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	ca := filepath.Join(temporary, "ca.pem")
	p := start(t, "inbox", "--listen", "127.0.0.1:0", "--http", "", "--ca-out", ca)
	awaitFile(t, ca, true)
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if status := p.end(t); status != exitOK {
		t.Errorf("exit status %d: %s", status, p.errs.String())
	}
	if left, _ := filepath.Glob(filepath.Join(temporary, "postrider-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
