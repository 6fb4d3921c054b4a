package config_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/config"
)

var update = flag.Bool("update", false, "write the table of settings into docs/service.md")

// TestReference keeps the table in docs/service.md equal to the one in the code.
func TestReference(t *testing.T) {
	t.Parallel()
	const path, begin, end = "../../docs/service.md", "<!-- begin settings -->\n", "<!-- end settings -->"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q and %q", path, begin, end)
	}
	want := before + begin + "\n" + config.Reference() + end + after
	if string(b) == want {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the code says; run go test ./internal/config -update", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFlags: no flag takes a secret itself, and each has a help.
func TestFlags(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range config.Flags() {
		if seen[f.Name] || f.Help == "" || f.Group == "" || (f.Placeholder == "") != f.Switch {
			t.Errorf("%+v", f)
		}
		seen[f.Name] = true
	}
	for _, name := range []string{"jwt-secret", "operator-key", "seal-keyset", "audit-key"} {
		if seen[name] || !seen[name+"-file"] {
			t.Errorf("%s: a command line can be read by other users", name)
		}
	}
	if some := config.Flags("data", "redis_url"); len(some) != 3 {
		t.Errorf("%+v", some)
	}
	for _, f := range config.Flags() {
		found := false
		for _, g := range config.Groups() {
			found = found || g == f.Group
		}
		if !found {
			t.Errorf("%s is in no group", f.Name)
		}
	}
}
