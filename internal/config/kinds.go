package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// These make the set functions of the table: each takes where the value goes and gives a function that reads the text.
// Their errors say what is wrong and what to write instead, and hold no secret.

// minSecret is the least length of a secret for HS256 in octets (RFC 7518 §3.2).
const minSecret = 32

func text(field func(*Settings) *string) func(*Settings, string) error {
	return func(s *Settings, text string) error {
		if strings.ContainsFunc(text, unicode.IsControl) {
			return errors.New("it holds a control character")
		}
		*field(s) = text
		return nil
	}
}

func secret(field func(*Settings) *Secret) func(*Settings, string) error {
	return func(s *Settings, text string) error {
		*field(s) = Secret{text}
		return nil
	}
}

func jwtSecret(s *Settings, text string) error {
	if n := len(text); n > 0 && n < minSecret {
		return fmt.Errorf("it has %d octets and must have %d or more: make one with openssl rand -hex 32", n, minSecret)
	}
	s.JWTSecret = Secret{text}
	return nil
}

func boolean(field func(*Settings) *bool) func(*Settings, string) error {
	return func(s *Settings, text string) error {
		switch strings.ToLower(text) {
		case "true", "1", "yes", "on":
			*field(s) = true
		case "false", "0", "no", "off":
			*field(s) = false
		default:
			return fmt.Errorf("%q is neither true nor false", text)
		}
		return nil
	}
}

func number(field func(*Settings) *int, least, most int) func(*Settings, string) error {
	return func(s *Settings, text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return fmt.Errorf("%q is no number from %d to %d", text, least, most)
		}
		*field(s) = n
		return nil
	}
}

func duration(field func(*Settings) *time.Duration, least, most time.Duration) func(*Settings, string) error {
	return func(s *Settings, text string) error {
		d, ok := parseDuration(text)
		if !ok {
			return fmt.Errorf("%q is no time: write 30s, 15m, 24h or 30d", text)
		}
		if d < least || d > most {
			return fmt.Errorf("%s is not between %s and %s", text, least, most)
		}
		*field(s) = d
		return nil
	}
}

// parseDuration reads Go's durations, and whole days, which Go does not have.
func parseDuration(text string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err == nil
	}
	d, err := time.ParseDuration(text)
	return d, err == nil
}

func size(field func(*Settings) *int64, least, most int64) func(*Settings, string) error {
	return func(s *Settings, text string) error {
		n, ok := parseSize(text)
		if !ok {
			return fmt.Errorf("%q is no size: write octets, or 64KiB, 25MiB, 1GiB", text)
		}
		if n < least || n > most {
			return fmt.Errorf("%s is not between %d and %d octets", text, least, most)
		}
		*field(s) = n
		return nil
	}
}

func parseSize(text string) (int64, bool) {
	units := []struct {
		suffix string
		octets int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1}}
	for _, u := range units {
		if digits, ok := strings.CutSuffix(text, u.suffix); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
			return n * u.octets, err == nil && n >= 0 && n <= math.MaxInt64/u.octets
		}
	}
	return 0, false
}

func oneOf(field func(*Settings) *string, words ...string) func(*Settings, string) error {
	return func(s *Settings, text string) error {
		if !slices.Contains(words, text) {
			return fmt.Errorf("%q is none of %s", text, strings.Join(words, ", "))
		}
		*field(s) = text
		return nil
	}
}

// items splits a list at its commas; empty places are a slip of the pen and an error.
func items(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	all := strings.Split(text, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
		if all[i] == "" {
			return nil, fmt.Errorf("%q has an empty place between its commas", text)
		}
	}
	return all, nil
}

// each reads a list and reports every item at fault.
func each[T any](field func(*Settings) *[]T, read func(item string) (T, error)) func(*Settings, string) error {
	return func(s *Settings, text string) error {
		all, err := items(text)
		if err != nil {
			return err
		}
		var list []T
		var wrong []string
		for _, item := range all {
			v, err := read(item)
			if err != nil {
				wrong = append(wrong, err.Error())
				continue
			}
			list = append(list, v)
		}
		if wrong != nil {
			return errors.New(strings.Join(wrong, "; "))
		}
		*field(s) = list
		return nil
	}
}

func pairs(field func(*Settings) *[]Pair, example string) func(*Settings, string) error {
	return func(s *Settings, text string) error {
		seen := map[string]bool{}
		return each(field, func(item string) (Pair, error) {
			name, value, ok := strings.Cut(item, "=")
			name, value = strings.TrimSpace(name), strings.TrimSpace(value)
			if !ok || name == "" || value == "" {
				return Pair{}, fmt.Errorf("%q is not of the form %s", item, example)
			}
			if seen[name] {
				return Pair{}, fmt.Errorf("%s is there twice", name)
			}
			seen[name] = true
			return Pair{name, value}, nil
		})(s, text)
	}
}

func networks(field func(*Settings) *[]netip.Prefix) func(*Settings, string) error {
	return each(field, func(item string) (netip.Prefix, error) {
		if addr, err := netip.ParseAddr(item); err == nil && addr.Zone() == "" {
			addr = addr.Unmap()
			return netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		p, err := netip.ParsePrefix(item)
		if err != nil {
			return p, fmt.Errorf("%q is no address or network: write 192.0.2.7, 10.0.0.0/8 or fd00::/8", item)
		}
		if p != p.Masked() {
			return p, fmt.Errorf("%s is an address within %s: write one of the two", item, p.Masked())
		}
		return p, nil
	})
}

func ports(field func(*Settings) *[]int) func(*Settings, string) error {
	return each(field, func(item string) (int, error) {
		n, err := strconv.ParseUint(item, 10, 16)
		if err != nil || n == 0 {
			return 0, fmt.Errorf("%q is no port", item)
		}
		return int(n), nil
	})
}

func addresses(field func(*Settings) *[]string) func(*Settings, string) error {
	return each(field, func(item string) (string, error) { return item, checkAddress(item) })
}

func address(field func(*Settings) *string) func(*Settings, string) error {
	return func(s *Settings, text string) error {
		*field(s) = text
		if text == "" {
			return nil
		}
		return checkAddress(text)
	}
}

func checkAddress(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return fmt.Errorf("%q is no address: write host:port, such as 127.0.0.1:8025, [::1]:8025 or :8025", text)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > math.MaxUint16 {
		return fmt.Errorf("%q has no port from 0 to 65535", text)
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == '/' }) {
		return fmt.Errorf("%q has no usable host", text)
	}
	return nil
}

// hostname checks what goes into EHLO: a domain, RFC 5321 §4.1.2, or an address literal.
func hostname(s *Settings, text string) error {
	foreign := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-'
	}
	if literal := strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]"); !literal && strings.ContainsFunc(text, foreign) || len(text) > 255 {
		return fmt.Errorf("%q is no host name: letters, digits, hyphens and dots", text)
	}
	s.Hostname = text
	return nil
}

func origins(field func(*Settings) *[]string) func(*Settings, string) error {
	read := each(field, func(item string) (string, error) {
		u, err := url.Parse(item)
		switch {
		case strings.Contains(item, "*"):
			return "", fmt.Errorf("%q: there is no wildcard, name each origin", item)
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Scheme+"://"+u.Host != item:
			return "", fmt.Errorf("%q is no origin: write https://app.example.com, without a path or a slash at its end", item)
		case item != strings.ToLower(item):
			return "", fmt.Errorf("%q: browsers write origins in lower case", item)
		case u.Scheme == "https" && u.Port() == "443", u.Scheme == "http" && u.Port() == "80":
			return "", fmt.Errorf("%q: browsers leave the default port out", item)
		}
		return item, nil
	})
	return func(s *Settings, text string) error {
		if text == "none" {
			*field(s) = nil
			return nil
		}
		return read(s, text)
	}
}

func databaseURL(field func(*Settings) *Secret) func(*Settings, string) error {
	return urlOf(field, "postgres://user:password@host:5432/name", "postgres", "postgresql")
}

// urlOf reads a URL that may hold a password: errors do not repeat it.
func urlOf(field func(*Settings) *Secret, example string, schemes ...string) func(*Settings, string) error {
	return func(s *Settings, text string) error {
		*field(s) = Secret{text}
		if text == "" {
			return nil
		}
		u, err := url.Parse(text)
		if err != nil || !slices.Contains(schemes, u.Scheme) || u.Host == "" && u.Path == "" {
			return fmt.Errorf("it is no URL of the form %s (special characters of a password are written %%40 and so on)", example)
		}
		return nil
	}
}

func httpURL(field func(*Settings) *string) func(*Settings, string) error {
	return func(s *Settings, text string) error {
		*field(s) = text
		if text == "" {
			return nil
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return errors.New("it is no URL: write http://host:port or https://host:port")
		}
		if u.User != nil {
			return errors.New("it holds a user or a password, which would show in logs")
		}
		return nil
	}
}

func jwksURL(s *Settings, text string) error {
	if err := httpURL(func(s *Settings) *string { return &s.JWKSURL })(s, text); err != nil || text == "" {
		return err
	}
	u, err := url.Parse(text)
	if err != nil {
		return err
	}
	addr, _ := netip.ParseAddr(u.Hostname())
	if u.Scheme == "http" && !addr.IsLoopback() && u.Hostname() != "localhost" {
		return errors.New("http is for this host only: write https://")
	}
	return nil
}
