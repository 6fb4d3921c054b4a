package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// certificateInterval is how often the files are looked at. Who renews certificates does it days ahead.
const certificateInterval = 10 * time.Second

// certificate is the server's, read again when its files change and on SIGHUP.
type certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
	seen              [2]fileState
	told              ageing // what the log says of the certificate in use
}

// ageing is how near a certificate is to its end.
type ageing int

const (
	good ageing = iota
	expiresSoon
	expired
)

// fileState is by what a change shows. Kubernetes changes a link, which Stat follows.
type fileState struct {
	size    int64
	changed time.Time
}

func loadCertificate(certFile, keyFile string) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile}
	return c, c.load()
}

// load reads both files. When that fails, the certificate that is in use stays.
func (c *certificate) load() error {
	seen := c.state() // before reading: a change meanwhile shows the next time
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", c.certFile, c.keyFile, err)
	}
	c.seen = seen
	c.current.Store(&pair)
	c.told = good
	return nil
}

func (c *certificate) state() (s [2]fileState) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			s[i] = fileState{info.Size(), info.ModTime()}
		}
	}
	return s
}

// config is for a server.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

// run reads the files again when they change, or when SIGHUP says so. Without a certificate it only takes SIGHUP, which
// would end the program otherwise.
func (c *certificate) run(ctx context.Context, logger *slog.Logger) error {
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	tick := time.NewTicker(certificateInterval)
	defer tick.Stop()
	var failed [2]fileState // told already
	for {
		if c != nil {
			c.tellAge(logger, time.Now())
		}
		asked := false
		select {
		case <-ctx.Done():
			return nil
		case <-again:
			asked = true
		case <-tick.C:
		}
		if c == nil {
			continue
		}
		state := c.state()
		if !asked && (state == c.seen || state == failed) {
			continue
		}
		if err := c.load(); err != nil {
			failed = state
			logger.Error("the certificate cannot be read again; the old one stays in use", "error", err)
			continue
		}
		logger.Info("certificate read", "expires", c.expiry())
	}
}

// expiry is the end of the certificate in use; zero if it cannot be told.
func (c *certificate) expiry() time.Time {
	pair := c.current.Load()
	if pair == nil || pair.Leaf == nil {
		return time.Time{}
	}
	return pair.Leaf.NotAfter
}

// tellAge says once each that the certificate ends soon and that it has ended: clients refuse it then, and nothing else here
// would show why they stay away. Soon is a week, or a quarter of the life of one that is short-lived.
func (c *certificate) tellAge(logger *slog.Logger, now time.Time) {
	pair := c.current.Load()
	if pair == nil || pair.Leaf == nil {
		return
	}
	end := pair.Leaf.NotAfter
	soon := min(7*24*time.Hour, end.Sub(pair.Leaf.NotBefore)/4)
	switch {
	case now.After(end) && c.told < expired:
		c.told = expired
		logger.Error("the certificate has expired and clients refuse it: renew the files, they are read again by themselves", "file", c.certFile, "expired", end)
	case now.Add(soon).After(end) && c.told < expiresSoon:
		c.told = expiresSoon
		logger.Warn("the certificate expires soon: renew the files, they are read again by themselves", "file", c.certFile, "expires", end)
	}
}
