package delivery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/retry"
	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtppool"
)

// Lane delivers to one relay. Safe for concurrent use; Close it when the relay is let go.
type Lane struct {
	d      *Deliverer
	id     uuid.UUID
	ctx    context.Context // ends when Close can wait no longer
	cancel context.CancelFunc
	drains sync.WaitGroup // pools that were replaced

	mu       sync.Mutex
	closed   bool
	settings settings
	schedule retry.Schedule
	held     func() bool // nil: the relay is ours whatever happens
	line     *line
	fault    error // why line is nil
}

// line is a pool of connections under one state of the relay's settings.
type line struct {
	pool     *smtppool.Pool
	openings openings

	mu     sync.Mutex
	failed error // of the dial that was last told
}

// settings are what connections depend on. Two that are equal share a pool.
type settings struct {
	host, tls, username, helo, ca, sealed string
	port, maxConns, maxMessages           int
	skipVerify                            bool
	sealTenant                            uuid.UUID
}

func settingsOf(row *store.DeliveryRelay) settings {
	return settings{
		host: row.Host, port: row.Port, tls: row.TLS, username: row.Username, helo: row.HELO, ca: row.CACert,
		sealed: string(row.SealedPassword), sealTenant: row.SealTenant, skipVerify: row.DangerouslySkipTLSVerify,
		maxConns: row.Limits.MaxConns, maxMessages: row.Limits.MessagesPerConn,
	}
}

func newLane(d *Deliverer, id uuid.UUID) *Lane {
	l := &Lane{d: d, id: id}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// ID is the relay's.
func (l *Lane) ID() uuid.UUID { return l.id }

// update follows the relay's row.
func (l *Lane) update(ctx context.Context, row store.DeliveryRelay, held func() bool) {
	now := settingsOf(&row)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.schedule, l.held = scheduleOf(row.RetrySchedule), held
	if l.closed || now == l.settings && (l.line != nil || l.fault != nil) {
		return
	}
	if old := l.line; old != nil {
		l.d.cfg.Logger.DebugContext(ctx, "delivery: the relay's settings changed, its connections are replaced", "relay", l.id)
		l.drains.Go(func() { _ = old.pool.Close(l.ctx) }) // ctx's error says only that it was hurried
	}
	l.settings = now
	l.line, l.fault = l.d.newLine(now, l.d.cfg.Logger.With("relay", l.id))
}

// newLine makes a pool that says in the log which relay it is for; the error joins every fault of the settings.
func (d *Deliverer) newLine(s settings, logger *slog.Logger) (*line, error) {
	n := &line{}
	cfg := smtp.Config{
		Host: s.host, Port: s.port, TLSMode: smtp.TLSMode(s.tls), LocalName: s.helo, Timeouts: d.cfg.Timeouts, Dial: d.cfg.Dial,
		DangerouslySkipTLSVerify: s.skipVerify, Trace: n.openings.trace,
	}
	if cfg.LocalName == "" {
		cfg.LocalName = d.cfg.LocalName
	}
	var faults []error
	if s.ca != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(s.ca)) {
			faults = append(faults, errors.New("the relay's CA certificate holds no PEM certificate"))
		}
		cfg.TLSConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if s.username != "" || s.sealed != "" {
		cfg.AuthFunc = func(context.Context) (*smtp.Credentials, error) {
			password, err := d.cfg.Unseal(s.sealTenant, []byte(s.sealed))
			if err != nil {
				return nil, fmt.Errorf("the relay's password cannot be unsealed: %w", err)
			}
			return &smtp.Credentials{Username: s.username, Password: password}, nil
		}
	}
	dialer, err := smtp.NewDialer(cfg)
	if err != nil {
		faults = append(faults, err)
	}
	poolCfg := smtppool.Config{
		MaxConns: s.maxConns, MaxMessages: s.maxMessages, Logger: logger,
		// The relay's circuit and pause are dispatch's business. This is only long enough that
		// messages under way at the same time share one failed dial.
		Backoff: smtppool.Backoff{Min: 250 * time.Millisecond, Max: time.Second, RelayMin: time.Second, RelayMax: 5 * time.Second},
	}
	if err := poolCfg.Validate(); err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	n.pool, err = smtppool.New(dialer, poolCfg)
	return n, err
}

var errLaneClosed = errors.New("delivery: the lane is closed")

// mine is the lane's answer to whether this node may still drain the relay; nil: it always may.
func (l *Lane) mine() func() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

// current gives the line for the next message and the schedule.
func (l *Lane) current() (*line, retry.Schedule, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, l.schedule, errLaneClosed
	}
	return l.line, l.schedule, l.fault
}

// Stats are the numbers of the relay's connections; the zero value if its settings
// cannot work.
func (l *Lane) Stats() smtppool.Stats {
	n, _, err := l.current()
	if err != nil {
		return smtppool.Stats{}
	}
	return n.pool.Stats()
}

// Close takes no further message, waits for the conversations under way until ctx ends, when they are
// interrupted (what may have been accepted is then recorded as unknown), and closes every
// connection. It does not wait for outcomes to be recorded: Deliver does. The error wraps ctx's if it had to
// interrupt. Closing twice is harmless.
func (l *Lane) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	n := l.line
	l.mu.Unlock()
	l.d.forget(l)
	hurry := context.AfterFunc(ctx, l.cancel)
	defer hurry()
	var err error
	if n != nil {
		err = n.pool.Close(ctx)
	}
	l.drains.Wait()
	l.cancel()
	return err
}

// told says whether the failure of a dial has been told before, and notes it.
func (n *line) told(err error) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failed == err { //nolint:errorlint // the very same failure, not one like it
		return true
	}
	n.failed = err
	return false
}
