package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

const (
	chainColumn = "µs a request"
	chainMore   = "µs more than without Redis"
)

// chain runs the Go benchmarks of the middleware chain: a request without a network
// and with the store's cache warm, as the goals say.
func chain(ctx context.Context, b *bencher) error {
	c := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkChain$", "-benchtime", b.s.chainTime, "-count", strconv.Itoa(b.s.rounds), "./internal/httpapi")
	c.Dir = filepath.Join(b.s.dir, "..")
	c.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false")
	out, err := c.Output()
	if err != nil {
		return fmt.Errorf("%s: %w: %.2000s", c, err, out)
	}
	line := regexp.MustCompile(`^BenchmarkChain/(\S+?)(?:-\d+)?\s+\d+\s+(\d+(?:\.\d+)?) ns/op`)
	rounds := map[string]int{} // seen of each row
	for scan := bufio.NewScanner(strings.NewReader(string(out))); scan.Scan(); {
		m := line.FindStringSubmatch(scan.Text())
		if m == nil {
			continue
		}
		ns, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return err
		}
		b.round = rounds[m[1]]
		rounds[m[1]]++
		b.add(neither, m[1], chainColumn, ns/1000)
	}
	if len(rounds) == 0 {
		return fmt.Errorf("%s printed no figure: %.2000s", c, out)
	}
	for row, n := range rounds {
		plain, ok := strings.CutPrefix(row, "Redis/")
		if !ok {
			continue
		}
		for b.round = range n {
			with, _ := b.value(neither, row, chainColumn)
			if without, ok := b.value(neither, plain, chainColumn); ok {
				b.add(neither, row, chainMore, with-without)
			}
		}
	}
	return nil
}
