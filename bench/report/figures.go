package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// figures are the values of one measure, one for each round.
type figures []float64

func (f figures) median() float64 {
	if len(f) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(f))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// spread prints median (least–most), with the digits given after the point.
func (f figures) spread(digits int) string {
	if len(f) == 0 {
		return "–"
	}
	if len(f) == 1 {
		return number(f[0], digits)
	}
	return fmt.Sprintf("%s (%s–%s)", number(f.median(), digits), number(slices.Min(f), digits), number(slices.Max(f), digits))
}

// number prints large numbers in groups of three.
func number(v float64, digits int) string {
	if math.IsNaN(v) {
		return "–"
	}
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if digits == 0 {
		for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
			s = s[:i] + " " + s[i:]
		}
	}
	return s
}

// cell is one column of the throughput tables.
type cell struct {
	mode  string
	size  int
	conns int
}

func (c cell) String() string {
	mode := map[string]string{"plain": "plain", "starttls": "STARTTLS", "tls": "TLS"}[c.mode]
	return fmt.Sprintf("%d KB %s ×%d", c.size/1024, mode, c.conns)
}

func (c cell) has(r Run) bool { return r.Mode == c.mode && r.Size == c.size && r.Conns == c.conns }

// pick takes a measure of the runs of a peer that match.
func pick(runs []Run, peer string, match func(Run) bool, measure func(Run) float64) figures {
	var f figures
	for _, r := range runs {
		if r.Peer == peer && match(r) && r.Driver.Sent > 0 {
			f = append(f, measure(r))
		}
	}
	return f
}

// ratios divides the measure of one peer by that of another, round by round, so
// that a machine that was slow for a while was slow for both.
func ratios(runs []Run, peer, other string, match func(Run) bool, measure func(Run) float64) figures {
	by := map[int]float64{}
	for _, r := range runs {
		if r.Peer == other && match(r) && r.Driver.Sent > 0 {
			by[r.Round] = measure(r)
		}
	}
	var f figures
	for _, r := range runs {
		if d := by[r.Round]; r.Peer == peer && match(r) && r.Driver.Sent > 0 && d > 0 {
			f = append(f, measure(r)/d)
		}
	}
	return f
}

func every(Run) bool { return true }

func peersOf(runs []Run) []string {
	var names []string
	for _, r := range runs {
		if !slices.Contains(names, r.Peer) {
			names = append(names, r.Peer)
		}
	}
	order := []string{Ours, "go-mail", "net/smtp", "go-smtp", Bound, Stream}
	slices.SortStableFunc(names, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	return names
}

// libraries are the peers that are neither ours nor a bound.
func libraries(runs []Run) []string {
	return slices.DeleteFunc(peersOf(runs), func(p string) bool { return p == Ours || p == Bound || p == Stream })
}
