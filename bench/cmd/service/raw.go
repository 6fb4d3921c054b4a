package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// figure is one measured value of one round: a cell of the table of its part.
type figure struct {
	Row    string  `json:"row"`
	Column string  `json:"column"`
	Round  int     `json:"round"`
	Value  float64 `json:"value"`
}

// header is the first line of a raw file: what was measured, where and when.
type header struct {
	Part     string    `json:"part"`
	Database string    `json:"database"`
	Started  time.Time `json:"started"`
	Took     float64   `json:"took_s"`
	Rounds   int       `json:"rounds"`
	Settings string    `json:"settings"` // what else was asked for
	Cores    int       `json:"cores"`
	Go       string    `json:"go"`
	Revision string    `json:"revision"`          // of this repository, empty if not known
	Load     string    `json:"load"`              // load average of the minute before
	Foreign  []float64 `json:"foreign,omitempty"` // share of the processors that other programs had, of each run
	Notes    []string  `json:"notes,omitempty"`   // versions, what was left out
}

// file is a raw file.
type file struct {
	header
	figures []figure
}

// bencher collects what a part measures.
type bencher struct {
	s         settings
	part      part
	databases []string
	round     int
	servers   *servers
	files     map[string]*file // by database
}

// begin is a part that starts now.
func begin(ctx context.Context, s settings, p part, databases []string, all *servers) *bencher {
	b := &bencher{s: s, part: p, databases: databases, servers: all, files: map[string]*file{}}
	h := header{
		Part: p.name, Started: time.Now().UTC().Truncate(time.Second), Rounds: s.rounds, Cores: runtime.NumCPU(), Go: runtime.Version(),
		Settings: fmt.Sprintf("aim %s, messages %d, queue %d, newcomers %d", s.aim, s.batch, s.queue, s.newcomers),
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		h.Load, _, _ = strings.Cut(string(text), " ")
	}
	c := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty")
	c.Dir = s.dir
	if out, err := c.Output(); err == nil {
		h.Revision = strings.TrimSpace(string(out))
	}
	for _, db := range databases {
		h.Database = db
		b.files[db] = &file{header: h}
	}
	b.say("begins, load %s", h.Load)
	return b
}

// add records a value of the current round.
func (b *bencher) add(db, row, column string, value float64) {
	f := b.files[db]
	f.figures = append(f.figures, figure{row, column, b.round, value})
}

// value gives back what was added in the current round.
func (b *bencher) value(db, row, column string) (float64, bool) {
	for _, f := range slices.Backward(b.files[db].figures) {
		if f.Row == row && f.Column == column && f.Round == b.round {
			return f.Value, true
		}
	}
	return 0, false
}

// note records something to know about the figures, once.
func (b *bencher) note(db, format string, args ...any) {
	f, text := b.files[db], fmt.Sprintf(format, args...)
	if !slices.Contains(f.Notes, text) {
		f.Notes = append(f.Notes, text)
	}
}

// foreign records what others took of the processors during a run.
func (b *bencher) foreign(db string, s spent) {
	b.files[db].Foreign = append(b.files[db].Foreign, float64(int(s.foreign*1000))/1000)
}

func rawPath(dir, part, db string) string {
	if db == neither {
		return filepath.Join(dir, part+".jsonl")
	}
	return filepath.Join(dir, part+"-"+db+".jsonl")
}

// keep writes the raw files, each in one go.
func (b *bencher) keep() error {
	for _, db := range b.databases {
		f := b.files[db]
		f.Took = time.Since(f.Started).Round(time.Second).Seconds()
		var text strings.Builder
		e := json.NewEncoder(&text)
		if err := e.Encode(f.header); err != nil {
			return err
		}
		for _, v := range f.figures {
			if err := e.Encode(v); err != nil {
				return err
			}
		}
		if err := os.WriteFile(rawPath(b.s.raw, b.part.name, db), []byte(text.String()), 0o644); err != nil {
			return err
		}
	}
	b.say("took %.0f s", b.files[b.databases[0]].Took)
	return nil
}

// readAll reads the raw files that are there, in the order of the report.
func readAll(dir string) ([]file, error) {
	var all []file
	for _, p := range parts() {
		for _, db := range p.databases {
			f, err := readRaw(rawPath(dir, p.name, db))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			all = append(all, f)
		}
	}
	return all, nil
}

func readRaw(path string) (file, error) {
	var f file
	in, err := os.Open(path)
	if err != nil {
		return f, err
	}
	defer in.Close()
	d := json.NewDecoder(bufio.NewReader(in))
	if err := d.Decode(&f.header); err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	for d.More() {
		var v figure
		if err := d.Decode(&v); err != nil {
			return f, fmt.Errorf("%s: %w", path, err)
		}
		f.figures = append(f.figures, v)
	}
	return f, nil
}
