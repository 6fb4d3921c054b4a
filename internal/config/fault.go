package config

import (
	"fmt"
	"strings"
)

// layer is where a setting comes from; higher ones win.
type layer int

const (
	layerDefault layer = iota
	layerFile
	layerEnv
	layerFlag
)

// origin is where a setting's value was found.
type origin struct {
	layer layer
	name  string // as the user wrote it: --rate-limit, POSTRIDER_RATE_LIMIT, rate_limit
	file  string // the settings file, with layerFile
	from  string // the file that a secret was read from
}

// String tells it as faults begin: "file.yaml: rate_limit".
func (o origin) String() string {
	if o.layer == layerFile {
		return o.file + ": " + o.name
	}
	return o.name
}

// Fault is one thing that is wrong with the settings.
type Fault struct {
	Setting string // key such as rate_limit; empty if it is about none
	Name    string // as the user wrote it, or would have to: --rate-limit, POSTRIDER_RATE_LIMIT, postrider.yaml: rate_limit
	Detail  string // what is wrong and how to mend it; no secret
}

// Error is one line.
func (f Fault) Error() string {
	if f.Name == "" {
		return f.Detail
	}
	return f.Name + ": " + f.Detail
}

// Faults are all that is wrong.
type Faults []Fault

// Error has one line for each fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns the faults as an error; nil if there are none.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// Fault makes a fault about a setting, named by its key such as rate_limit, that reads as those of Load do.
func (s *Settings) Fault(key, format string, a ...any) Fault {
	return Fault{Setting: key, Name: s.nameOf(key), Detail: fmt.Sprintf(format, a...)}
}

// nameOf is what the user called a setting, or what he can call it.
func (s *Settings) nameOf(key string) string {
	if o := s.origins[key]; o.layer != layerDefault {
		return o.String()
	}
	row := setting{key: key}
	return row.env()
}
