package sasl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// OAuthError is what a server says in its challenge when it refuses a token (RFC 7628 §3.2.2).
type OAuthError struct {
	Status  string // such as "invalid_token"; XOAUTH2 servers give an HTTP status such as "400"
	Scope   string // what the token would have to cover; may be empty
	Schemes string // XOAUTH2 servers say "bearer"; may be empty
}

// Error is one line with the status and, if told, the scope.
func (e *OAuthError) Error() string {
	text := "sasl: the server refused the token"
	if e.Status != "" {
		text += ": status " + e.Status
	}
	if e.Scope != "" {
		text += " (scope " + e.Scope + ")"
	}
	return text
}

// maxWord bounds each piece kept of what a server sent, since it ends in error texts and logs.
const maxWord = 200

// oauth is OAUTHBEARER (RFC 7628) or XOAUTH2: one message with the token; a challenge is always bad news.
type oauth struct {
	name        string
	credentials Credentials
	starts      int
	answered    bool
	refusal     error
}

func (m *oauth) Name() string { return m.name }

func (m *oauth) Start(ctx context.Context) ([]byte, bool, error) {
	m.starts++
	m.answered = false
	m.refusal = nil
	token, err := m.credentials.Token(ctx, m.starts > 1)
	if err != nil {
		return nil, false, fmt.Errorf("sasl: %s: cannot get an access token: %w", m.name, err)
	}
	// RFC 6750 §2.1: b64token. Anything outside printable ASCII could break out of its field.
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, false, fmt.Errorf("sasl: %s: the access token is empty or holds characters that no token has", m.name)
	}
	c := &m.credentials
	if m.name == XOAuth2 {
		return []byte("user=" + c.Username + "\x01auth=Bearer " + token + "\x01\x01"), true, nil
	}
	var b strings.Builder
	b.WriteString("n,") // gs2-cb-flag: no channel binding (RFC 5801 §4)
	identity := c.Identity
	if identity == "" {
		identity = c.Username
	}
	if identity != "" {
		// RFC 5801 §4: saslname.
		b.WriteString("a=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(identity))
	}
	b.WriteString(",\x01")
	if c.Host != "" {
		b.WriteString("host=" + c.Host + "\x01")
	}
	if c.Port != 0 {
		b.WriteString("port=" + strconv.Itoa(c.Port) + "\x01")
	}
	b.WriteString("auth=Bearer " + token + "\x01\x01")
	return []byte(b.String()), true, nil
}

// Next keeps the server's reason and gives the answer that lets the server end the exchange with its 535:
// a lone %x01 (RFC 7628 §3.2.3), or nothing with XOAUTH2.
func (m *oauth) Next(_ context.Context, challenge []byte) ([]byte, error) {
	if m.starts == 0 || m.answered {
		return nil, unexpected(m.name)
	}
	m.answered = true
	m.refusal = parseOAuthError(challenge)
	if m.name == XOAuth2 {
		return nil, nil
	}
	return []byte{1}, nil
}

// Accepted refuses a 235 that follows an error challenge: the server contradicts itself.
func (m *oauth) Accepted() error {
	if m.refusal != nil {
		return fmt.Errorf("sasl: %s: the server refused the token and then reported success: %w", m.name, m.refusal)
	}
	return nil
}

func (m *oauth) Refused() error { return m.refusal }

// parseOAuthError reads the JSON of an error challenge. A challenge that cannot be read is a refusal too.
func parseOAuthError(challenge []byte) error {
	var fields struct {
		Status  json.RawMessage `json:"status"`
		Scope   string          `json:"scope"`
		Schemes string          `json:"schemes"`
	}
	if err := json.Unmarshal(challenge, &fields); err != nil {
		return errors.New("sasl: the server refused the token and gave a reason that cannot be read")
	}
	var status string
	if json.Unmarshal(fields.Status, &status) != nil {
		status = string(fields.Status) // a bare number, against the RFC
	}
	return &OAuthError{Status: word(status), Scope: word(fields.Scope), Schemes: word(fields.Schemes)}
}

// word makes a server's text fit for one line of a log.
func word(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), maxWord)]
}
