package smtptest

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"sync"

	"github.com/xdg-go/scram"
)

// mechanism is the server's side of a SASL mechanism (RFC 4422).
type mechanism interface {
	// next takes the client's response; given is false at the start of an exchange
	// without initial response. It gives the next challenge, or says that the
	// client is authenticated.
	next(response []byte, given bool) (challenge []byte, done bool, err error)
	// user is the authenticated one.
	user() string
}

// mechanismNames are the mechanisms in the order in which they are offered.
func mechanismNames() []string {
	return []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"}
}

func (d *dialogue) newMechanism(name string) mechanism {
	switch name {
	case "SCRAM-SHA-256":
		return d.srv.scram.conversation(d.srv, scram.SHA256, name)
	case "SCRAM-SHA-1":
		return d.srv.scram.conversation(d.srv, scram.SHA1, name)
	case "CRAM-MD5":
		return &cramMD5{check: check{srv: d.srv}, host: d.cfg.Hostname}
	case "LOGIN":
		return &login{check: check{srv: d.srv}}
	case "OAUTHBEARER":
		return &oauth{check: check{srv: d.srv}, parse: parseOAuthBearer}
	case "XOAUTH2":
		return &oauth{check: check{srv: d.srv}, parse: parseXOAUTH2}
	}
	return &plain{check: check{srv: d.srv}}
}

// check compares secrets and remembers who passed.
type check struct {
	srv  *Server
	name string
}

func (c *check) user() string { return c.name }

// secret passes the user if the secret is the right one.
func (c *check) secret(name, secret string) error {
	want, ok := c.srv.password(name)
	if !ok || subtle.ConstantTimeCompare([]byte(want), []byte(secret)) != 1 {
		return errCredentials
	}
	c.name = name
	return nil
}

// plain is RFC 4616.
type plain struct{ check }

func (m *plain) next(response []byte, given bool) ([]byte, bool, error) {
	if !given {
		return nil, false, nil
	}
	parts := strings.Split(string(response), "\x00")
	if len(parts) != 3 {
		return nil, false, errCredentials
	}
	return nil, true, m.secret(parts[1], parts[2])
}

// login is the mechanism LOGIN, of draft-murchison-sasl-login.
type login struct {
	check
	who     string
	hasUser bool
}

func (m *login) next(response []byte, given bool) ([]byte, bool, error) {
	switch {
	case !given:
		return []byte("Username:"), false, nil
	case !m.hasUser:
		m.who, m.hasUser = string(response), true
		return []byte("Password:"), false, nil
	}
	return nil, true, m.secret(m.who, string(response))
}

// cramMD5 is RFC 2195.
type cramMD5 struct {
	check
	host      string
	challenge string
}

func (m *cramMD5) next(response []byte, given bool) ([]byte, bool, error) {
	if !given {
		m.challenge = "<" + rand.Text() + "@" + m.host + ">"
		return []byte(m.challenge), false, nil
	}
	i := strings.LastIndexByte(string(response), ' ')
	if i < 0 {
		return nil, false, errCredentials
	}
	name, sum := string(response[:i]), string(response[i+1:])
	password, ok := m.srv.password(name)
	h := hmac.New(md5.New, []byte(password))
	h.Write([]byte(m.challenge))
	if want := hex.EncodeToString(h.Sum(nil)); !ok || !hmac.Equal([]byte(want), []byte(sum)) {
		return nil, false, errCredentials
	}
	m.name = name
	return nil, true, nil
}

// oauth is OAUTHBEARER (RFC 7628) or XOAUTH2. A wrong token is told in a
// challenge, which the client answers with something of no meaning; the refusal
// comes then.
type oauth struct {
	check
	parse   func(response string) (user, token string)
	refused bool
}

func (m *oauth) next(response []byte, given bool) ([]byte, bool, error) {
	switch {
	case !given:
		return nil, false, nil
	case m.refused:
		return nil, false, errCredentials
	}
	if m.secret(m.parse(string(response))) != nil {
		m.refused = true
		return []byte(`{"status":"invalid_token","schemes":"bearer"}`), false, nil
	}
	return nil, true, nil
}

// parseOAuthBearer takes "n,a=user,^Ahost=…^Aauth=Bearer token^A^A" apart
// (RFC 7628 §3.1).
func parseOAuthBearer(response string) (user, token string) {
	header, fields, _ := strings.Cut(response, "\x01")
	if parts := strings.Split(header, ","); len(parts) == 3 && strings.HasPrefix(parts[1], "a=") {
		user = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(parts[1][2:])
	}
	return user, bearer(fields)
}

// parseXOAUTH2 takes "user=…^Aauth=Bearer token^A^A" apart.
func parseXOAUTH2(response string) (user, token string) {
	header, fields, _ := strings.Cut(response, "\x01")
	user, _ = strings.CutPrefix(header, "user=")
	return user, bearer(fields)
}

func bearer(fields string) string {
	for field := range strings.SplitSeq(fields, "\x01") {
		scheme, token, found := strings.Cut(field, " ")
		if found && strings.EqualFold(scheme, "auth=Bearer") {
			return strings.TrimSpace(token)
		}
	}
	return ""
}

// scramUsers keeps what SCRAM needs of each user, since deriving it takes
// milliseconds.
type scramUsers struct {
	mu     sync.Mutex
	stored map[scramKey]scram.StoredCredentials
}

type scramKey struct{ mechanism, user, password string }

// The least that RFC 5802 §5.1 and RFC 7677 §4 allow: tests shall be quick.
const scramIterations = 4096

func newScramUsers() *scramUsers {
	return &scramUsers{stored: map[scramKey]scram.StoredCredentials{}}
}

func (u *scramUsers) lookup(srv *Server, h scram.HashGeneratorFcn, mechanism, user string) (scram.StoredCredentials, error) {
	password, ok := srv.password(user)
	if !ok {
		return scram.StoredCredentials{}, errCredentials
	}
	key := scramKey{mechanism, user, password}
	u.mu.Lock()
	defer u.mu.Unlock()
	if c, ok := u.stored[key]; ok {
		return c, nil
	}
	client, err := h.NewClient(user, password, "")
	if err != nil {
		return scram.StoredCredentials{}, err
	}
	c, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: rand.Text(), Iters: scramIterations})
	if err != nil {
		return scram.StoredCredentials{}, err
	}
	u.stored[key] = c
	return c, nil
}

// conversation begins SCRAM (RFC 5802, RFC 7677).
func (u *scramUsers) conversation(srv *Server, h scram.HashGeneratorFcn, name string) mechanism {
	server, err := h.NewServer(func(user string) (scram.StoredCredentials, error) {
		return u.lookup(srv, h, name, user)
	})
	if err != nil {
		return refuseAll{}
	}
	return &scramExchange{conversation: server.NewConversation()}
}

type scramExchange struct {
	conversation *scram.ServerConversation
}

func (m *scramExchange) user() string { return m.conversation.Username() }

func (m *scramExchange) next(response []byte, given bool) ([]byte, bool, error) {
	switch {
	case !given:
		return nil, false, nil
	case m.conversation.Done():
		// The answer to the server's final message, which says nothing.
		if !m.conversation.Valid() {
			return nil, false, errCredentials
		}
		return nil, true, nil
	}
	challenge, err := m.conversation.Step(string(response))
	if err != nil {
		return nil, false, errCredentials
	}
	return []byte(challenge), false, nil
}

// refuseAll stands in for a mechanism that could not be set up.
type refuseAll struct{}

func (refuseAll) user() string { return "" }

func (refuseAll) next([]byte, bool) ([]byte, bool, error) { return nil, false, errCredentials }
