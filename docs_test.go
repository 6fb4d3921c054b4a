package postrider_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// packages are those that code in the documents may use, by name.
func packages() map[string]string {
	const ours = "github.com/postrider/postrider"
	return map[string]string{
		"postrider": ours, "mail": ours + "/mail", "dkim": ours + "/mail/dkim", "smtp": ours + "/smtp",
		"sasl": ours + "/smtp/sasl", "smtptest": ours + "/smtp/smtptest", "smtppool": ours + "/smtppool", "retry": ours + "/retry",
		"context": "context", "errors": "errors", "fmt": "fmt", "io": "io", "log": "log", "os": "os", "strings": "strings",
		"api": ours + "/api", "auth": ours + "/auth", "ratelimit": ours + "/ratelimit", "redislimit": ours + "/ratelimit/redislimit",
		"http": "net/http", "netip": "net/netip", "uuid": "github.com/google/uuid", "testing": "testing", "time": "time", "tls": "crypto/tls", "x509": "crypto/x509",
	}
}

// given are the variables that a piece of code in a document may use without
// declaring them; under "" those of documents that are not named.
func given(document string) string {
	return map[string]string{
		"": "ctx context.Context, t testing.TB, client *postrider.Client, m *mail.Message, relayURL string, pemBytes []byte, " +
			"newToken func(context.Context, bool) (string, error)",
		"docs/auth.md": "ctx context.Context, secret []byte, mux *http.ServeMux, addr string, key auth.Key, tenant, user uuid.UUID, jti, text string, " +
			"expiry time.Time, table auth.RevocationSource, rows auth.KeyStore, lastUsed func(context.Context, auth.APIKeyRecord, netip.Addr, time.Time), " +
			"saveNewHash func(context.Context, string) error, store func(id, tenant uuid.UUID, hash auth.KeyHash), answer func(string), " +
			"w http.ResponseWriter, r *http.Request, row struct{ Tenant, User uuid.UUID }, notFound http.HandlerFunc",
		"docs/api.md":       "ctx context.Context, key string",
		"docs/ratelimit.md": "whoAsks ratelimit.KeyFunc, addr string, mux *http.ServeMux, setMetric func(bool, error)",
	}[document]
}

// document is a Markdown file of the repository.
type document struct{ name, text string }

func documents(t *testing.T) []document {
	t.Helper()
	names, err := filepath.Glob("docs/*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	var docs []document
	for _, name := range append(names, "README.md", "CONTRIBUTING.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, document{name, string(text)})
	}
	return docs
}

// block is a piece of Go in a document.
type block struct {
	document string
	line     int // of its first line
	code     string
}

func (d document) blocks() []block {
	var blocks []block
	lines := strings.SplitAfter(d.text, "\n")
	for i := 0; i < len(lines); i++ {
		if strings.TrimRight(lines[i], "\n") != "```go" {
			continue
		}
		b := block{document: d.name, line: i + 2}
		for i++; i < len(lines) && !strings.HasPrefix(lines[i], "```"); i++ {
			b.code += lines[i]
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// TestDocumentsCompile compiles every piece of Go in the documents. A piece is
// the body of a function that has the variables of given.
func TestDocumentsCompile(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// The package exists in the compiler's eyes only: a directory in the
	// source tree would meet whatever else looks at the tree meanwhile.
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	n := 0
	for _, d := range documents(t) {
		for _, b := range d.blocks() {
			if _, err := format.Source([]byte(b.code)); err != nil {
				t.Errorf("%s:%d: %v", b.document, b.line, err)
				continue
			}
			if formatted, _ := format.Source([]byte(b.code)); string(formatted) != b.code {
				t.Errorf("%s:%d: not formatted as gofmt does; it should be\n%s", b.document, b.line, formatted)
			}
			n++
			path := filepath.Join(dir, fmt.Sprintf("block%d.go", n))
			if err := os.WriteFile(path, []byte(program(t, b, n)), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay.Replace[filepath.Join(here, "docs", "code", filepath.Base(path))] = path
		}
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	listPath := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(listPath, list, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-overlay", listPath, "./docs/code")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// program makes a file of a piece of code.
func program(t *testing.T, b block, n int) string {
	t.Helper()
	head := "package code\n"
	// A block of its own lets the code declare anew what is given.
	variables := given(b.document)
	if variables == "" {
		variables = given("")
	}
	body := fmt.Sprintf("func block%d(%s) {{\n//line %s:%d\n%s", n, variables, b.document, b.line, b.code)
	file, err := parser.ParseFile(token.NewFileSet(), "", head+body+"}}\n", parser.SkipObjectResolution)
	if err != nil {
		t.Errorf("%s:%d: %v", b.document, b.line, err)
		return head
	}
	used := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool { // the variables' types too
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && packages()[x.Name] != "" {
				used[x.Name] = true
			}
		}
		return true
	})
	for name := range used {
		head += fmt.Sprintf("import %s %q\n", name, packages()[name])
	}
	// A document need not use all that it declares.
	for _, name := range declared(file.Decls[0].(*ast.FuncDecl).Body.List[0].(*ast.BlockStmt)) {
		body += "_ = " + name + "\n"
	}
	return head + body + "}}\n"
}

// declared are the variables that the statements of a block declare, those of
// inner blocks not.
func declared(body *ast.BlockStmt) []string {
	var names []string
	for _, s := range body.List {
		a, ok := s.(*ast.AssignStmt)
		if !ok || a.Tok != token.DEFINE {
			continue
		}
		for _, left := range a.Lhs {
			if x, ok := left.(*ast.Ident); ok && x.Name != "_" {
				names = append(names, x.Name)
			}
		}
	}
	return names
}

// TestReadmeExample holds the README to Example, which compiles.
func TestReadmeExample(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var want string
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "Example" {
			body := source[files.Position(f.Body.Lbrace).Offset+1 : files.Position(f.Body.Rbrace).Offset]
			want = strings.TrimPrefix(strings.ReplaceAll(string(body), "\n\t", "\n"), "\n")
		}
	}
	for _, d := range documents(t) {
		if d.name != "README.md" {
			continue
		}
		blocks := d.blocks()
		if want == "" || len(blocks) == 0 {
			t.Fatal("no Example, or no code in the README")
		}
		if got := blocks[0].code; got != want {
			t.Errorf("README.md:%d: the code differs from Example of example_test.go, which is\n%s", blocks[0].line, want)
		}
	}
}

// TestDocumentsNameWhatExists looks for the files, tests and exported names
// that the documents speak of.
func TestDocumentsNameWhatExists(t *testing.T) {
	t.Parallel()
	tests, names := known(t)
	var (
		code  = regexp.MustCompile("`([^`\n]+)`")
		link  = regexp.MustCompile(`\]\(([^)#:]+)\)`)
		test  = regexp.MustCompile(`^(Test|Fuzz|Example)[A-Z]\w*$`)
		path  = regexp.MustCompile(`^[\w*./-]+\.go$`)
		ident = regexp.MustCompile(`\b([a-z0-9]+)\.([A-Z]\w*)(?:\.([A-Z]\w*))?`)
	)
	for _, d := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(d.text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(d.name), m[1])); err != nil {
				t.Errorf("%s: link to a missing file: %v", d.name, err)
			}
		}
		for _, m := range code.FindAllStringSubmatch(d.text, -1) {
			word := m[1]
			if test.MatchString(word) && !tests[word] {
				t.Errorf("%s names %s, which no test file has", d.name, word)
			}
			if path.MatchString(word) {
				if found, err := filepath.Glob(word); err != nil || len(found) == 0 {
					t.Errorf("%s names %s, which does not exist", d.name, word)
				}
			}
			for _, i := range ident.FindAllStringSubmatch(word, -1) {
				known := names[i[1]]
				if known == nil {
					continue
				}
				if !known[i[2]] || i[3] != "" && !known[i[2]+"."+i[3]] {
					t.Errorf("%s names %s, which does not exist", d.name, i[0])
				}
			}
		}
	}
}

// known gives all tests, and of each public package all exported names, members
// of types as Type.Member.
func known(t *testing.T) (tests map[string]bool, names map[string]map[string]bool) {
	t.Helper()
	tests, names = map[string]bool{}, map[string]map[string]bool{}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dir := range strings.Lines(string(out)) {
		files, err := filepath.Glob(filepath.Join(strings.TrimSpace(dir), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, "_test.go") {
				for _, d := range file.Decls {
					if f, ok := d.(*ast.FuncDecl); ok {
						tests[f.Name.Name] = true
					}
				}
				continue
			}
			home := file.Name.Name
			if !strings.HasSuffix(packages()[home], strings.TrimSpace(filepath.Base(dir))) && home != "postrider" {
				continue
			}
			if names[home] == nil {
				names[home] = map[string]bool{}
			}
			for _, d := range file.Decls {
				for _, n := range exported(d) {
					names[home][n] = true
				}
			}
		}
	}
	return tests, names
}

// exported are the exported names that a declaration makes.
func exported(d ast.Decl) []string {
	var names []string
	switch d := d.(type) {
	case *ast.FuncDecl:
		name := d.Name.Name
		if d.Recv != nil {
			of := d.Recv.List[0].Type
			if star, ok := of.(*ast.StarExpr); ok {
				of = star.X
			}
			if x, ok := of.(*ast.Ident); ok {
				name = x.Name + "." + name
			}
		}
		names = append(names, name)
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.ValueSpec:
				for _, n := range s.Names {
					names = append(names, n.Name)
				}
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
				names = append(names, members(s)...)
			}
		}
	}
	return slices.DeleteFunc(names, func(n string) bool { return !ast.IsExported(n) })
}

// members are the fields of a struct and the methods of an interface.
func members(s *ast.TypeSpec) []string {
	var list *ast.FieldList
	switch t := s.Type.(type) {
	case *ast.StructType:
		list = t.Fields
	case *ast.InterfaceType:
		list = t.Methods
	default:
		return nil
	}
	var names []string
	for _, f := range list.List {
		for _, n := range f.Names {
			names = append(names, s.Name.Name+"."+n.Name)
		}
	}
	return names
}
