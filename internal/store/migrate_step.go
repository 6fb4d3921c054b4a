package store

import (
	"bufio"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// MigrationKind is what a migration does to programs that are at work meanwhile.
type MigrationKind string

const (
	// Expand adds what programs of the version before do not see.
	Expand MigrationKind = "expand"
	// Contract takes away what only programs of versions before still use. The programs that have it do not need it: it is applied
	// when they are alone.
	Contract MigrationKind = "contract"
	// Break changes what programs of the version before use: no such program may be at work.
	Break MigrationKind = "break"
)

// MigrationStep is one migration, in a file migrations/DATABASE/0042_name.sql. A line in it says what it does to programs that
// know nothing of it:
//
//	-- postrider: expand compatible-from=41
//	-- postrider: contract compatible-from=42
//
// compatible-from is the oldest schema version whose programs work with the tables after it. Without such a line it is Break.
type MigrationStep struct {
	Version int64
	Name    string // of the file, without its ending
	Kind    MigrationKind
	// CompatibleFrom is the schema version from which programs work with the tables after it.
	CompatibleFrom int64
	// Outside says that it runs outside of a transaction, as indexes do that are made while others write. It may be run
	// again after it came to half its way, and waits for locks in a way that holds nobody up.
	Outside bool
}

const stepLine = "-- postrider: "

// migrationSteps reads the migrations of a folder, in their order.
func migrationSteps(files fs.FS, folder string) ([]MigrationStep, error) {
	entries, err := fs.ReadDir(files, folder) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	var steps []MigrationStep
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil || path.Ext(e.Name()) != ".sql" {
			continue
		}
		step := MigrationStep{Version: version, Name: strings.TrimSuffix(e.Name(), ".sql"), Kind: Break, CompatibleFrom: version}
		if err := step.read(files, path.Join(folder, e.Name())); err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
	return steps, nil
}

// read takes what the file says of itself.
func (m *MigrationStep) read(files fs.FS, name string) error {
	f, err := files.Open(name)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "-- +goose NO TRANSACTION" {
			m.Outside = true
		}
		words, ok := strings.CutPrefix(line, stepLine)
		if !ok {
			continue
		}
		kind, from, _ := strings.Cut(words, " compatible-from=")
		m.Kind = MigrationKind(kind)
		m.CompatibleFrom, err = strconv.ParseInt(from, 10, 64)
		if err != nil || m.Kind != Expand && m.Kind != Contract || m.CompatibleFrom < 1 || m.CompatibleFrom > m.Version {
			return fmt.Errorf("store: migration %s: write %q or %q", m.Name, stepLine+"expand compatible-from=N", stepLine+"contract compatible-from=N")
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("store: migration %s: %w", m.Name, err)
	}
	return nil
}

// versions are what a program with these migrations can work with: tables from needed on, and it knows those up to known.
func versions(steps []MigrationStep) (needed, known int64) {
	for _, m := range steps {
		known = max(known, m.Version)
		if m.Kind != Contract {
			needed = max(needed, m.Version)
		}
	}
	return needed, known
}
