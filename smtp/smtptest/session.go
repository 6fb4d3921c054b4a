package smtptest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Session is one client's connection, open or over. Its methods are safe for
// concurrent use.
type Session struct {
	srv    *Server
	number int
	raw    net.Conn // below TLS
	opened time.Time
	over   chan struct{} // closed when the session has ended
	gone   chan struct{} // closed when the connection is to be closed
	goneOn sync.Once
	octets atomic.Int64

	wmu  sync.Mutex
	conn net.Conn // raw, or TLS over it; guarded by wmu for writers
	out  []byte   // replies not yet written; guarded by wmu

	mu      sync.Mutex
	facts   facts
	log     []Command
	lint    []Lint
	flights int
	idle    bool // waiting for a command outside a transaction
}

// facts are what a session has learnt about its client.
type facts struct {
	hello         string
	extended      bool
	tls           bool
	state         tls.ConnectionState
	authMechanism string
	user          string
}

// A session keeps so many lint facts: a client that sends nothing but garbage
// must not fill the memory.
const maxLint = 1000

func newSession(srv *Server, number int, c net.Conn) *Session {
	return &Session{
		srv: srv, number: number, raw: c, conn: c, opened: time.Now(),
		over: make(chan struct{}), gone: make(chan struct{}),
	}
}

// Number gives the session's number, from 1 in the order of connecting.
func (x *Session) Number() int { return x.number }

// Opened gives the time of connecting.
func (x *Session) Opened() time.Time { return x.opened }

// RemoteAddr gives the client's address.
func (x *Session) RemoteAddr() net.Addr { return x.raw.RemoteAddr() }

// Hello gives the argument of the last EHLO or HELO that was accepted; extended
// says that it was EHLO.
func (x *Session) Hello() (name string, extended bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.facts.hello, x.facts.extended
}

// TLS gives the state of TLS, with the server name that the client asked for and
// the certificates that it showed; false without TLS.
func (x *Session) TLS() (tls.ConnectionState, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.facts.state, x.facts.tls
}

// User gives the authenticated user and the SASL mechanism; "" if none.
func (x *Session) User() (name, mechanism string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.facts.user, x.facts.authMechanism
}

// Commands gives the commands so far, pseudo commands included.
func (x *Session) Commands() []Command {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.log)
}

// Dialogue gives the commands and replies so far as text, a line each, for the
// message of a failing test.
func (x *Session) Dialogue() string {
	var b strings.Builder
	for _, c := range x.Commands() {
		fmt.Fprintf(&b, "%d %s\n", c.Flight, c)
	}
	return b.String()
}

// Lint gives the client's faults in this session; at most the first 1000.
func (x *Session) Lint() []Lint {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.lint)
}

// Flights gives the number of times that the server, having answered all it had
// read, waited for the client: the client's round trips, the greeting's
// included and TLS handshakes not. What TCP cuts apart may count twice.
func (x *Session) Flights() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.flights
}

// ContentOctets gives the number of content octets received in this session,
// those of a transaction that is under way included.
func (x *Session) ContentOctets() int64 { return x.octets.Load() }

// Idle reports that the server waits for a command and no transaction is begun.
func (x *Session) Idle() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.idle
}

// Closed reports that the session has ended.
func (x *Session) Closed() bool {
	select {
	case <-x.over:
		return true
	default:
		return false
	}
}

// Done gives a channel that is closed when the session has ended.
func (x *Session) Done() <-chan struct{} { return x.over }

// Write sends octets that the client did not ask for, at once, such as
// "421 4.4.2 timeout\r\n" while the session is idle. The error is that of the
// connection.
func (x *Session) Write(octets string) error {
	x.wmu.Lock()
	defer x.wmu.Unlock()
	x.out = append(x.out, octets...)
	return x.flushLocked()
}

// CloseIdle closes the connection, without a word, if the session is Idle.
func (x *Session) CloseIdle() {
	if x.Idle() {
		x.Close()
	}
}

// Close closes the connection at once. It does not wait; Done tells.
func (x *Session) Close() {
	x.goneOn.Do(func() { close(x.gone) })
	_ = x.raw.Close() // only wakes the session, which closes it again
}

// shutdown says goodbye to an idle session. Others see that the server is
// draining when their transaction is over.
func (x *Session) shutdown() {
	if x.Idle() && x.goodbye() {
		// The reader wakes by the deadline and closes in good order.
		_ = x.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// goodbye says 421 to a client, once.
func (x *Session) goodbye() (said bool) {
	x.goneOn.Do(func() {
		close(x.gone)
		_ = x.Write(shuttingDown + "\r\n") // a client that is gone misses nothing
		said = true
	})
	return said
}

const shuttingDown = "421 4.3.2 shutting down"

func (x *Session) markClosed() {
	x.goneOn.Do(func() { close(x.gone) })
	x.setIdle(false)
	close(x.over)
}

func (x *Session) setIdle(idle bool) {
	x.mu.Lock()
	changed := x.idle != idle
	x.idle = idle
	x.mu.Unlock()
	if changed && idle {
		x.srv.notify()
	}
}

// WaitIdle waits until the session is Idle. The error wraps that of ctx, or
// net.ErrClosed if the session has ended.
func (x *Session) WaitIdle(ctx context.Context) error {
	var idle bool
	err := x.srv.wait(ctx, func() bool { idle = x.Idle(); return idle || x.Closed() })
	switch {
	case err != nil:
		return fmt.Errorf("smtptest: session %d is not idle: %w", x.number, err)
	case !idle:
		return fmt.Errorf("smtptest: session %d is not idle: %w", x.number, net.ErrClosed)
	}
	return nil
}

// waited counts a wait for the client that is over.
func (x *Session) waited() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.flights++
}

// flush writes what has gathered.
func (x *Session) flush() error {
	x.wmu.Lock()
	defer x.wmu.Unlock()
	return x.flushLocked()
}

func (x *Session) flushLocked() error {
	if len(x.out) == 0 {
		return nil
	}
	out := x.out
	x.out = x.out[:0]
	if t := x.srv.cfg.Timeout; t > 0 {
		if err := x.conn.SetWriteDeadline(time.Now().Add(t)); err != nil {
			return err
		}
	}
	_, err := x.conn.Write(out)
	return err
}

// queue adds octets to what the next flush writes.
func (x *Session) queue(octets string) {
	x.wmu.Lock()
	defer x.wmu.Unlock()
	x.out = append(x.out, octets...)
}

// setConn goes over to TLS.
func (x *Session) setConn(c net.Conn) {
	x.wmu.Lock()
	defer x.wmu.Unlock()
	x.conn = c
}

// logged adds a command to the log.
func (x *Session) logged(verb, arg string) {
	x.mu.Lock()
	x.log = append(x.log, Command{Session: x.number, Time: time.Now(), Verb: verb, Arg: arg, Flight: x.flights})
	if n := x.srv.cfg.KeepRecords; n != 0 {
		x.log = keep(x.log, max(n, 1))
	}
	x.mu.Unlock()
	x.srv.received(verb)
}

// answered puts the reply into the log.
func (x *Session) answered(r SentReply, scripted bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.log) == 0 {
		return
	}
	last := &x.log[len(x.log)-1]
	last.Reply = r
	last.Scripted = last.Scripted || scripted
	if n := len(x.log); last.Verb == CommandContent && n > 1 && x.log[n-2].Verb == "BDAT" {
		x.log[n-2].Reply = r // of BDAT LAST
	}
}

// fault keeps a lint fact and gives it.
func (x *Session) fault(kind LintKind, detail string) Lint {
	l := Lint{Session: x.number, Kind: kind, Detail: detail}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.lint) < maxLint {
		x.lint = append(x.lint, l)
	}
	return l
}

func (x *Session) learn(f func(*facts)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f(&x.facts)
}
