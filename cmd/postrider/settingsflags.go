package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/telemetry"
)

// settingsFlags are the flags of the service's settings, which serve has all of and other commands have some of. They are
// made from the table in internal/config, so that flags, environment, file and manual cannot differ.
type settingsFlags struct {
	Config string `group:"Data and databases" placeholder:"FILE" help:"Read settings from FILE (YAML), as POSTRIDER_CONFIG. All of them are in docs/service.md; each can also be set by POSTRIDER_* in the environment."`
	kong.Plugins
}

// databaseSettings are those that commands need that open the database and nothing else.
func databaseSettings() []string {
	return []string{"data", "database_url", "delivery_database_url", "migration_database_url", "log_format", "log_level"}
}

// newSettingsFlags makes flags of the settings named by their keys; without keys, of all.
func newSettingsFlags(keys ...string) settingsFlags {
	var fields []reflect.StructField
	for i, f := range config.Flags(keys...) {
		kind := reflect.TypeFor[*string]() // nil: not given
		if f.Switch {
			kind = reflect.TypeFor[*bool]()
		}
		tag := fmt.Sprintf("name:%q group:%q help:%q", f.Name, f.Group, f.Help)
		if f.Placeholder != "" {
			tag += fmt.Sprintf(" placeholder:%q", f.Placeholder)
		}
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("F%d", i), Type: kind, Tag: reflect.StructTag(tag + fmt.Sprintf(" key:%q", f.Key)),
		})
	}
	return settingsFlags{Plugins: kong.Plugins{reflect.New(reflect.StructOf(fields)).Interface()}}
}

// given are the flags that were given, by the keys of their settings.
func (f *settingsFlags) given() map[string]string {
	values := map[string]string{}
	for _, plugin := range f.Plugins {
		v := reflect.ValueOf(plugin).Elem()
		for i := range v.NumField() {
			if v.Field(i).IsNil() {
				continue
			}
			values[v.Type().Field(i).Tag.Get("key")] = fmt.Sprint(v.Field(i).Elem().Interface())
		}
	}
	return values
}

// load reads the settings. Beside faults it returns what it could read, to find more faults in.
func (f *settingsFlags) load() (*config.Settings, config.Faults) {
	s, err := config.Load(config.Sources{Flags: f.given(), Environ: os.Environ(), File: f.Config})
	faults, _ := err.(config.Faults) //nolint:errorlint // Load returns nothing else
	return s, faults
}

// newLogger makes the logger that the settings ask for.
func newLogger(w io.Writer, s *config.Settings) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		level = slog.LevelInfo // the settings know the four words
	}
	return telemetry.NewLogger(w, telemetry.LogConfig{Format: s.LogFormat, Level: level})
}

// atCommandLine is who works at the command line, for the audit log.
func atCommandLine(args ...string) store.Actor {
	who := "?"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	return store.Actor{Kind: store.ActorCommand, UserAgent: fmt.Sprintf("postrider %s (%s@%s)", strings.Join(args, " "), who, host)}
}
