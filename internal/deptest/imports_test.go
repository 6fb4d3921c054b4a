package deptest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pkg is what go list tells of a package. Imports leaves out what only tests import.
type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

// dir is the directory of a package of ours below the module root, "." for the root.
func (p pkg) dir() (string, bool) {
	if p.ImportPath == module {
		return ".", true
	}
	return strings.CutPrefix(p.ImportPath, module+"/")
}

// graph is every package that the module's packages reach, by import path.
func graph(t *testing.T) map[string]pkg {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "-json=ImportPath,Standard,Imports", "./...")
	cmd.Dir = root(t)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	packages := map[string]pkg{}
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
}

// root is the directory of the module.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestImports(t *testing.T) {
	t.Parallel()
	packages := graph(t)
	for _, fault := range check(table(), packages) {
		t.Error(fault)
	}
	if len(packages) == 0 {
		t.Error("go list found no package")
	}
}

// check returns each breach of the table, one line each, sorted.
func check(rows []row, packages map[string]pkg) []string {
	var faults []string
	for _, p := range packages {
		dir, ours := p.dir()
		if !ours {
			continue
		}
		r, known := find(rows, dir)
		if !known {
			faults = append(faults, fmt.Sprintf("%s has no row in the import table: add it to internal/deptest/table_test.go", dir))
			continue
		}
		for _, path := range p.Imports {
			to, inModule := pkg{ImportPath: path}.dir()
			switch {
			case packages[path].Standard || path == "C" || path == "unsafe":
			case inModule && !r.mayImport(rows, to):
				faults = append(faults, fmt.Sprintf("%s imports %s, may import %s of ours: %s", dir, to, list(r.imports), r.reason))
			case !inModule && !r.mayImportLibrary(path):
				faults = append(faults, fmt.Sprintf("%s imports %s, may import %s beside the standard library and golang.org/x: "+
					"a public package brings its users only the library that it is about", dir, path, list(r.libraries)))
			}
		}
		if r.public {
			faults = append(faults, checkReach(rows, packages, p)...)
		}
	}
	slices.Sort(faults)
	return slices.Compact(faults)
}

// checkReach follows a public package's imports to their ends. Each library on the way
// must be one that a package of ours on the way is about, or one that this brings.
func checkReach(rows []row, packages map[string]pkg, from pkg) []string {
	type step struct {
		path string
		way  []string
	}
	var (
		allowed   []string
		libraries []step
		seen      = map[string]bool{from.ImportPath: true}
		queue     = []step{{path: from.ImportPath}}
	)
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		p := packages[at.path]
		if p.Standard || isExtended(at.path) {
			continue
		}
		if dir, ours := (pkg{ImportPath: at.path}).dir(); ours {
			r, _ := find(rows, dir)
			allowed = append(append(allowed, r.libraries...), r.brings...)
		} else {
			libraries = append(libraries, at)
		}
		way := append(slices.Clone(at.way), at.path)
		for _, next := range p.Imports {
			if !seen[next] {
				seen[next] = true
				queue = append(queue, step{next, way})
			}
		}
	}
	var faults []string
	dir, _ := from.dir()
	for _, lib := range libraries {
		// What a package of ours imports itself is told by check, once and where it stands.
		if _, ours := (pkg{ImportPath: lib.way[len(lib.way)-1]}).dir(); !ours && !underAny(lib.path, allowed) {
			faults = append(faults, fmt.Sprintf("%s reaches %s by way of %s: no package on the way may bring it to its users",
				dir, lib.path, strings.Join(lib.way[1:], ", ")))
		}
	}
	return faults
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

func TestCheck(t *testing.T) {
	t.Parallel()
	rows := []row{
		{path: ".", public: true, imports: []string{"mail"}, reason: "front door"},
		{path: "mail", public: true, reason: "ground", libraries: []string{"example.org/simd/"}, brings: []string{"example.org/cpu"}},
		{path: "cmd/p", tree: true, imports: []string{anything}},
		{path: "internal/fake", testOnly: true},
	}
	std := []pkg{{ImportPath: "io", Standard: true}}
	cases := []struct {
		name     string
		packages []pkg
		want     []string // what each fault says, in order
	}{
		{name: "all is well", packages: []pkg{
			{ImportPath: module, Imports: []string{"io", module + "/mail", "golang.org/x/net/idna"}},
			{ImportPath: module + "/mail", Imports: []string{"example.org/simd/base64", module + "/mail/internal/fold"}},
			{ImportPath: module + "/mail/internal/fold"},
			{ImportPath: module + "/cmd/p/sub", Imports: []string{module, "example.org/anything"}},
			{ImportPath: "example.org/simd/base64", Imports: []string{"example.org/cpu", "golang.org/x/sys/cpu"}},
			{ImportPath: "golang.org/x/sys/cpu", Imports: []string{"io"}},
		}},
		{name: "upward", packages: []pkg{
			{ImportPath: module + "/mail", Imports: []string{module}},
		}, want: []string{"mail imports ., may import nothing of ours: ground"}},
		{name: "a stranger's private room", packages: []pkg{
			{ImportPath: module, Imports: []string{module + "/mail/internal/fold"}},
		}, want: []string{". imports mail/internal/fold, may import mail of ours: front door"}},
		{name: "a library", packages: []pkg{
			{ImportPath: module, Imports: []string{"example.org/simd/base64"}},
			{ImportPath: "example.org/simd/base64"},
		}, want: []string{". imports example.org/simd/base64, may import nothing beside the standard library"}},
		{name: "a library that only begins alike", packages: []pkg{
			{ImportPath: module + "/mail", Imports: []string{"example.org/simdx"}},
		}, want: []string{"mail imports example.org/simdx"}},
		{name: "a library's new import", packages: []pkg{
			{ImportPath: module, Imports: []string{module + "/mail"}},
			{ImportPath: module + "/mail", Imports: []string{"example.org/simd"}},
			{ImportPath: "example.org/simd", Imports: []string{"example.org/log"}},
			{ImportPath: "example.org/log"},
		}, want: []string{
			". reaches example.org/log by way of " + module + "/mail, example.org/simd",
			"mail reaches example.org/log by way of example.org/simd",
		}},
		{
			name: "a room without a row", packages: []pkg{{ImportPath: module + "/utils"}},
			want: []string{"utils has no row"},
		},
		{name: "a program uses what is for tests", packages: []pkg{
			{ImportPath: module + "/cmd/p", Imports: []string{module + "/internal/fake"}},
		}, want: []string{"cmd/p imports internal/fake"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			packages := map[string]pkg{}
			for _, p := range append(c.packages, std...) {
				packages[p.ImportPath] = p
			}
			got := check(rows, packages)
			if len(got) != len(c.want) {
				t.Fatalf("faults %q, want %q", got, c.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], c.want[i]) {
					t.Errorf("fault %q, want %q", got[i], c.want[i])
				}
			}
		})
	}
}
