package merge_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/merge"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRows(t *testing.T) {
	for _, c := range []struct {
		name, file string
		columns    []string
		rows       [][]string
		fault      string
	}{
		{"comma", "a,b\n1,2\n3,4\n", []string{"a", "b"}, [][]string{{"1", "2"}, {"3", "4"}}, ""},
		{"semicolon, CRLF, byte order mark", "\ufeffa;b\r\n1,5;2\r\n", []string{"a", "b"}, [][]string{{"1,5", "2"}}, ""},
		{"tab, no end of line", "a\tb\n1\t2", []string{"a", "b"}, [][]string{{"1", "2"}}, ""},
		{"quotes", "a, b \n\"x\"\"y\n,z\",2\n", []string{"a", "b"}, [][]string{{"x\"y\n,z", "2"}}, ""},
		{"one column", "email\nann@example.net\n", []string{"email"}, [][]string{{"ann@example.net"}}, ""},
		{"only columns", "a,b\n", []string{"a", "b"}, nil, ""},
		{"empty lines", "a\n\n1\n\n2\n", []string{"a"}, [][]string{{"1"}, {"2"}}, ""},
		{"empty", "", nil, nil, "is empty; its first row must name the columns"},
		{"no name", "a,\n", nil, nil, "a column has no name"},
		{"same name", "a,a\n", nil, nil, `two columns are named "a"`},
		{"too few", "a,b\n1,2\n3\n", []string{"a", "b"}, [][]string{{"1", "2"}}, "line 3: the row has another number of fields than the first row, which has 2"},
		{"open quote", "a\n\"x\n", []string{"a"}, nil, `line 2: extraneous or missing "`},
		{"latin-1", "a\nx\nGr\xfc\xdfe\n", []string{"a"}, [][]string{{"x"}}, "line 3: it is not UTF-8; save the file as CSV with charset UTF-8"},
		{"latin-1 columns", "Gr\xfc\xdfe\n", nil, nil, "line 1: it is not UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows, err := merge.OpenRows(write(t, "rows.csv", c.file))
			var got [][]string
			if err == nil {
				defer rows.Close()
				if !slices.Equal(rows.Columns, c.columns) {
					t.Errorf("columns %q", rows.Columns)
				}
				for {
					var n int
					var row []string
					if n, row, err = rows.Next(); err != nil {
						break
					}
					if got = append(got, row); n != len(got) {
						t.Errorf("row %d has number %d", len(got), n)
					}
				}
				if errors.Is(err, io.EOF) {
					err = nil
				}
			}
			if !slices.EqualFunc(got, c.rows, slices.Equal[[]string]) {
				t.Errorf("rows %q", got)
			}
			if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
				t.Errorf("error %v; want %q", err, c.fault)
			}
		})
	}
}

func TestRowsOfNoFile(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "none.csv"), t.TempDir(), os.DevNull} {
		if _, err := merge.OpenRows(path); err == nil {
			t.Errorf("%s was opened", path)
		}
	}
}
