package merge

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// Rows reads a CSV file row by row (RFC 4180; the first row names the columns).
type Rows struct {
	Columns []string
	file    *os.File
	csv     *csv.Reader
	name    string
	number  int
}

// OpenRows opens a CSV file and reads its columns' names. The separator is a
// comma, or a semicolon or a tab if the first line has more of them.
func OpenRows(path string) (*Rows, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r := &Rows{file: f, name: path}
	if err := r.readHeader(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return r, nil
}

func (r *Rows) readHeader() error {
	if info, err := r.file.Stat(); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		// It is read twice: once to count and check, once to send.
		return fmt.Errorf("%s is not a regular file", r.name)
	}
	in := bufio.NewReaderSize(r.file, 64<<10)
	if mark, _ := in.Peek(3); string(mark) == "\ufeff" {
		_, _ = in.Discard(3)
	}
	start, err := in.Peek(4 << 10)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	first, _, _ := strings.Cut(string(start), "\n")
	r.csv = csv.NewReader(in)
	for _, separator := range ";\t" {
		if strings.Count(first, string(separator)) > strings.Count(first, string(r.csv.Comma)) {
			r.csv.Comma = separator
		}
	}
	columns, err := r.csv.Read()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s is empty; its first row must name the columns", r.name)
	}
	if err != nil {
		return r.explain(err)
	}
	if err := r.checkText(columns); err != nil {
		return err
	}
	seen := make(map[string]bool, len(columns))
	for _, c := range columns {
		c = strings.TrimSpace(c)
		if c == "" {
			return fmt.Errorf("%s: a column has no name; the first row must name each column", r.name)
		}
		if seen[c] {
			return fmt.Errorf("%s: two columns are named %q", r.name, c)
		}
		seen[c] = true
		r.Columns = append(r.Columns, c)
	}
	return nil
}

// checkText refuses what is not UTF-8: a spreadsheet's export in another charset would
// make mail with wrong letters in it, or none.
func (r *Rows) checkText(cells []string) error {
	for i, c := range cells {
		if !utf8.ValidString(c) {
			line, _ := r.csv.FieldPos(i)
			return fmt.Errorf("%s line %d: it is not UTF-8; save the file as CSV with charset UTF-8", r.name, line)
		}
	}
	return nil
}

// Next gives the next row and its number, counted from 1 without the columns'
// names; io.EOF after the last.
func (r *Rows) Next() (number int, row []string, err error) {
	row, err = r.csv.Read()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return 0, nil, io.EOF
		}
		return 0, nil, r.explain(err)
	}
	if err := r.checkText(row); err != nil {
		return 0, nil, err
	}
	r.number++
	return r.number, row, nil
}

func (r *Rows) explain(err error) error {
	if e, ok := errors.AsType[*csv.ParseError](err); ok {
		if errors.Is(e.Err, csv.ErrFieldCount) {
			return fmt.Errorf("%s line %d: the row has another number of fields than the first row, which has %d", r.name, e.StartLine, r.csv.FieldsPerRecord)
		}
		return fmt.Errorf("%s line %d: %w", r.name, e.Line, e.Err)
	}
	return fmt.Errorf("%s: %w", r.name, err)
}

// Close closes the file.
func (r *Rows) Close() error { return r.file.Close() }

// rowHash tells a row from an edited one: FNV-1a, the same in every run; never 0,
// and without its lowest bit, which stands for something else.
func rowHash(row []string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, cell := range row {
		for i := range len(cell) {
			h = (h ^ uint64(cell[i])) * prime
		}
		h = (h ^ 0xff) * prime // no byte of UTF-8: ends a cell
	}
	return max(h&^unknownBit, 2)
}
