package config

import (
	"fmt"
	"slices"
	"strings"
)

// Flag is what a command line needs to know of a setting.
type Flag struct {
	Key         string // in Sources.Flags
	Name        string // without hyphens in front
	Group       string // heading
	Placeholder string // of the value; empty: a switch
	Help        string
	Switch      bool // no value means true
}

// Flags are the flags of the settings named by their keys, in the order of the reference; without keys, of all. A secret
// has a flag for its file only, since other users of the machine can read command lines; a URL has both.
func Flags(keys ...string) []Flag {
	var flags []Flag
	for _, row := range table() {
		if len(keys) > 0 && !slices.Contains(keys, row.key) {
			continue
		}
		help := strings.ReplaceAll(row.help, "`", "")
		if row.def != "" {
			help += " Default: " + row.def + "."
		}
		if !row.secret || row.url {
			flags = append(flags, Flag{Key: row.key, Name: row.flag(), Group: row.group, Placeholder: row.placeholder, Help: help, Switch: row.isBool})
		}
		if row.secret {
			if row.url {
				help = "Read --" + row.flag() + " from FILE."
			}
			flags = append(flags, Flag{Key: row.key + "_file", Name: row.flag() + "-file", Group: row.group, Placeholder: "FILE", Help: help})
		}
	}
	return flags
}

// Groups are the headings of flags, in their order.
func Groups() []string { return groups() }

// Reference is the table of all settings in Markdown, a part of docs/service.md.
func Reference() string {
	var b strings.Builder
	for _, group := range groups() {
		fmt.Fprintf(&b, "#### %s\n\n| setting | default | meaning |\n|---|---|---|\n", group)
		for _, row := range table() {
			if row.group != group {
				continue
			}
			name := "`" + row.key + "`"
			if row.secret {
				name += " (secret)"
			}
			def := row.shown
			if def == "" && row.def != "" {
				def = "`" + row.def + "`"
			}
			if def == "" {
				def = "none"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", name, def, row.help)
		}
		b.WriteString("\n")
	}
	return b.String()
}
