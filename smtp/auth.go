package smtp

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/postrider/postrider/smtp/sasl"
)

// maxChallenges bounds an exchange; no mechanism needs more than three.
const maxChallenges = 10

// maxAuthLine bounds the AUTH command with its initial response (RFC 4954 §4).
const maxAuthLine = 12288

// authenticate logs in (RFC 4954).
func (c *Conn) authenticate(ctx context.Context) error {
	auth, err := c.credentials(ctx)
	if err != nil {
		return err
	}
	c.logIn(auth)
	defer c.logIn(nil) // what is secret is not kept
	encrypted := c.tls != nil || c.d.cfg.DangerouslyAllowPlaintextAuth
	mech, err := sasl.Choose(c.ext.mechanisms(), encrypted, auth)
	if err != nil {
		return &Error{Phase: PhaseAuth, Command: "AUTH", Class: ClassRelay, Err: err}
	}
	err = c.exchange(ctx, mech)
	if e, ok := errors.AsType[*Error](err); ok && e.Code == 535 && !c.closed.Load() && sasl.Refreshable(mech) {
		// The token may have ended early. A password is never tried twice:
		// that locks accounts.
		err = c.exchange(ctx, mech)
	}
	if err != nil {
		return err
	}
	c.authMech = mech.Name()
	return nil
}

// credentials are those of the configuration, or what its function gives now.
func (c *Conn) credentials(ctx context.Context) (*sasl.Credentials, error) {
	if c.d.cfg.AuthFunc == nil {
		return c.d.auth, nil
	}
	auth, err := c.d.cfg.AuthFunc(ctx)
	if err == nil && auth == nil {
		err = errors.New("there are no credentials")
	}
	if err == nil {
		auth, err = c.d.complete(auth)
	}
	switch {
	case err == nil:
		return auth, nil
	case c.closed.Load():
		return nil, lossError(PhaseAuth, "AUTH", c.deathCause())
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return nil, e
	}
	return nil, &Error{Phase: PhaseAuth, Command: "AUTH", Class: ClassRelay, Err: err}
}

// logIn notes whose secrets a reply must not repeat.
func (c *Conn) logIn(auth *sasl.Credentials) {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.auth = auth
}

// exchange is one AUTH command to its final reply.
func (c *Conn) exchange(ctx context.Context, mech sasl.Mechanism) error {
	initial, has, err := mech.Start(ctx)
	if err != nil {
		if c.closed.Load() {
			return lossError(PhaseAuth, "AUTH", c.deathCause())
		}
		e := &Error{Phase: PhaseAuth, Command: "AUTH", Class: ClassRelay, Err: err}
		if c.in.auth.Token != nil {
			// Whoever issues tokens is out of order, not this configuration.
			e.Class = ClassTransient
		}
		return e
	}
	command := "AUTH " + mech.Name()
	line, withheld := command, has
	if has {
		response := base64.StdEncoding.EncodeToString(initial)
		if response == "" {
			response = "=" // RFC 4954 §4: an empty initial response
		}
		if len(command)+1+len(response)+2 <= maxAuthLine {
			line, withheld = command+" "+response, false
			command += " " + blotted
		}
	}
	r, err := c.secretCommand(line, command)
	for n := 0; err == nil && r.Code == 334; n++ {
		var response []byte
		if n == maxChallenges {
			return c.cancel(errors.New("the server asks without end"))
		}
		if withheld {
			response, withheld = initial, false
		} else if response, err = c.answer(ctx, mech, r); err != nil {
			return err
		}
		r, err = c.secretCommand(base64.StdEncoding.EncodeToString(response), blotted)
	}
	if err != nil {
		return err
	}
	if !r.IsPositive() {
		return c.authRefused(mech, r)
	}
	if err := mech.Accepted(); err != nil {
		return &Error{Phase: PhaseAuth, Command: "AUTH", Class: ClassRelay, Err: err}
	}
	return nil
}

// answer has the mechanism answer a challenge, or cancels the exchange.
func (c *Conn) answer(ctx context.Context, mech sasl.Mechanism, r Reply) ([]byte, error) {
	challenge, err := base64.StdEncoding.DecodeString(r.Text())
	if err == nil {
		var response []byte
		if response, err = mech.Next(ctx, challenge); err == nil {
			return response, nil
		}
	} else {
		err = errors.New("the server's challenge is not base64")
	}
	return nil, c.cancel(err)
}

// cancel ends an exchange that cannot go on (RFC 4954 §4).
func (c *Conn) cancel(cause error) error {
	if _, err := c.secretCommand("*", "*"); err != nil {
		return err
	}
	return &Error{Phase: PhaseAuth, Command: "AUTH", Class: ClassRelay, Err: cause}
}

// authRefused makes an error of a final reply.
func (c *Conn) authRefused(mech sasl.Mechanism, r Reply) error {
	e := replyError(PhaseAuth, "AUTH", r)
	if e.Class == ClassPermanent {
		e.Class = ClassRelay // it is our settings that are refused
	}
	if cause := mech.Refused(); cause != nil {
		e.Err = errors.Join(e.Err, cause)
	}
	return e
}

// shortSecret is a length under which octets stand in a text by chance.
const shortSecret = 4

// forgetful blots our own secrets out of a final reply to AUTH: a server that
// repeats them must not bring them into errors, logs and traces. The caller
// holds in.mu.
func (c *Conn) forgetful(r Reply) Reply {
	lines := slices.Clone(r.Lines)
	secrets := c.in.said
	if c.in.auth != nil {
		secrets = append(secrets, c.in.auth.Password)
	}
	for _, s := range secrets {
		if len(s) < shortSecret {
			continue
		}
		for i := range lines {
			lines[i] = strings.ReplaceAll(lines[i], s, blotted)
		}
	}
	r.Lines = lines
	return r
}

// secretCommand is command with another line in the trace.
func (c *Conn) secretCommand(line, shown string) (Reply, error) {
	f := c.d.getFlight()
	defer c.d.putFlight(f)
	// The buffer is used again by others.
	defer func() { clear(f.buf[:cap(f.buf)]) }()
	c.traceLine("C", shown)
	if line != shown {
		c.in.mu.Lock()
		c.in.said = append(c.in.said, line[strings.LastIndexByte(line, ' ')+1:])
		c.in.mu.Unlock()
	}
	err := f.put(expectAuth, line)
	if err != nil {
		return Reply{}, &Error{Phase: PhaseAuth, Command: "AUTH", Class: ClassRelay, Err: fmt.Errorf("response of the mechanism: %w", err)}
	}
	c.send(f)
	r, err := c.next()
	if err != nil {
		return Reply{}, lossError(PhaseAuth, "AUTH", err)
	}
	return r, nil
}
