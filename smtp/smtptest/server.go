package smtptest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Server is a running server. Its methods are safe for concurrent use.
type Server struct {
	cfg    Config
	ca     *authority
	tls    *tls.Config
	scram  *scramUsers
	plain  net.Listener // nil: none
	secure net.Listener // nil: none; accepts TCP, the session does the handshake
	wg     sync.WaitGroup
	done   chan struct{} // closed by Close

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each event; nil while nobody waits
	closed   bool
	draining bool
	rules    []*ruleState
	users    map[string]string
	open     int
	records  records
}

// Start starts a server. It lists all faults of the configuration at once.
// The caller must Close it.
func Start(cfg Config) (*Server, error) {
	s, err := New(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// TB is the part of testing.TB that StartT and NewT need. It keeps package
// testing out of programs that use the server otherwise.
type TB interface {
	Helper()
	Cleanup(f func())
	Error(args ...any)
	Fatal(args ...any)
}

// StartT is Start for a test: a fault ends the test, and the server is closed by
// t.Cleanup.
func StartT(t TB, cfg Config) *Server {
	t.Helper()
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeT(t, s) })
	return s
}

// New makes a server that does not listen: for ServeConn, ServeTLSConn and
// PipeDial, and so for testing/synctest. Make it inside the bubble. The error
// lists all faults of the configuration.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ca, err := newAuthority()
	if err != nil {
		return nil, fmt.Errorf("smtptest: making the certificate authority: %w", err)
	}
	tc, err := serverTLS(&cfg, ca)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, ca: ca, tls: tc, scram: newScramUsers(), done: make(chan struct{}), users: maps.Clone(cfg.Users)}
	for _, r := range cfg.Rules {
		s.rules = append(s.rules, newRuleState(r, true))
	}
	return s, nil
}

// NewT is New for a test, as StartT is Start.
func NewT(t TB, cfg Config) *Server {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeT(t, s) })
	return s
}

func closeT(t TB, s *Server) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func (s *Server) listen() error {
	var err error
	if s.cfg.Addr != "-" {
		if s.plain, err = net.Listen("tcp", s.cfg.Addr); err != nil {
			return fmt.Errorf("smtptest: listening for plain text (Config.Addr): %w", err)
		}
	}
	if s.cfg.TLSAddr != "-" {
		if s.secure, err = net.Listen("tcp", s.cfg.TLSAddr); err != nil {
			return fmt.Errorf("smtptest: listening for implicit TLS (Config.TLSAddr): %w", err)
		}
	}
	if s.plain != nil {
		s.wg.Go(func() { s.accept(s.plain, false) })
	}
	if s.secure != nil {
		s.wg.Go(func() { s.accept(s.secure, true) })
	}
	return nil
}

const acceptPause = 10 * time.Millisecond

func (s *Server) accept(l net.Listener, implicitTLS bool) {
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of file descriptors, or a client that is gone already: the
			// listener stays good. The pause keeps the first from spinning.
			select {
			case <-s.done:
				return
			case <-time.After(acceptPause):
				continue
			}
		}
		s.serve(c, implicitTLS)
	}
}

// ServeConn serves a connection that the caller made, such as one end of a
// net.Pipe. It returns at once; the session runs until one side closes, and
// Close waits for it.
func (s *Server) ServeConn(c net.Conn) { s.serve(c, false) }

// ServeTLSConn is ServeConn with implicit TLS: the client begins with the TLS
// handshake.
func (s *Server) ServeTLSConn(c net.Conn) { s.serve(c, true) }

func (s *Server) serve(c net.Conn, implicitTLS bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = c.Close() // a connection that came too late gets no session
		return
	}
	full := s.cfg.MaxSessions > 0 && s.open >= s.cfg.MaxSessions || s.draining
	s.open++
	s.records.sessionsBegun++
	session := newSession(s, s.records.sessionsBegun, c)
	s.records.sessions = append(s.records.sessions, session)
	s.notifyLocked()
	s.wg.Go(func() {
		newDialogue(session).run(implicitTLS, full)
		s.sessionEnded(session)
	})
}

// PipeDial gives the client's end of a new net.Pipe whose other end is served. It
// has the form of net.Dialer.DialContext; with TLSAddr as the address, or
// port 465, the session begins with TLS. The error is that of ctx, if it has
// ended.
func (s *Server) PipeDial(ctx context.Context, _, address string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	client, server := net.Pipe()
	_, port, _ := net.SplitHostPort(address)
	s.serve(server, port == "465" || address == s.TLSAddr() && address != "")
	return client, nil
}

// Addr gives the address for plain text and STARTTLS as host:port; "" if there
// is no such listener.
func (s *Server) Addr() string { return addrOf(s.plain) }

// TLSAddr gives the address for implicit TLS as host:port; "" if there is no
// such listener.
func (s *Server) TLSAddr() string { return addrOf(s.secure) }

func addrOf(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

// Host gives the host of Addr, or of TLSAddr; "localhost" without a listener.
func (s *Server) Host() string {
	for _, l := range []net.Listener{s.plain, s.secure} {
		if h, _, err := net.SplitHostPort(addrOf(l)); err == nil {
			return h
		}
	}
	return "localhost"
}

// Port gives the port of Addr; 0 if there is no such listener.
func (s *Server) Port() int { return portOf(s.plain) }

// TLSPort gives the port of TLSAddr; 0 if there is no such listener.
func (s *Server) TLSPort() int { return portOf(s.secure) }

func portOf(l net.Listener) int {
	_, p, err := net.SplitHostPort(addrOf(l))
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(p)
	if err != nil {
		return 0
	}
	return n
}

// SetUser adds a user or changes the password, or access token, of one. An empty
// password removes the user.
func (s *Server) SetUser(name, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if password == "" {
		delete(s.users, name)
		return
	}
	s.users[name] = password
}

// password gives a user's password or token.
func (s *Server) password(name string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.users[name]
	return p, ok
}

// CloseIdle closes each connection whose session is waiting for a command
// outside a transaction, without a word, as servers do to idle clients.
func (s *Server) CloseIdle() {
	for _, x := range s.Sessions() {
		x.CloseIdle()
	}
}

// Shutdown stops listening, says 421 4.3.2 to idle sessions, lets transactions
// that have begun finish, and closes the server. When ctx ends first the rest is
// cut off and ctx's error returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	open := slices.Clone(s.records.sessions)
	s.mu.Unlock()
	err := s.closeListeners()
	for _, x := range open {
		x.shutdown()
	}
	waitErr := s.wait(ctx, func() bool { return s.open == 0 })
	if errors.Is(waitErr, net.ErrClosed) {
		waitErr = nil
	}
	return errors.Join(err, waitErr, s.Close())
}

// Close closes the listeners and all connections and waits until every session
// has ended. Closing again does nothing. Records stay readable. The error is
// that of closing a listener.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
		s.notifyLocked()
	}
	open := slices.Clone(s.records.sessions)
	s.mu.Unlock()
	err := s.closeListeners()
	for _, x := range open {
		x.Close()
	}
	s.wg.Wait()
	return err
}

func (s *Server) closeListeners() error {
	var errs []error
	for _, l := range []net.Listener{s.plain, s.secure} {
		if l == nil {
			continue
		}
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}
