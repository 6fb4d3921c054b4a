package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// readFile takes over the settings of a YAML file.
func (l *loader) readFile(path string) {
	b, err := readBounded(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("there is no such file")
		}
		l.fault(path, "%v", err)
		return
	}
	content, err := yaml.Parser().Unmarshal(b)
	if err != nil {
		l.fault(path, "it is not YAML of the form \"name: value\"%s", atLine(err))
		return
	}
	// NUL is in no key, so that keys with dots stay what the user wrote.
	k := koanf.New("\x00")
	if err := k.Load(confmap.Provider(content, ""), nil); err != nil {
		l.fault(path, "%v", err)
		return
	}
	known, raw := l.fileKeys(), k.Raw()
	values := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if !known[key] {
			l.fault(path+": "+key, "there is no such setting%s", didYouMean(key, known))
			continue
		}
		value, err := l.fileText(key, raw[key])
		if err != nil {
			l.fault(path+": "+key, "%v", err)
			continue
		}
		values[key] = value
	}
	l.layer(layerFile, values)
}

// fileText makes the text that a flag would have of a YAML value.
func (l *loader) fileText(key string, value any) (string, error) {
	row := setting{}
	for _, r := range l.rows {
		if r.key == key {
			row = r
		}
	}
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case bool, int, int64, uint64:
		return fmt.Sprint(v), nil
	case []any:
		if !row.list {
			break
		}
		var all []string
		for _, item := range v {
			switch item := item.(type) {
			case string, int:
				all = append(all, fmt.Sprint(item))
			default:
				return "", errors.New("a list here has only texts and numbers in it")
			}
		}
		return strings.Join(all, ","), nil
	case map[string]any:
		if !row.list {
			break
		}
		var all []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			all = append(all, fmt.Sprintf("%s=%v", name, v[name]))
		}
		return strings.Join(all, ","), nil
	}
	if row.list {
		return "", errors.New("it must be a text or a list")
	}
	return "", errors.New("it must be one text, number, true or false; quote a text that YAML takes for something else")
}

// line is all that is repeated of YAML's complaints: the rest may quote a secret.
var line = regexp.MustCompile(`line \d+`)

func atLine(err error) string {
	if at := line.FindString(err.Error()); at != "" {
		return " at " + at
	}
	return ""
}
