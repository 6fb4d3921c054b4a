package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/seal"
	"github.com/postrider/postrider/internal/store"
)

// TestRotate takes all steps of a rotation while a relay's password is stored: it can be opened after each.
func TestRotate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(want int, args ...string) string {
		t.Helper()
		status, stdout, stderr := inProcess(t.Context(), t, "", append(args, "--data", dir)...)
		if status != want {
			t.Fatalf("%q: exit status %d: %s%s", args, status, stdout, stderr)
		}
		return stdout + stderr
	}
	run(exitOK, "setup", "--tenant", "acme", "--email", "ann@example.com")
	s, err := config.Load(config.Sources{Flags: map[string]string{"data": dir}})
	if err != nil {
		t.Fatal(err)
	}
	keys := func() *keyring {
		k, faults := readKeys(s, false)
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		return k
	}
	st, err := store.Open(t.Context(), store.Config{Path: filepath.Join(dir, databaseFile)})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	id, err := st.TenantByName(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := keys().sealer.Seal(id, seal.PurposeRelayPassword, []byte("open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	relay, err := st.Tenant(id).CreateRelay(t.Context(), store.NewRelay{
		Name: "main", Host: "mail.example.com", Port: 587, TLS: "tls", Username: "u", SealedPassword: sealed,
	}, store.Actor{Kind: store.ActorCommand})
	if err != nil {
		t.Fatal(err)
	}
	opens := func() {
		t.Helper()
		row, err := st.DeliveryRelay(t.Context(), relay.ID)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := keys().unseal(row.SealTenant, row.SealedPassword); err != nil || text != "open sesame" {
			t.Errorf("%q, %v", text, err)
		}
	}
	for _, step := range []struct {
		name   string
		status int
		says   string
	}{
		{"add", exitOK, "is changed"},
		{"add", exitUnavailable, "promote it before you add another"},
		{"promote", exitOK, "is changed"},
		{"drop", exitUnavailable, "1 stored secrets are sealed with an old key"},
		{"reseal", exitOK, "1 of 1 stored secrets are sealed anew"},
		{"reseal", exitOK, "0 of 1"},
		{"drop", exitOK, "is changed"},
	} {
		if said := run(step.status, "keys", "rotate", step.name); !strings.Contains(said, step.says) {
			t.Errorf("%s: %s", step.name, said)
		}
		opens()
	}
	if said := run(exitOK, "keys", "show"); strings.Count(said, "secrets ") != 1 {
		t.Errorf("%s", said)
	}
}
