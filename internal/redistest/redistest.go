// Package redistest starts real Redis servers for tests: a private one on a Unix socket
// ([Start]), or a cluster on loopback ports ([StartCluster]), each with a temporary
// directory, nothing saved, and killed at the end of the test. A server can be killed,
// frozen and started again to see what its clients do.
//
// It is test support: only tests import it. It speaks no more of Redis' protocol than it
// needs to see that a server is ready, and knows nothing of the client under test. Where
// redis-server is missing the test is skipped with a text that contains "real server", or
// fails if the environment variable POSTRIDER_TEST_REQUIRE_SERVERS is 1.
package redistest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// requireEnv, set to 1, turns a skip for want of a server into a failure.
	requireEnv = "POSTRIDER_TEST_REQUIRE_SERVERS"
	// startWait bounds the wait for a server. About 0.1 s is usual; the rest is for a
	// machine with too much to do.
	startWait = 30 * time.Second
	// pollEvery is how often a starting server is asked whether it is ready.
	pollEvery = 5 * time.Millisecond
)

// Server is a running redis-server. Its methods fail the test if they cannot do what they
// say, and must be called from the test's goroutine.
type Server struct {
	// Network and Addr are what net.Dial takes: "unix" and the path of a socket, or "tcp"
	// and host:port.
	Network, Addr string

	t    testing.TB
	argv []string
	dir  string

	mu  sync.Mutex
	cmd *exec.Cmd // nil when not running
}

// Start starts a server on a Unix socket, with args after the arguments of the harness.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	dir := serverDir(t)
	socket := filepath.Join(dir, "s")
	return start(t, dir, "unix", socket, append([]string{"--port", "0", "--unixsocket", socket}, args...))
}

// start starts a server in dir and waits until it answers.
func start(t testing.TB, dir, network, addr string, args []string) *Server {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		giveUp(t, "redis-server is not installed; `make test` installs it")
	}
	s := &Server{Network: network, Addr: addr, t: t, dir: dir}
	s.argv = append([]string{program, "--dir", dir, "--save", "", "--appendonly", "no", "--daemonize", "no"}, args...)
	t.Cleanup(s.Kill)
	s.Restart()
	return s
}

// URL is the server's address as Redis clients write it.
func (s *Server) URL() string {
	if s.Network == "unix" {
		return "unix://" + s.Addr
	}
	return "redis://" + s.Addr
}

// Kill ends the server at once, as a crash does, and waits until it is gone. All it held
// is lost. It may be called when the server is not running.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	// The end is by signal: the error says nothing new.
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Restart starts the server again, empty, at its address, and waits until it answers. A
// running server is killed first.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	// A killed server leaves its socket behind.
	if s.Network == "unix" {
		_ = os.Remove(s.Addr)
	}
	out, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
	defer out.Close()
	cmd := exec.Command(s.argv[0], s.argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("redistest: start %s: %v", s.argv[0], err)
	}
	s.mu.Lock()
	s.cmd = cmd
	s.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	for {
		// The first answers of a server that loads or clusters are errors, but answers.
		_, err := s.Do("PING")
		if err == nil {
			return
		}
		if !pause(ctx) {
			s.t.Fatalf("redistest: redis-server does not answer: %v\n%s", err, s.Log())
		}
	}
}

// Freeze stops the server where it stands: connections stay open and nothing answers.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		s.t.Fatal("redistest: the server is not running")
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
}

// Do sends one command on a connection of its own and returns its reply, without the mark
// of its type: the line of a simple one, the content of a string. Words must not contain
// spaces.
func (s *Server) Do(words ...string) (string, error) {
	conn, err := net.DialTimeout(s.Network, s.Addr, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(startWait)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, strings.Join(words, " ")+"\r\n"); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	switch line[0] {
	case '-':
		return "", fmt.Errorf("redis: %s", line[1:])
	case '$':
		var n int
		if _, err := fmt.Sscanf(line, "$%d", &n); err != nil || n < 0 {
			return "", err
		}
		body := make([]byte, n)
		_, err := io.ReadFull(r, body)
		return string(body), err
	}
	return line[1:], nil
}

// Log is what the server has printed.
func (s *Server) Log() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return string(text)
}

// pause waits for pollEvery. It reports false if ctx ended first.
func pause(ctx context.Context) bool {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// serverDir makes a directory with a short name, since a socket's path has 107 octets at
// most, and removes it at the end of the test.
func serverDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "redistest-")
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("redistest: %v", err)
		}
	})
	return dir
}

func giveUp(t testing.TB, why string) {
	t.Helper()
	if os.Getenv(requireEnv) == "1" {
		t.Fatalf("redistest: real server: %s", why)
	}
	t.Skipf("redistest: real server: %s", why)
}
