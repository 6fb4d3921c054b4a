package sasl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"unicode/utf8"
)

// TokenSource gives an OAuth 2.0 access token (RFC 6750). refresh is true when the server has just refused
// the token given before, so a cached one must not be given again. It is called by Mechanism.Start with that
// call's context. The token must be one line of printable ASCII.
type TokenSource func(ctx context.Context, refresh bool) (string, error)

// Credentials say who logs in and how. Password and Token may both be set; at least one is needed.
// Printing, logging or marshalling Credentials never shows the password or a token.
type Credentials struct {
	// Username is the authentication identity. Needed by every mechanism but OAUTHBEARER.
	Username string
	// Password serves SCRAM, CRAM-MD5, PLAIN and LOGIN. Empty: none of these is used.
	Password string
	// Identity is the authorization identity, whom to act as (RFC 4422 §2). Empty: the same as Username,
	// which is what nearly every relay wants. CRAM-MD5, LOGIN and XOAUTH2 cannot carry one and are passed
	// over when it is set. OAUTHBEARER sends it in the place of Username.
	Identity string
	// Token serves OAUTHBEARER and XOAUTH2. Nil: neither is used.
	Token TokenSource
	// Mechanisms are the only mechanisms to use, the first offered one wins; case does not matter.
	// Nil: any that suits the credentials, in the package's order of preference.
	Mechanisms []string
	// Host and Port are told to the server by OAUTHBEARER (RFC 7628 §3.1). Empty and 0: left out.
	Host string
	Port int
}

// Validate reports every fault of the credentials, joined; nil if there is none. It names fields, never secrets.
func (c *Credentials) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("sasl: "+format, args...)) }
	if c.Password == "" && c.Token == nil {
		fault("credentials have neither a password nor a token source; set one")
	}
	if c.Password != "" && c.Username == "" {
		fault("a password needs a user name; set Username")
	}
	for _, f := range []struct{ name, value string }{
		{"user name", c.Username}, {"password", c.Password}, {"identity", c.Identity}, {"host", c.Host},
	} {
		// RFC 4616 §2: UTF-8 without NUL. The other mechanisms transfer no more than that either.
		if strings.ContainsRune(f.value, 0) {
			fault("the %s holds a NUL octet; remove it", f.name)
		}
		if !utf8.ValidString(f.value) {
			fault("the %s is not UTF-8; convert it", f.name)
		}
	}
	// RFC 7628 §3.1: %x01 separates the fields of a bearer message. No mechanism needs controls in these.
	for _, f := range []struct{ name, value string }{
		{"user name", c.Username}, {"identity", c.Identity}, {"host", c.Host},
	} {
		if strings.ContainsFunc(f.value, func(r rune) bool { return r != 0 && (r < ' ' || r == 0x7f) }) {
			fault("the %s holds a control character; remove it", f.name)
		}
	}
	if c.Port < 0 || c.Port > 65535 {
		fault("port %d is not between 0 and 65535", c.Port)
	}
	for _, m := range c.Mechanisms {
		if !slices.Contains(preference(), canonical(m)) {
			fault("mechanism %q is not known; use some of %s", m, strings.Join(preference(), ", "))
		}
	}
	if len(faults) == 0 && len(c.possible()) == 0 {
		fault("none of the mechanisms %s can use these credentials", strings.Join(c.Mechanisms, ", "))
	}
	return errors.Join(faults...)
}

// String shows the user name and which secrets are present, never the secrets.
func (c Credentials) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "{Username:%q", c.Username)
	if c.Identity != "" {
		fmt.Fprintf(&b, " Identity:%q", c.Identity)
	}
	if c.Password != "" {
		b.WriteString(" Password:[hidden]")
	}
	if c.Token != nil {
		b.WriteString(" Token:[hidden]")
	}
	if len(c.Mechanisms) > 0 {
		fmt.Fprintf(&b, " Mechanisms:%q", c.Mechanisms)
	}
	b.WriteByte('}')
	return b.String()
}

// GoString is String with the type's name; it hides the secrets from %#v.
func (c Credentials) GoString() string { return "sasl.Credentials" + c.String() }

// Format hides the secrets from every verb of package fmt.
func (c Credentials) Format(f fmt.State, verb rune) {
	text := c.String()
	if verb == 'v' && f.Flag('#') {
		text = c.GoString()
	}
	_, _ = f.Write([]byte(text)) // fmt.State never fails
}

// LogValue hides the secrets from package log/slog.
func (c Credentials) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("username", c.Username)}
	if c.Identity != "" {
		attrs = append(attrs, slog.String("identity", c.Identity))
	}
	if len(c.Mechanisms) > 0 {
		attrs = append(attrs, slog.Any("mechanisms", c.Mechanisms))
	}
	return slog.GroupValue(attrs...)
}

// MarshalJSON writes what is not secret: username, identity and mechanisms. The error is always nil.
func (c Credentials) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Username   string   `json:"username"`
		Identity   string   `json:"identity,omitempty"`
		Mechanisms []string `json:"mechanisms,omitempty"`
	}{c.Username, c.Identity, c.Mechanisms})
}

// possible lists the mechanisms that these credentials can serve, in the order to try them.
func (c *Credentials) possible() []string {
	names := preference()
	if c.Mechanisms != nil {
		names = make([]string, 0, len(c.Mechanisms))
		for _, m := range c.Mechanisms {
			names = append(names, canonical(m))
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return !c.serves(name) })
}

// serves says whether the credentials hold what the mechanism needs.
func (c *Credentials) serves(name string) bool {
	password := c.Username != "" && c.Password != ""
	switch name {
	case ScramSHA256, ScramSHA1, Plain:
		return password
	case CramMD5, Login:
		return password && c.Identity == ""
	case OAuthBearer:
		return c.Token != nil
	case XOAuth2:
		return c.Token != nil && c.Username != "" && c.Identity == ""
	}
	return false
}
