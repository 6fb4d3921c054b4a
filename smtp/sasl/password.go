package sasl

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RFC 2195 names MD5
	"encoding/hex"
	"errors"
	"fmt"
)

// oneSided gives the mechanisms whose server proves nothing their last two methods.
type oneSided struct{}

func (oneSided) Accepted() error { return nil }
func (oneSided) Refused() error  { return nil }

// plain is RFC 4616: message = [authzid] NUL authcid NUL passwd.
type plain struct {
	oneSided
	identity, username, password string
}

func (*plain) Name() string { return Plain }

func (m *plain) Start(context.Context) ([]byte, bool, error) {
	return []byte(m.identity + "\x00" + m.username + "\x00" + m.password), true, nil
}

func (*plain) Next(context.Context, []byte) ([]byte, error) { return nil, unexpected(Plain) }

// login is the mechanism of draft-murchison-sasl-login: two prompts whose text differs between servers.
type login struct {
	oneSided
	username, password     string
	sentUsername, sentPass bool
}

func (*login) Name() string { return Login }

// Start sends no initial response: some servers take one, others lose step over it.
func (m *login) Start(context.Context) ([]byte, bool, error) {
	m.sentUsername, m.sentPass = false, false
	return nil, false, nil
}

// Next goes by the prompt's words where they are clear ("Username:", "User Name", "Password:"), else by order.
// Each secret is given once; a server that asks again is out of step.
func (m *login) Next(_ context.Context, challenge []byte) ([]byte, error) {
	prompt := bytes.ToLower(challenge)
	wantsPass := m.sentUsername
	switch {
	case bytes.Contains(prompt, []byte("pass")):
		wantsPass = true
	case bytes.Contains(prompt, []byte("user")):
		wantsPass = false
	}
	switch {
	case wantsPass && !m.sentPass:
		m.sentPass = true
		return []byte(m.password), nil
	case !wantsPass && !m.sentUsername:
		m.sentUsername = true
		return []byte(m.username), nil
	}
	return nil, unexpected(Login)
}

// maxChallenge bounds a CRAM-MD5 challenge: RFC 2195 §2 makes it a message id, under 1 KiB by far.
const maxChallenge = 4096

// cramMD5 is RFC 2195: user name, space, hex of HMAC-MD5(password, challenge).
type cramMD5 struct {
	oneSided
	username, password string
	answered           bool
}

func (*cramMD5) Name() string { return CramMD5 }

func (m *cramMD5) Start(context.Context) ([]byte, bool, error) {
	m.answered = false
	return nil, false, nil
}

func (m *cramMD5) Next(_ context.Context, challenge []byte) ([]byte, error) {
	if m.answered {
		return nil, unexpected(CramMD5)
	}
	// An empty challenge would make the answer replayable anywhere.
	if len(challenge) == 0 {
		return nil, errors.New("sasl: CRAM-MD5: the server sent an empty challenge")
	}
	if len(challenge) > maxChallenge {
		return nil, fmt.Errorf("sasl: CRAM-MD5: the challenge has %d octets, more than %d", len(challenge), maxChallenge)
	}
	m.answered = true
	mac := hmac.New(md5.New, []byte(m.password))
	mac.Write(challenge)
	return append([]byte(m.username+" "), hex.EncodeToString(mac.Sum(nil))...), nil
}

// unexpected is the error for a challenge after the exchange's last one.
func unexpected(name string) error {
	return fmt.Errorf("sasl: %s: the server sent a challenge that the mechanism does not have", name)
}
