// Package sink is an SMTP server for measurements: it accepts every message,
// does as little work as it can, counts what it saw and can stand behind an
// emulated round trip time (a delay line).
//
// It is not a server for tests of behavior (smtptest is) and stores nothing.
// The program cmd/sink runs it in a process of its own, so that its CPU time
// and memory are not those of the client that is measured.
//
// It speaks RFC 5321 with PIPELINING (RFC 2920), 8BITMIME (RFC 6152), SMTPUTF8
// (RFC 6531), SIZE (RFC 1870), CHUNKING (RFC 3030), ENHANCEDSTATUSCODES
// (RFC 2034), DSN (RFC 3461), STARTTLS (RFC 3207) and AUTH PLAIN and LOGIN
// (RFC 4954).
package sink

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// Config says what the server offers and how it delays.
type Config struct {
	// Addr is where plain SMTP with STARTTLS is served.
	// Empty means a free port on 127.0.0.1.
	Addr string

	// TLSAddr is where implicit TLS (RFC 8314) is served.
	// Empty means a free port on 127.0.0.1.
	TLSAddr string

	// Omit holds EHLO keywords that are not offered, in any case, for example
	// "PIPELINING". STARTTLS left out is refused, too.
	Omit []string

	// User and Password are what AUTH wants. AUTH is never required.
	User, Password string

	// RTT is the emulated round trip time; 0 means none. See delay.go for what
	// the emulation covers.
	RTT time.Duration

	// Think is how long the server waits before it answers to the content of
	// a message; 0 means not at all. It keeps many transactions in flight at
	// once, which is how the runner gets a pool to open all its connections.
	Think time.Duration
}

// readBuffer is the size of a session's input buffer: large enough that the
// server reads a 50 KB message in one system call and is not what is measured.
const readBuffer = 64 << 10

// maxSize is the SIZE announced (RFC 1870), in bytes; it is not enforced.
const maxSize = 200 << 20

// Server is a running sink. All its methods are safe for concurrent use.
type Server struct {
	cfg     Config
	omit    map[string]bool
	cert    []byte
	tls     *tls.Config
	plain   net.Listener
	secure  net.Listener
	count   counters
	ids     idSet
	wg      sync.WaitGroup
	mu      sync.Mutex
	open    map[net.Conn]struct{}
	closing bool
}

// Listen starts a server. The caller ends it with Close.
func Listen(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, omit: map[string]bool{}, open: map[net.Conn]struct{}{}}
	for _, k := range cfg.Omit {
		s.omit[strings.ToUpper(strings.TrimSpace(k))] = true
	}
	cert, pem, err := selfSigned()
	if err != nil {
		return nil, fmt.Errorf("sink: make a certificate: %w", err)
	}
	s.cert, s.tls = pem, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if s.plain, err = listen(cfg.Addr); err != nil {
		return nil, err
	}
	if s.secure, err = listen(cfg.TLSAddr); err != nil {
		return nil, errors.Join(err, s.plain.Close())
	}
	s.wg.Go(func() { s.serve(s.plain, false) })
	s.wg.Go(func() { s.serve(s.secure, true) })
	return s, nil
}

func listen(addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	return l, nil
}

// Addr is the address of plain SMTP, host and port.
func (s *Server) Addr() string { return s.plain.Addr().String() }

// TLSAddr is the address of implicit TLS, host and port.
func (s *Server) TLSAddr() string { return s.secure.Addr().String() }

// CertPEM is the server's self-signed certificate, which clients are to trust.
func (s *Server) CertPEM() []byte { return s.cert }

// Close stops listening, cuts all sessions and waits for them.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closing = true
	err := errors.Join(s.plain.Close(), s.secure.Close())
	for c := range s.open {
		_ = c.Close() // the session notices; there is nobody else to tell
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

func (s *Server) serve(l net.Listener, implicit bool) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, for one: others may end soon
			time.Sleep(10 * time.Millisecond) //nolint:forbidigo // nothing tells when one is free
			continue
		}
		if s.cfg.RTT > 0 {
			c = newDelayConn(c, s.cfg.RTT, &s.wg)
		}
		if !s.track(c) {
			_ = c.Close() // we are closing
			continue
		}
		s.wg.Go(func() {
			defer s.untrack(c)
			s.session(c, implicit)
		})
	}
}

func (s *Server) track(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.open[c] = struct{}{}
	s.count.conns.Add(1)
	raise(&s.count.maxOpen, int64(len(s.open)))
	return true
}

func (s *Server) untrack(c net.Conn) {
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
	_ = c.Close() // the client is gone or was told goodbye
}
