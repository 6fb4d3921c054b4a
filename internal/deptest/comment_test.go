package deptest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestComments: what a public package exports has a comment, for its comments
// are its manual. Of fields that is asked where they are settings; others may
// say all by their names.
func TestComments(t *testing.T) {
	t.Parallel()
	for _, r := range table() {
		if !r.public {
			continue
		}
		names, err := filepath.Glob(filepath.Join(root(t), filepath.FromSlash(r.path), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, fault := range uncommented(t, filepath.Join(r.path, filepath.Base(name)), source) {
				t.Error(fault)
			}
		}
	}
}

// uncommented returns a line for each exported name without a comment. One
// comment may serve names that stand in consecutive lines below it.
func uncommented(t *testing.T, name string, source []byte) (faults []string) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return nil
	}
	served := -1 // the line below the last name that has a comment
	look := func(owner string, id *ast.Ident, comments ...*ast.CommentGroup) {
		at := files.Position(id.Pos())
		has := slices.ContainsFunc(comments, func(c *ast.CommentGroup) bool { return strings.TrimSpace(c.Text()) != "" })
		if has || at.Line == served || at.Line == served-1 {
			served = at.Line + 1
			return
		}
		if id.IsExported() {
			faults = append(faults, fmt.Sprintf("%s:%d: %s%s has no comment", name, at.Line, owner, id.Name))
		}
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if owner, exported := receiver(d); exported {
				look(owner, d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.ValueSpec:
					for _, id := range s.Names {
						look("", id, d.Doc, s.Doc, s.Comment)
					}
				case *ast.TypeSpec:
					look("", s.Name, d.Doc, s.Doc, s.Comment)
					if s.Name.IsExported() && isSettings(s.Name.Name) {
						served = -1
						for _, f := range structFields(s) {
							for _, id := range f.Names {
								look(s.Name.Name+".", id, f.Doc, f.Comment)
							}
						}
					}
				}
			}
		}
	}
	return faults
}

// receiver gives the type of a method, with a dot, and whether the function can
// be reached from outside.
func receiver(f *ast.FuncDecl) (owner string, exported bool) {
	if f.Recv == nil {
		return "", true
	}
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	id, ok := of.(*ast.Ident)
	if !ok {
		return "", false
	}
	return id.Name + ".", id.IsExported()
}

// isSettings reports whether a type of this name is filled in by users.
func isSettings(name string) bool {
	return slices.ContainsFunc([]string{"Config", "Options", "Limits", "Timeouts", "Schedule", "Message", "Attachment", "Envelope"}, func(end string) bool {
		return strings.HasSuffix(name, end)
	})
}

func structFields(s *ast.TypeSpec) []*ast.Field {
	if t, ok := s.Type.(*ast.StructType); ok {
		return t.Fields.List
	}
	return nil
}

func TestUncommented(t *testing.T) {
	t.Parallel()
	const source = `package p

// A is commented.
func A() {}

func B() {}

func c() {}

type t struct{ X int }

func (t) M() {}

// T is commented.
type T struct{ X int }

// TConfig is commented.
type TConfig struct {
	// X and Y are.
	X int
	Y int

	Z int
	w int
	V int // too
}

func (*T) N() {}

// Constants are, together.
const (
	C = 1
	D = 2
)

var E = 3
`
	want := []string{"p.go:6: B", "p.go:23: TConfig.Z", "p.go:28: T.N", "p.go:36: E"}
	got := uncommented(t, "p.go", []byte(source))
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i := range got {
		if !strings.HasPrefix(got[i], want[i]+" has") {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
}
