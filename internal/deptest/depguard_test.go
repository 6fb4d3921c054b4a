package deptest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the depguard block of .golangci.yml from the import table")

// The lines of .golangci.yml between which the block stands.
const (
	beginBlock = "        # begin import table:"
	endBlock   = "        # end import table"
)

// The linter knows the same table as TestImports.
func TestDepguardBlock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(root(t), ".golangci.yml")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	have := string(data)
	begin := strings.Index(have, beginBlock)
	end := strings.Index(have, endBlock)
	if begin < 0 || end < begin {
		t.Fatalf("%s lacks the lines %q and %q", path, beginBlock, endBlock)
	}
	begin += strings.Index(have[begin:], "\n") + 1
	want := have[:begin] + depguard(table()) + have[end:]
	if have == want {
		return
	}
	if !*update {
		t.Fatal("the depguard block of .golangci.yml differs from the import table: go test ./internal/deptest -update")
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// depguard renders the rules. Its lists match by prefix, or whole with a $ at the end,
// and look only at the one entry that sorts nearest: so no entry of a list may hide
// another ("go.uber.org" would hide "go" from "go/ast", hence "go/"), and what concerns
// packages of ours stands in rules of its own.
func depguard(rows []row) string {
	var b strings.Builder
	for _, r := range rows {
		ruleOurs(&b, rows, r)
	}
	for _, r := range rows {
		if r.public {
			ruleLibraries(&b, r)
		}
	}
	ruleTests(&b)
	return b.String()
}

// ruleOurs says which packages of ours one package may import.
func ruleOurs(b *strings.Builder, rows []row, r row) {
	if slices.Contains(r.imports, anything) && len(r.imports) > 1 {
		return // nothing is forbidden
	}
	fmt.Fprintf(b, "        %s:\n          list-mode: lax\n", ruleName(r))
	files(b, r)
	fmt.Fprint(b, "          deny:\n")
	if slices.Contains(r.imports, anything) {
		for _, to := range rows {
			if to.testOnly {
				deny(b, module+"/"+to.path, ruleReason(r))
			}
		}
		return
	}
	deny(b, module, ruleReason(r))
	var allow []string
	if r.tree {
		allow = append(allow, importPath(r.path)+"/")
	} else if r.path != "." {
		allow = append(allow, importPath(r.path)+"$")
	}
	for owner := r.path; owner != "." && !strings.HasPrefix(owner, "internal"); owner = filepath.ToSlash(filepath.Dir(owner)) {
		allow = append(allow, importPath(owner)+"/internal/")
	}
	for _, path := range r.imports {
		allow = append(allow, importPath(path)+"$")
	}
	if len(allow) > 0 {
		fmt.Fprint(b, "          allow:\n")
		for _, path := range slices.Compact(slices.Sorted(slices.Values(allow))) {
			fmt.Fprintf(b, "            - %s\n", path)
		}
	}
}

// ruleLibraries says which libraries one public package may import.
func ruleLibraries(b *strings.Builder, r row) {
	fmt.Fprintf(b, "        %s-libraries:\n          list-mode: strict\n", ruleName(r))
	files(b, r)
	allowLibraries(b, r.libraries)
	reason := ruleSubject(r) + " may import " + list(r.libraries) + " beside the standard library and golang.org/x: a public package brings its users only the library that it is about"
	fmt.Fprint(b, "          deny:\n")
	for _, host := range []string{"github.com/", "go.uber.org/", "gopkg.in/", "pgregory.net/"} {
		deny(b, host, reason)
	}
}

// ruleTests says which libraries tests may import.
func ruleTests(b *strings.Builder) {
	fmt.Fprint(b, "        tests-libraries:\n          list-mode: strict\n          files:\n            - $test\n            - \"!${config-path}/bench/**\"\n")
	allowLibraries(b, testLibraries())
	fmt.Fprint(b, "          deny:\n")
	deny(b, "github.com/", "tests use the standard library, rapid, goleak, testscript, and independent implementations as peers: see testLibraries in internal/deptest")
}

func files(b *strings.Builder, r row) {
	base := "${config-path}/" + r.path
	switch {
	case r.path == ".":
		fmt.Fprint(b, "          files:\n            - ${config-path}/*.go\n")
	case r.tree:
		fmt.Fprintf(b, "          files:\n            - %s/**.go\n", base)
	default:
		fmt.Fprintf(b, "          files:\n            - %s/*.go\n            - %s/internal/**.go\n", base, base)
	}
	fmt.Fprint(b, "            - \"!$test\"\n")
}

func allowLibraries(b *strings.Builder, libraries []string) {
	fmt.Fprintf(b, "          allow:\n            - $gostd\n            - go/\n            - golang.org/x/\n            - %s\n", module)
	for _, path := range libraries {
		fmt.Fprintf(b, "            - %s\n", path)
	}
}

func deny(b *strings.Builder, path, reason string) {
	fmt.Fprintf(b, "            - pkg: %s\n              desc: %q\n", path, reason)
}

func ruleName(r row) string {
	if r.path == "." {
		return "root"
	}
	return strings.ReplaceAll(r.path, "/", "-")
}

func ruleReason(r row) string {
	if slices.Contains(r.imports, anything) {
		return r.reason
	}
	return ruleSubject(r) + " may import " + list(r.imports) + " of ours: " + r.reason
}

func ruleSubject(r row) string {
	if r.path == "." {
		return "the root package"
	}
	return r.path
}

func importPath(dir string) string {
	if dir == "." {
		return module
	}
	return module + "/" + dir
}
