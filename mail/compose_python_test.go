package mail_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Python's email package shares no code and no author with anything here.
func TestComposeParsedByPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	dir := t.TempDir()
	cases := composeCases()
	for _, tc := range cases {
		if err := os.WriteFile(filepath.Join(dir, tc.name+".eml"), renderChecked(t, tc.compose(t)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "parse.py"), dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]struct {
		parsed
		To      [][2]string
		Names   []string
		Defects []string
		Spaces  string
		Word    string
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			m, g := tc.message(), got[tc.name]
			if g.Structure != tc.structure {
				t.Errorf("structure is %s, want %s", g.Structure, tc.structure)
			}
			if g.Subject != m.Subject {
				t.Errorf("subject is %q, want %q", g.Subject, m.Subject)
			}
			want := leavesOf(t, m)
			sameLeaves(t, g.Leaves, want)
			var names []string
			for _, l := range g.Leaves {
				if l.Filename != "" {
					names = append(names, l.Filename)
				}
			}
			if !slices.Equal(g.Names, names) {
				t.Errorf("the old policy reads the names as %q, the new one as %q", g.Names, names)
			}
			for i, a := range m.To {
				if a.NeedsSMTPUTF8() {
					continue // Python reads no UTF-8 header from octets
				}
				// Python 3.11 leaves the space between two encoded-words in a
				// name, against RFC 2047 §6.2; these names have none.
				if i < len(g.To) && (strings.ReplaceAll(g.To[i][0], " ", "") != a.Name || g.To[i][1] != a.Mailbox()) {
					t.Errorf("to[%d] is %q, want %v", i, g.To[i], a)
				}
			}
			if len(g.To) != len(m.To) {
				t.Errorf("To has %d addresses, want %d", len(g.To), len(m.To))
			}
			if len(g.Defects) > 0 {
				t.Errorf("defects: %q", g.Defects)
			}
			if tc.name == "header" {
				if g.Spaces != " two  spaces and a tab here " {
					t.Errorf("X-Spaces is %q", g.Spaces)
				}
				if g.Word != "looks like =?utf-8?q?this?= but is not" {
					t.Errorf("X-Word is %q", g.Word)
				}
			}
		})
	}
}
