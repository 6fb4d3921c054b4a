package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// others reports whether a variable with our prefix is somebody else's: other commands', tests', or those that
// Kubernetes sets for a Service called postrider (POSTRIDER_SERVICE_HOST, POSTRIDER_PORT_8025_TCP).
func others(name string) bool {
	switch name {
	case EnvPrefix + "CONFIG", EnvPrefix + "RELAY", EnvPrefix + "PORT":
		return true
	}
	for _, prefix := range []string{"TEST_", "SERVICE_", "PORT_"} {
		if strings.HasPrefix(name, EnvPrefix+prefix) {
			return true
		}
	}
	return false
}

// environment picks the variables that are settings, and reports those that look like one and are none.
func (l *loader) environment(environ []string) map[string]string {
	known := map[string]bool{}
	for _, row := range l.rows {
		known[row.env()] = true
		if row.secret {
			known[row.env()+"_FILE"] = true
		}
		if row.alias != "" {
			known[row.alias] = true
		}
	}
	values := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case known[name], name == EnvPrefix+"CONFIG":
			values[name] = value
		case strings.HasPrefix(name, EnvPrefix) && !others(name):
			l.fault(name, "there is no such setting%s", didYouMean(name, known))
		}
	}
	return values
}

// fileKeys are the keys that a settings file may have.
func (l *loader) fileKeys() map[string]bool {
	known := map[string]bool{}
	for _, row := range l.rows {
		known[row.key] = true
		if row.secret {
			known[row.key+"_file"] = true
		}
	}
	return known
}

// didYouMean names the known word that is nearest, if one is near.
func didYouMean(word string, known map[string]bool) string {
	best, least := "", 1+len(word)/4 // a quarter of the letters wrong is no slip any more
	for _, k := range slices.Sorted(maps.Keys(known)) {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ": docs/service.md lists them"
	}
	return fmt.Sprintf(": did you mean %s?", best)
}

// distance counts the letters to insert, delete or exchange that make a of b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
