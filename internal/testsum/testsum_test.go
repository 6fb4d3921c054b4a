package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each case is a module whose tests really run, so that what go test -json prints is
// what this version of Go prints.
func TestSummary(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		source  string
		args    []string
		require bool
		ok      bool
		want    []string // parts of what is printed, in this order
		closing string
	}{
		{
			name: "skips are named and groups do not hide them",
			source: `
func TestPass(t *testing.T) {}
func TestGroup(t *testing.T) {
	t.Run("a", func(t *testing.T) {})
	t.Run("b", func(t *testing.T) { t.Skip("relaytest: real server: no postfix here") })
}
func TestRoot(t *testing.T) { t.Log("looking"); t.Skipf("root may %s", "read all") }
`,
			ok: true,
			want: []string{
				"Skipped:\n", "example.org/m TestRoot: root may read all\n",
				"NOT TESTED against a real server:\n", "example.org/m TestGroup/b: relaytest: real server: no postfix here\n",
			},
			closing: "2 passed, 0 failed, 2 skipped\n",
		},
		{
			name: "a required server that is missing is a failure",
			source: `
func TestPass(t *testing.T) {}
func TestServer(t *testing.T) { t.Skip("real server: no exim here") }
`,
			require: true,
			want:    []string{"Failed:\n", "example.org/m TestServer: skipped\n"},
			closing: "1 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "a failed subtest counts once and tells what it said",
			source: `
func TestGroup(t *testing.T) {
	t.Run("good", func(t *testing.T) { t.Log("not of interest") })
	t.Run("bad", func(t *testing.T) { t.Error("it broke") })
}
`,
			want:    []string{"it broke", "Failed:\n", "example.org/m TestGroup/bad\n"},
			closing: "1 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "a panic fails the test that ran",
			source: `
func TestPanic(t *testing.T) { panic("oh") }
`,
			want:    []string{"panic: oh", "TestPanic"},
			closing: "0 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "the process ends within a test",
			source: `
func TestExit(t *testing.T) { os.Exit(3) }
`,
			want:    []string{"Failed:\n", "TestExit"},
			closing: "0 passed, 1 failed, 0 skipped\n",
		},
		{
			name:    "it does not build",
			source:  `func TestTypo(t *testing.T) { nothing() }`,
			want:    []string{"undefined: nothing", "does not build"},
			closing: "0 passed, 1 failed, 0 skipped\n",
		},
		{
			name:    "a wrong flag",
			source:  `func TestPass(t *testing.T) {}`,
			args:    []string{"-no-such-flag"},
			want:    []string{"Failed:\n"},
			closing: "0 passed, 1 failed, 0 skipped\n",
		},
		{
			name:    "nothing ran",
			source:  `func helper(t *testing.T) {}`,
			want:    []string{"No test was run.\n"},
			closing: "0 passed, 0 failed, 0 skipped\n",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, filepath.Join(dir, "go.mod"), "module example.org/m\n\ngo 1.26\n")
			write(t, filepath.Join(dir, "m_test.go"),
				"package m\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nvar _ = os.Args\n"+c.source)
			var out strings.Builder
			tally := newTally(&out)
			if err := runModule(dir, append(c.args, "-vet=off", "./..."), tally); err != nil {
				t.Fatal(err)
			}
			if ok := tally.close(c.require, "a note"); ok != c.ok {
				t.Errorf("close reports %v, want %v", ok, c.ok)
			}
			rest := out.String()
			for _, part := range append(c.want, "a note\n") {
				_, after, found := strings.Cut(rest, part)
				if !found {
					t.Fatalf("%q is missing, or not in this place, in:\n%s", part, out.String())
				}
				rest = after
			}
			if !strings.HasSuffix(out.String(), "\n"+c.closing) {
				t.Errorf("does not close with %q:\n%s", c.closing, out.String())
			}
		})
	}
}

func TestModuleThatIsNotThere(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := runModule(filepath.Join(t.TempDir(), "missing"), nil, newTally(&out)); err == nil {
		t.Error("no error for a directory that does not exist")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
