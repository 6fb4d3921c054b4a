package config

import (
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"
)

// Print writes every setting with its value and where that came from, one line each. Of secrets it tells whether there
// is one; of URLs that may hold one, all but user, password and parameters.
func (s *Settings) Print(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 2, 0, 2, ' ', 0)
	for _, row := range table() {
		fmt.Fprintf(tab, "%s\t%s\t%s\n", row.key, s.shown[row.key], s.source(row.key))
	}
	return tab.Flush()
}

// shownText is how a value is printed.
func (r *setting) shownText(value string) string {
	switch {
	case r.secret && r.url && value != "":
		if u, err := url.Parse(value); err == nil {
			return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
		}
		return "(set)"
	case r.secret:
		return Secret{value}.String()
	case value == "":
		return "(none)"
	}
	return value
}

func (s *Settings) source(key string) string {
	switch o := s.origins[key]; o.layer {
	case layerFile:
		return "file " + o.String()
	case layerEnv:
		return "environment " + o.name
	case layerFlag:
		return "flag " + o.name
	}
	return "default"
}
