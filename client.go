package postrider

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"

	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/retry"
	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtppool"
)

// Config holds the settings of a Client beside its relay URL. The zero value
// and nil are good defaults. It is copied by New.
type Config struct {
	// LocalName is the name given in EHLO (RFC 5321 §4.1.1.1). Empty: the host's
	// name if it is fully qualified, else the address literal of the connection's local end.
	LocalName string
	// TLSConfig holds own CAs (RootCAs) and a client certificate (Certificates). It is
	// cloned; TLS below 1.2 is never spoken. Nil: the system's CAs.
	TLSConfig *tls.Config
	// Token gives OAuth access tokens for XOAUTH2 and OAUTHBEARER, used instead of
	// a password; the user name comes from the relay URL. It is asked again once,
	// with refresh set, when the relay refuses a token. Nil: password, or no authentication.
	Token func(ctx context.Context, refresh bool) (string, error)
	// Timeouts bound each phase; a zero field takes the default of RFC 5321 §4.5.3.2.
	Timeouts smtp.Timeouts
	// Strict never puts content at risk on a connection that may be closing: after
	// a second of idleness the envelope goes first and content follows the first
	// reply, at the cost of a round trip.
	Strict bool
	// Pool bounds the connections: zero fields are defaults (10 connections, 300 s
	// idle, 3600 s of age, 100 messages each).
	Pool smtppool.Config
	// Retry says when to try again after transient failures; nil: retry.Default
	// (1 s, 5 s, 30 s, then stop). &retry.Schedule{} never tries again.
	Retry *retry.Schedule
	// RetryUnknown allows one further attempt after an outcome that is not known,
	// on the schedule of Retry. The recipient may then get two copies; never three.
	RetryUnknown bool
	// Compose holds limits and the form of composed messages; its zero value is
	// the documented limits and 7-bit clean output.
	Compose mail.ComposeOptions
	// Sign is applied to each composed message before it is sent, as (*dkim.Signer).Sign
	// does; nil: none.
	Sign func(*mail.Composed) (*mail.Composed, error)
	// Dial opens connections; nil: net.Dialer. For proxies, tunnels and tests.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Trace receives each line of every SMTP dialogue, secrets blotted out; nil: none.
	// It is called from several goroutines and must return quickly.
	Trace func(smtp.TraceLine)
	// Logger receives what the pool finds worth saying; nil: nothing is logged.
	Logger *slog.Logger
	// DangerouslyAllowPlaintextAuth sends passwords over unencrypted connections.
	DangerouslyAllowPlaintextAuth bool
	// DangerouslySkipTLSVerify accepts any certificate: anybody on the way can read
	// the mail and the password.
	DangerouslySkipTLSVerify bool
}

// Client sends messages through one relay as one user. It is safe for
// concurrent use; make one and keep it. Close it when done.
type Client struct {
	relay        Relay
	dialer       *smtp.Dialer
	pool         *smtppool.Pool
	schedule     retry.Schedule
	retryUnknown bool
	compose      mail.ComposeOptions
	sign         func(*mail.Composed) (*mail.Composed, error)
	ownBuffers   bool      // compose lends memory that nobody else sees
	deliveries   sync.Pool // *delivery
}

// New checks the relay URL (see Relay) and the settings and gives a Client for
// them. It opens no connection: the first Send or Check does. The error names
// every fault at once and holds no secret.
func New(relayURL string, cfg *Config) (*Client, error) {
	relay, err := ParseRelay(relayURL)
	if err != nil {
		return nil, err
	}
	return NewRelay(relay, cfg)
}

// NewRelay is New for a relay that is not written as a URL, all fields of which
// must be set but user and password. Errors are those of New.
func NewRelay(relay Relay, cfg *Config) (*Client, error) {
	if cfg == nil {
		cfg = &Config{}
	}
	c := &Client{
		relay:        relay,
		schedule:     retry.Default(),
		retryUnknown: cfg.RetryUnknown,
		compose:      cfg.Compose,
		sign:         cfg.Sign,
	}
	if cfg.Retry != nil {
		c.schedule = *cfg.Retry
	}
	if c.compose.Buffers == nil && c.sign == nil {
		// Nobody but this client sees the composed message, so its memory can
		// be used again. A Sign might keep what it is given.
		c.compose.Buffers, c.ownBuffers = &mail.Buffers{}, true
	}
	poolConfig := cfg.Pool
	if poolConfig.Logger == nil {
		poolConfig.Logger = cfg.Logger
	}
	var dialerErr, poolErr error
	c.dialer, dialerErr = smtp.NewDialer(smtp.Config{
		Host:                          relay.Host,
		Port:                          relay.Port,
		TLSMode:                       relay.TLSMode,
		LocalName:                     cfg.LocalName,
		TLSConfig:                     cfg.TLSConfig,
		Auth:                          relay.credentials(cfg.Token),
		Timeouts:                      cfg.Timeouts,
		Dial:                          cfg.Dial,
		Strict:                        cfg.Strict,
		Trace:                         cfg.Trace,
		DangerouslyAllowPlaintextAuth: cfg.DangerouslyAllowPlaintextAuth,
		DangerouslySkipTLSVerify:      cfg.DangerouslySkipTLSVerify,
	})
	if dialerErr == nil {
		c.pool, poolErr = smtppool.New(c.dialer, poolConfig)
	}
	if err := errors.Join(dialerErr, poolErr, c.schedule.Validate()); err != nil {
		if c.pool != nil {
			// The pool has no connection yet: there is nothing to wait for.
			_ = c.pool.Close(context.Background())
		}
		return nil, err
	}
	return c, nil
}

// Relay tells where the client sends.
func (c *Client) Relay() Relay { return c.relay }

// Stats counts the client's connections.
func (c *Client) Stats() smtppool.Stats { return c.pool.Stats() }

// Close refuses new messages, waits for those under way until ctx ends (then
// interrupts them), says QUIT on idle connections, and leaves no goroutine.
func (c *Client) Close(ctx context.Context) error { return c.pool.Close(ctx) }
