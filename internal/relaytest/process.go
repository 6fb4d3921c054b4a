package relaytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// startWait bounds the wait for a server's first greeting. About 0.1 s is
	// usual; the rest is for a machine with too much to do.
	startWait = 30 * time.Second
	// stopWait bounds the wait for an orderly end; then the tree is killed.
	stopWait = 5 * time.Second
	// pollEvery is how often files and processes are looked at while waiting.
	pollEvery = 5 * time.Millisecond
)

// process is a server and all that it forks. Where the system allows it, they
// live in a PID namespace whose first process is a shell that waits for the
// server: when that shell dies, the kernel kills the rest, whatever groups and
// sessions they have made. The shell gets the kernel's notice when the test
// binary is killed; a server loses that notice as it changes users. Without
// namespaces the server's process group is killed.
type process struct {
	argv []string
	env  []string
	out  string // file that takes standard output and standard error
	// overlays are files to bind over others in the namespace: pairs of the
	// file and its target.
	overlays []string

	mu       sync.Mutex
	cmd      *exec.Cmd // nil when not running
	isolated bool
}

// supervise is the first process of the namespace. The second wait is for the
// server's end after a signal has interrupted the first.
const supervise = `while [ "$1" != -- ]; do
	mount --bind "$1" "$2" || exit 1
	shift 2
done
shift
"$@" &
server=$!
trap 'kill -TERM $server' TERM
wait $server
wait $server
`

// start starts the server. It does not wait until the server is ready.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return errors.New("already running")
	}
	cmd, err := p.launch(true)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL) {
		// Containers without CAP_SYS_ADMIN forbid namespaces, some kernels count them.
		cmd, err = p.launch(false)
	}
	if err != nil {
		return err
	}
	p.cmd = cmd
	return nil
}

func (p *process) launch(isolated bool) (*exec.Cmd, error) {
	out, err := os.OpenFile(p.out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	argv := p.argv
	if isolated {
		argv = slices.Concat([]string{"/bin/sh", "-c", supervise, "sh"}, p.overlays, []string{"--"}, p.argv)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = p.env
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if isolated {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
		// Unshare, not clone: Go then makes the mounts private to the child.
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.isolated = isolated
	return cmd, nil
}

// exited reports whether the server has ended by itself. It leaves the exit
// status for stop to collect.
func (p *process) exited() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd == nil || hasExited(p.cmd.Process.Pid)
}

func hasExited(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	// Without an ended child the call succeeds and leaves info zero.
	return err != nil && !errors.Is(err, unix.EINTR) || info.Signo != 0
}

// stop ends the server and waits until all its processes are gone. If orderly
// it asks first and kills after stopWait.
func (p *process) stop(orderly bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	pid := p.cmd.Process.Pid
	if orderly {
		_ = syscall.Kill(pid, syscall.SIGTERM)
		waitUntil(func() bool { return hasExited(pid) })
	}
	// The leader is not collected yet, so its number still names our group only.
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	_ = syscall.Kill(pid, syscall.SIGKILL)
	// The end is by signal: the error says nothing new.
	_ = p.cmd.Wait()
	p.cmd = nil
	if p.isolated {
		// The first process of a namespace ends after all others.
		return
	}
	waitUntil(func() bool { return !groupRuns(pid) })
}

// waitUntil looks again and again until done, at most for stopWait.
func waitUntil(done func() bool) {
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	for !done() && pause(ctx) {
	}
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

// groupRuns reports whether a process of a group is still running. Those that
// ended and wait for the system's init to collect them do not count.
func groupRuns(group int) bool {
	// The only error of Glob is a malformed pattern.
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it ended meanwhile
		}
		// proc(5): pid (name) state ppid pgrp ...; the name may hold anything.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) > 2 && fields[0] != "Z" && fields[0] != "X" && fields[2] == strconv.Itoa(group) {
			return true
		}
	}
	return false
}

// waitGreeting waits until each address answers with a greeting, or for
// implicit TLS accepts a connection.
func (p *process) waitGreeting(ctx context.Context, plain, tlsOnly []string) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for _, addr := range plain {
		if err := p.waitPort(ctx, addr, true); err != nil {
			return err
		}
	}
	for _, addr := range tlsOnly {
		if err := p.waitPort(ctx, addr, false); err != nil {
			return err
		}
	}
	return nil
}

func (p *process) waitPort(ctx context.Context, addr string, greets bool) error {
	for {
		err := greeting(ctx, addr, greets)
		if err == nil {
			return nil
		}
		if p.exited() {
			return errors.New("the server ended by itself")
		}
		if !pause(ctx) {
			return fmt.Errorf("no answer on %s: %w", addr, err)
		}
	}
}

func greeting(ctx context.Context, addr string, greets bool) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if !greets {
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	}
	var line [3]byte
	if _, err := io.ReadFull(c, line[:]); err != nil {
		return err
	}
	if string(line[:]) != "220" {
		return fmt.Errorf("greeting begins with %q", line)
	}
	_, _ = io.WriteString(c, "QUIT\r\n")
	return nil
}

// freePorts returns n loopback addresses on which nothing listens. They lie
// below the range from which the system takes client ports, so that a server
// which restarts finds its port free again.
func freePorts(n int) ([]string, error) {
	const low, high = 20000, 32768
	var addrs []string
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", low+rand.IntN(high-low))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		// Kept open until all are found, so that none is found twice.
		defer l.Close()
		if addrs = append(addrs, addr); len(addrs) == n {
			return addrs, nil
		}
	}
	return nil, errors.New("no free ports on 127.0.0.1")
}

// serverDir makes a directory which users other than root can enter, and
// removes it at the end of the test. t.TempDir cannot be entered by others.
func serverDir(t testing.TB, name string) string {
	t.Helper()
	parent := os.TempDir()
	for dir := parent; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			parent = "/tmp"
			break
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	dir, err := os.MkdirTemp(parent, "relaytest-"+name+"-")
	if err != nil {
		t.Fatalf("relaytest: make directory: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("relaytest: remove directory: %v", err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatalf("relaytest: open directory for other users: %v", err)
	}
	return dir
}

// port returns the port of a host:port address.
func port(addr string) string {
	return addr[strings.LastIndexByte(addr, ':')+1:]
}

// readLog joins the files that exist.
func readLog(files ...string) string {
	var b strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil {
			b.Write(text)
		}
	}
	return b.String()
}

// tail returns the last lines of a log for an error text.
func tail(log string) string {
	lines := strings.Split(strings.TrimRight(log, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
