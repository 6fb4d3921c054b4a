package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/postrider/postrider/bench/report"
)

// peer is a driver program, or one mode of it.
type peer struct {
	name    string
	driver  string   // directory in drivers/
	mode    string   // its -mode
	modules []string // what it measures, for the report
}

// peers are all that can be measured, in the order of the report.
func peers() []peer {
	return []peer{
		{report.Ours, "postrider", "", nil},
		{"go-mail", "gomail", "", []string{"github.com/wneessen/go-mail"}},
		{"net/smtp", "netsmtp", "", nil},
		{"go-smtp", "gosmtp", "", []string{"github.com/emersion/go-smtp", "github.com/emersion/go-message"}},
		{report.Bound, "rawbdat", "", nil},
		{report.Stream, "rawbdat", "stream", nil},
	}
}

func names() []string {
	var l []string
	for _, p := range peers() {
		l = append(l, p.name)
	}
	return l
}

// bench is what the parts work with: the settings and the programs built.
type bench struct {
	settings
	bin    string
	header report.Header
	built  []peer
}

// build makes the sink and one driver after the other, so that a driver that
// does not compile leaves the others alone: it is missing from the report, which
// says so.
func build(ctx context.Context, s settings) (*bench, error) {
	bin, err := filepath.Abs(filepath.Join(s.dir, "out", "bin"))
	if err != nil {
		return nil, err
	}
	b := &bench{settings: s, bin: bin, header: machine(ctx)}
	b.header.Rounds = s.rounds
	b.header.Versions, b.header.Missing = map[string]string{}, map[string]string{}
	if err := b.compile(ctx, "sink", "./cmd/sink"); err != nil {
		return nil, err
	}
	done := map[string]error{}
	for _, p := range peers() {
		if len(s.peers) > 0 && !slices.Contains(s.peers, p.name) {
			continue
		}
		err, known := done[p.driver]
		if !known {
			err = b.compile(ctx, p.driver, "./drivers/"+p.driver)
			done[p.driver] = err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s is left out: %v\n", p.name, err)
			b.header.Missing[p.name] = fmt.Sprintf("%.300s", strings.Join(strings.Fields(err.Error()), " "))
			continue
		}
		b.built = append(b.built, p)
		if v := b.versions(p); v != "" {
			b.header.Versions[p.name] = v
		}
	}
	if len(b.built) == 0 {
		return nil, errors.New("no driver could be built")
	}
	return b, nil
}

func (b *bench) compile(ctx context.Context, name, pkg string) error {
	c := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(b.bin, name), pkg)
	c.Dir = b.dir
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", pkg, err, out)
	}
	return nil
}

// versions reads from the program itself which versions it was built with.
func (b *bench) versions(p peer) string {
	info, err := buildinfo.ReadFile(filepath.Join(b.bin, p.driver))
	if err != nil {
		return ""
	}
	var v []string
	for _, d := range info.Deps {
		if slices.Contains(p.modules, d.Path) {
			v = append(v, d.Path[strings.LastIndexByte(d.Path, '/')+1:]+" "+strings.TrimPrefix(d.Version, "v"))
		}
	}
	slices.SortFunc(v, func(a, b string) int { return strings.Compare(b, a) }) // go-smtp before go-message
	return strings.Join(v, ", ")
}
