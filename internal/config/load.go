package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Sources are where Load looks.
type Sources struct {
	// Flags are the flags that were given, by key (rate_limit), a secret's file under jwt_secret_file.
	Flags map[string]string
	// Environ is the environment as os.Environ gives it.
	Environ []string
	// File is the settings file. Empty: POSTRIDER_CONFIG names it, or there is none.
	File string
	// Hostname is this host's name, the default of hostname. Empty: os.Hostname.
	Hostname string
}

// maxFile bounds settings and secrets in files, in octets: far more than anybody writes.
const maxFile = 1 << 20

// Load reads the settings. The error is Faults with everything that is wrong; the settings returned beside it are usable
// only to find more faults in.
func Load(src Sources) (*Settings, error) {
	l := loader{s: &Settings{origins: map[string]origin{}, shown: map[string]string{}}, rows: table(), found: map[string]string{}}
	l.defaults(src.Hostname)
	env := l.environment(src.Environ)
	l.s.file = src.File
	if l.s.file == "" {
		l.s.file = env[EnvPrefix+"CONFIG"]
	}
	if l.s.file != "" {
		l.readFile(l.s.file)
	}
	l.layer(layerEnv, env)
	l.layer(layerFlag, src.Flags)
	l.set()
	l.together()
	return l.s, l.faults.Err()
}

// loader gathers texts of all layers, then checks the ones that won.
type loader struct {
	s      *Settings
	rows   []setting
	found  map[string]string // text by key
	faults Faults
}

func (l *loader) fault(name, format string, a ...any) {
	l.faults = append(l.faults, Fault{Name: name, Detail: fmt.Sprintf(format, a...)})
}

func (l *loader) defaults(hostname string) {
	for _, row := range l.rows {
		l.found[row.key] = row.def
	}
	if hostname == "" {
		hostname, _ = os.Hostname() // without a name, EHLO says localhost
	}
	if hostname == "" {
		hostname = "localhost"
	}
	l.found["hostname"] = hostname
}

// layer takes the values of one layer over: by environment variable or by key.
func (l *loader) layer(at layer, values map[string]string) {
	for _, row := range l.rows {
		name, fileName := row.key, row.key+"_file"
		o := origin{layer: at, name: name, file: l.s.file}
		switch at {
		case layerEnv:
			name, fileName = row.env(), row.env()+"_FILE"
			o.name = name
		case layerFlag:
			o.name = "--" + row.flag()
		}
		value, given := values[name]
		if !given && at == layerEnv && row.alias != "" {
			value, given = values[row.alias]
			o.name = row.alias
		}
		if row.secret {
			if path, ok := values[fileName]; ok && path != "" {
				beside := o.name
				o.name = fileName
				if at == layerFlag {
					o.name = "--" + row.flag() + "-file"
				}
				if given && value != "" {
					l.fault(o.String(), "%s is given too: leave one of them out", beside)
				}
				o.from = path
				value, given = l.readSecret(o, path), true
			}
		}
		if given {
			l.found[row.key], l.s.origins[row.key] = value, o
		}
	}
}

// readSecret reads a secret from a file; a line end after it is not part of it.
func (l *loader) readSecret(o origin, path string) string {
	b, err := readBounded(path)
	if err != nil {
		l.fault(o.String(), "%v", err)
		return ""
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if secret == "" {
		l.fault(o.String(), "%s is empty", path)
	}
	return secret
}

// set checks what was found, setting by setting.
func (l *loader) set() {
	for _, row := range l.rows {
		value, o := l.found[row.key], l.s.origins[row.key]
		l.s.shown[row.key] = row.shownText(value)
		if o.layer != layerDefault && value == "" && !row.mayBeEmpty && row.def != "" {
			l.faults = append(l.faults, l.s.Fault(row.key, "it is empty: leave it out for the default, %s", row.def))
			continue
		}
		if value == "" && row.def != "" && !row.mayBeEmpty {
			continue
		}
		if err := row.set(l.s, value); err != nil {
			l.faults = append(l.faults, l.s.Fault(row.key, "%v", err))
		}
	}
}

// together checks what settings have to do with each other.
func (l *loader) together() {
	s := l.s
	say := func(key, format string, a ...any) { l.faults = append(l.faults, s.Fault(key, format, a...)) }
	if s.Data == "" && s.Embedded() {
		say("data", "it is missing: give a directory to keep everything in, with --data DIR or %sDATA, or a PostgreSQL database with %sDATABASE_URL", EnvPrefix, EnvPrefix)
	}
	if s.Embedded() {
		for key, value := range map[string]Secret{"delivery_database_url": s.DeliveryDatabaseURL, "migration_database_url": s.MigrationDatabaseURL, "lock_database_url": s.LockDatabaseURL} {
			if !value.IsZero() {
				say(key, "it has no effect without %s: give that too", s.nameOf("database_url"))
			}
		}
	}
	if s.Embedded() && s.Role != RoleAll && s.Role != "" {
		say("role", "%s needs other nodes on the same database, so %s: with SQLite there is one process, which does all", s.Role, s.nameOf("database_url"))
	}
	if (s.TLSCert == "") != (s.TLSKey == "") {
		have, missing := "tls_cert", "tls_key"
		if s.TLSCert == "" {
			have, missing = missing, have
		}
		say(have, "it goes together with %s, which is missing", s.nameOf(missing))
	}
	if s.MessageLimit > s.UploadSpace && s.UploadSpace > 0 {
		say("upload_space", "it is smaller than %s: the largest message would never find room", s.nameOf("message_limit"))
	}
	if s.JWKSURL != "" {
		// The provider makes tokens for other programs too.
		for key, value := range map[string]string{"jwks_issuer": s.JWKSIssuer, "jwks_audience": s.JWKSAudience} {
			if value == "" {
				say(key, "it is missing: %s needs it, since the provider makes tokens for others too", s.nameOf("jwks_url"))
			}
		}
	} else {
		for _, row := range l.rows {
			if strings.HasPrefix(row.key, "jwks_") && row.key != "jwks_url" && s.Given(row.key) {
				say(row.key, "it has no effect without %s", s.nameOf("jwks_url"))
			}
		}
	}
	if !s.OperatorKey.IsZero() && s.OperatorKeyHash != "" {
		say("operator_key", "%s is given too: leave one of them out", s.nameOf("operator_key_hash"))
	}
	slices.SortStableFunc(l.faults, func(a, b Fault) int { return strings.Compare(a.Name, b.Name) })
}

// readBounded reads a file that a person wrote.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, errors.New(path + " is larger than 1 MiB")
	}
	return b, nil
}
