package main

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// chainPrefix begins the figures of the middleware chain.
const chainPrefix = "chain µs a request, "

// chain runs the Go benchmarks of the middleware chain: a request without a network
// and with the store's cache warm, as the goals say.
func chain(ctx context.Context, s settings) ([]figure, error) {
	c := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkChain$", "-benchtime", "500ms", "-count", strconv.Itoa(s.rounds), "./internal/httpapi")
	c.Dir = filepath.Join(s.dir, "..")
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %.2000s", c, err, out)
	}
	line := regexp.MustCompile(`^BenchmarkChain/(\S+?)(?:-\d+)?\s+\d+\s+(\d+(?:\.\d+)?) ns/op`)
	var figures []figure
	for scan := bufio.NewScanner(strings.NewReader(string(out))); scan.Scan(); {
		if m := line.FindStringSubmatch(scan.Text()); m != nil {
			ns, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				return nil, err
			}
			figures = append(figures, figure{"–", chainPrefix + m[1], ns / 1000})
		}
	}
	if len(figures) == 0 {
		return nil, fmt.Errorf("%s printed no figure: %.2000s", c, out)
	}
	return figures, nil
}
