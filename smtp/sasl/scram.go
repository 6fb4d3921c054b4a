package sasl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

// maxIterations bounds the key derivation that a server may ask for: a million rounds of SHA-256 are some
// tenths of a second, and no known server asks for more than some hundred thousand. Without a bound a hostile
// server could keep a processor busy for an hour.
const maxIterations = 1_000_000

// maxScramMessage bounds what the server sends in one step; real messages have some hundred octets.
const maxScramMessage = 16 << 10

// scramMechanism is RFC 5802 with SHA-1 or, RFC 7677, SHA-256, without channel binding. User name, password and
// identity go through SASLprep (RFC 4013).
type scramMechanism struct {
	name         string
	client       *scram.Client
	conversation *scram.ClientConversation
	step         int
}

func newScram(name string, c *Credentials) (*scramMechanism, error) {
	hash := scram.SHA256
	if name == ScramSHA1 {
		hash = scram.SHA1
	}
	client, err := hash.NewClient(c.Username, c.Password, c.Identity)
	if err != nil {
		// The library's text may quote the user name, which is no secret, but not the password.
		return nil, fmt.Errorf("sasl: %s cannot be used with these credentials (RFC 4013): %w", name, err)
	}
	return &scramMechanism{name: name, client: client}, nil
}

func (m *scramMechanism) Name() string { return m.name }

func (m *scramMechanism) Start(context.Context) ([]byte, bool, error) {
	m.conversation = m.client.NewConversation()
	m.step = 1
	first, err := m.conversation.Step("")
	if err != nil {
		return nil, false, m.fault(err)
	}
	return []byte(first), true, nil
}

func (m *scramMechanism) Next(ctx context.Context, challenge []byte) ([]byte, error) {
	if m.conversation == nil || m.step > 2 {
		return nil, unexpected(m.name)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(challenge) > maxScramMessage {
		return nil, m.fault(fmt.Errorf("the server's message has %d octets, more than %d", len(challenge), maxScramMessage))
	}
	text := string(challenge)
	if m.step == 1 {
		if err := checkServerFirst(text); err != nil {
			return nil, m.fault(err)
		}
	}
	m.step++
	response, err := m.conversation.Step(text)
	if err != nil {
		return nil, m.fault(err)
	}
	return []byte(response), nil
}

// Accepted insists on the server's signature: the 235 alone could come from anyone.
func (m *scramMechanism) Accepted() error {
	if m.conversation == nil || !m.conversation.Valid() {
		return ErrServerNotVerified
	}
	return nil
}

func (*scramMechanism) Refused() error { return nil }

// fault makes one line of err, whose text may quote what the server sent. Nobody asks for its type.
func (m *scramMechanism) fault(err error) error {
	return fmt.Errorf("sasl: %s: %s", m.name, word(err.Error()))
}

// checkServerFirst bounds the iteration count before any key is derived, and refuses an empty salt, with which
// a server could make use of tables computed beforehand. Everything else the library checks.
func checkServerFirst(message string) error {
	fields := strings.Split(message, ",")
	if len(fields) < 3 {
		return errors.New("the server's first message is malformed")
	}
	if fields[1] == "s=" {
		return errors.New("the server's salt is empty")
	}
	count, ok := strings.CutPrefix(fields[2], "i=")
	if !ok {
		return errors.New("the server's first message has no iteration count")
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		return errors.New("the server's iteration count is not a number")
	}
	if n > maxIterations {
		return fmt.Errorf("the server asks for %d iterations, more than %d", n, maxIterations)
	}
	return nil
}
