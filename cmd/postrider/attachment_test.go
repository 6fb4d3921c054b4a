package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/smtp/smtptest"
)

// TestAttachmentChangesWhileSending takes the file away, or changes it, when the message
// is composed and its envelope is under way. Half a file must not arrive.
func TestAttachmentChangesWhileSending(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"removed": os.Remove,
		"grown":   func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte{2}, 300_000), 0o600) },
		"shrunk":  func(path string) error { return os.Truncate(path, 100_000) },
		"emptied": func(path string) error { return os.Truncate(path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			srv := smtptest.StartT(t, smtptest.Config{Rules: []smtptest.Rule{
				{Command: "RCPT", Action: smtptest.Delay(time.Second, smtptest.Proceed())},
			}})
			path := filepath.Join(t.TempDir(), "file.bin")
			if err := os.WriteFile(path, bytes.Repeat([]byte{1}, 200_000), 0o600); err != nil {
				t.Fatal(err)
			}
			p := start(t, "send", "--relay", "smtp://"+srv.Addr()+"?tls=none", "--from", "a@example.com", "--to", "b@example.com", "--text", "x", "--attach", path, "--no-retry", "--json")
			if err := srv.WaitCommand(t.Context(), "MAIL", 1); err != nil {
				t.Fatal(err)
			}
			if err := change(path); err != nil {
				t.Fatal(err)
			}
			status := p.end(t)
			t.Logf("exit status %d: %s", status, p.out.String())
			if n := len(srv.Transactions()); n > 0 {
				t.Errorf("%d messages arrived", n)
			}
			if status == exitOK || status == exitUnknown || !strings.Contains(p.out.String(), "file.bin") {
				t.Errorf("exit status %d: %s%s", status, p.out.String(), p.errs.String())
			}
		})
	}
}
