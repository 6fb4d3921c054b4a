package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/pgtest"
)

// TestManualOfPostgreSQL makes the logins as docs/service.md says and sets up a service with them: they have the rights
// that are needed.
func TestManualOfPostgreSQL(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../../docs/service.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(manual), "```sql\n")
	statements, _, ok2 := strings.Cut(rest, "```")
	if !ok || !ok2 {
		t.Fatal("docs/service.md has no SQL")
	}
	server := pgtest.Start(t, pgtest.Config{NoSync: true})
	for statement := range strings.SplitSeq(strings.TrimSpace(statements), ";\n") {
		server.Exec(t, "postgres", strings.TrimSuffix(statement, ";"))
	}
	settings := map[string]string{
		"DATA":                   t.TempDir(),
		"DATABASE_URL":           server.URL("postrider", "postrider_web", "web-secret"),
		"DELIVERY_DATABASE_URL":  server.URL("postrider", "postrider_sender", "sender-secret"),
		"MIGRATION_DATABASE_URL": server.URL("postrider", "postrider_owner", "owner-secret"),
	}
	setup := exec.CommandContext(t.Context(), "postrider", "setup", "--tenant", "acme", "--email", "a@example.com")
	setup.Env = os.Environ()
	for k, v := range settings {
		setup.Env = append(setup.Env, "POSTRIDER_"+k+"="+v)
	}
	if out, err := setup.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	delete(settings, "MIGRATION_DATABASE_URL") // a node that serves does not need it
	s := serve(t, settings)
	s.await(`"msg":"delivering"`)
	if status := s.stop(); status != exitOK || strings.Contains(s.text(), `"level":"ERROR"`) {
		t.Errorf("exit status %d:\n%s", status, s.text())
	}
}

// TestTokenKeys rotates the keys for tokens as docs/service.md says: tokens of the key before are taken until it goes.
func TestTokenKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keyFile := filepath.Join(dir, "new.pem")
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(want int, stdin string, args ...string) string {
		t.Helper()
		status, stdout, stderr := inProcess(t.Context(), t, stdin, append(args, "--data", dir)...)
		if status != want {
			t.Fatalf("%q: exit status %d: %s%s", args, status, stdout, stderr)
		}
		return stdout + stderr
	}
	run(exitOK, "", "setup", "--tenant", "acme", "--email", "ann@example.com")
	old := run(exitOK, "", "token", "create", "--tenant", "acme", "ann@example.com")
	fresh := run(exitOK, "", "token", "create", "--tenant", "acme", "ann@example.com", "--jwt-keys", "k1="+keyFile)
	run(exitOK, old, "token", "verify", "--jwt-keys", "k1="+keyFile)
	run(exitOK, fresh, "token", "verify", "--jwt-keys", "k1="+keyFile)
	run(exitNoAuth, fresh, "token", "verify")
	if said := run(exitConfig, fresh, "token", "verify", "--jwt-keys", "k1=missing"); !strings.Contains(said, "--jwt-keys: k1: open missing: no such file") {
		t.Errorf("%s", said)
	}
	if said := run(exitOK, "", "keys", "show", "--jwt-keys", "k1="+keyFile); !strings.Contains(said, "k1, EdDSA, signs and verifies") {
		t.Errorf("%s", said)
	}
}
