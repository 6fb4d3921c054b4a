package postrider

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/postrider/postrider/smtp"
)

// Relay names an SMTP server and how to talk to it, as a relay URL says it:
//
//	smtp://user:password@mail.example.com:587   STARTTLS, required (RFC 3207); port 587 if left out
//	smtps://user:password@mail.example.com:465  implicit TLS (RFC 8314); port 465 if left out
//	smtp://localhost:25?tls=none                no TLS; port 25 if left out
//
// User and password are percent-encoded as in every URL. Parameters: tls (none,
// tls or ssl) and auth (a comma list of SASL mechanisms that may be used).
//
// No form of printing shows the password: not String, not %v, %+v or %#v, not a
// log attribute.
type Relay struct {
	// Host is a domain name or an IP address without brackets.
	Host string
	// Port is 1 to 65535.
	Port int
	// TLSMode is never empty in a parsed Relay.
	TLSMode smtp.TLSMode
	// Username and Password are decoded; both empty: no authentication.
	Username, Password string
	// Mechanisms restricts the SASL mechanisms; nil: any that fits.
	Mechanisms []string
}

// ParseRelay reads a relay URL. Its error says what is wrong and how to mend
// it, and never repeats the URL, which may hold a password.
func ParseRelay(s string) (Relay, error) {
	fault := func(format string, a ...any) (Relay, error) {
		return Relay{}, fmt.Errorf("postrider: relay URL: "+format, a...)
	}
	if strings.TrimSpace(s) == "" {
		return fault("it is empty; write smtp://user:password@host:587")
	}
	if !strings.Contains(s, "://") {
		return fault("it has no scheme; write smtp://host:587 (STARTTLS), smtps://host:465 (implicit TLS) or smtp://host:25?tls=none")
	}
	u, err := url.Parse(s)
	if err != nil {
		// The text of url.Error repeats its input, password included.
		return fault("it cannot be read; percent-encode special characters in user name and password (@ is %%40, / is %%2F, # is %%23, %% is %%25)")
	}
	r := Relay{Host: u.Hostname()}
	switch strings.ToLower(u.Scheme) {
	case "smtp":
		r.TLSMode = smtp.TLSStartTLS
	case "smtps":
		r.TLSMode = smtp.TLSImplicit
	default:
		return fault("scheme %q is not known; use smtp (STARTTLS, or ?tls=none) or smtps (implicit TLS)", u.Scheme)
	}
	if r.Host == "" {
		return fault("it names no host; write %s://host:%d", u.Scheme, r.TLSMode.DefaultPort())
	}
	if u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return fault("nothing may follow the host but parameters; if the password holds / or #, write %%2F or %%23")
	}
	if err := r.parameters(u); err != nil {
		return Relay{}, err
	}
	r.Port = r.TLSMode.DefaultPort()
	if p := u.Port(); p != "" {
		r.Port, err = strconv.Atoi(p)
		if err != nil || r.Port < 1 || r.Port > 65535 {
			return fault("port %q is not between 1 and 65535", p)
		}
	}
	if u.User != nil {
		r.Username = u.User.Username()
		r.Password, _ = u.User.Password()
		if r.Username == "" && r.Password != "" {
			return fault("it has a password but no user name; write %s://user:password@%s", u.Scheme, r.Host)
		}
	}
	return r, nil
}

func (r *Relay) parameters(u *url.URL) error {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("postrider: relay URL: its parameters cannot be read; write ?tls=none or ?auth=PLAIN")
	}
	for name, values := range q {
		if len(values) != 1 {
			return fmt.Errorf("postrider: relay URL: parameter %q stands more than once", name)
		}
		switch name {
		case "tls":
			if values[0] == "" {
				return errors.New("postrider: relay URL: parameter tls is empty; use none, tls or ssl")
			}
			mode, err := smtp.ParseTLSMode(values[0])
			if err != nil {
				return fmt.Errorf("postrider: relay URL: parameter tls: %w", err)
			}
			if strings.EqualFold(u.Scheme, "smtps") && mode != smtp.TLSImplicit {
				return fmt.Errorf("postrider: relay URL: smtps means implicit TLS and contradicts tls=%s; use smtp://", mode)
			}
			r.TLSMode = mode
		case "auth":
			for m := range strings.SplitSeq(values[0], ",") {
				if m = strings.ToUpper(strings.TrimSpace(m)); m != "" {
					r.Mechanisms = append(r.Mechanisms, m)
				}
			}
			if len(r.Mechanisms) == 0 {
				return errors.New("postrider: relay URL: parameter auth names no mechanism; write auth=PLAIN or leave it out")
			}
		default:
			return fmt.Errorf("postrider: relay URL: parameter %q is not known; there are tls and auth", name)
		}
	}
	return nil
}

// String gives the URL with *** in place of the password.
func (r Relay) String() string {
	u := url.URL{Scheme: "smtp", Host: net.JoinHostPort(r.Host, strconv.Itoa(r.Port))}
	q := url.Values{}
	switch r.TLSMode {
	case smtp.TLSImplicit:
		u.Scheme = "smtps"
	case smtp.TLSNone:
		q.Set("tls", string(smtp.TLSNone))
	}
	if len(r.Mechanisms) > 0 {
		q.Set("auth", strings.Join(r.Mechanisms, ","))
	}
	u.RawQuery = q.Encode()
	s := u.String()
	if r.Username == "" {
		return s
	}
	user := url.User(r.Username).String()
	if r.Password != "" {
		user += ":***"
	}
	return strings.Replace(s, "://", "://"+user+"@", 1)
}

// GoString is String, so that %#v shows no password.
func (r Relay) GoString() string { return r.String() }

// Format prints String for every verb, so that no verb shows the password.
func (r Relay) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(r.String())) }

// LogValue is String, so that no log shows the password.
func (r Relay) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalText gives String: a relay printed as JSON shows no password. The error
// is always nil.
func (r Relay) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// credentials gives what the relay URL and the configuration hold for SASL; nil: none.
func (r Relay) credentials(token smtp.TokenSource) *smtp.Credentials {
	if r.Username == "" && token == nil {
		return nil
	}
	return &smtp.Credentials{
		Username:   r.Username,
		Password:   r.Password,
		Token:      token,
		Mechanisms: slices.Clone(r.Mechanisms),
	}
}
