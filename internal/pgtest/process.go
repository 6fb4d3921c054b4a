package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// startWait bounds the wait for the server. About 0.2 s is usual; the rest is for a machine with too much to do.
	startWait = 60 * time.Second
	// pollEvery is how often a starting or ending server is looked at.
	pollEvery = 5 * time.Millisecond
	// oldest is the first version of PostgreSQL that has what we use.
	oldest = 15
)

// hold is the shell that holds the server. It ends it when our end of the pipe closes; told so first, it leaves the
// directory for the next start. The signal is given: SIGQUIT is PostgreSQL's immediate shutdown. A server that has just been
// started does not hear it yet, hence the loop.
const hold = `dir=$1
end=$2
shift 2
"$@" &
server=$!
echo $server >"$dir/pid.new" && mv "$dir/pid.new" "$dir/pid"
read -r order
( while kill -$end $server 2>/dev/null; do sleep 0.1; done ) &
ending=$!
wait $server
kill $ending 2>/dev/null
[ "$order" = keep ] || rm -rf "$dir"
`

// process is a running server.
type process struct {
	cmd *exec.Cmd
	end io.WriteCloser // the pipe
}

// run starts the server and waits until it answers.
func (s *Server) run() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return errors.New("already running")
	}
	before := len(s.Log())
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := os.RemoveAll(s.pidFile()); err != nil {
		return err
	}
	cmd := s.owner.command("/bin/sh", "-c", hold, "sh", s.dir, "QUIT", filepath.Join(s.bin, "postgres"), "-D", s.data())
	cmd.Stdout, cmd.Stderr = log, log
	// A session of its own: an interrupt from the terminal is for the test, and the pipe tells of its end.
	cmd.SysProcAttr.Setsid = true
	end, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	s.process = &process{cmd, end}
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	for {
		err := s.exec(ctx, "postgres", "select 1")
		if err == nil {
			return nil
		}
		if pid := s.postmaster(); pid != 0 && !alive(pid) || !pause(ctx) {
			return errors.Join(fmt.Errorf("postgres does not answer: %w\n%s", err, s.Log()[before:]), s.endLocked("keep\n"))
		}
	}
}

// endLocked lets the shell end the server and waits for both.
func (s *Server) endLocked(order string) error {
	if s.process == nil {
		return nil
	}
	p := s.process
	s.process = nil
	_, err := io.WriteString(p.end, order)
	err = errors.Join(err, p.end.Close())
	_ = p.cmd.Wait() // the exit code is that of the shell's last command
	return err
}

func (s *Server) remove() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pooler != nil {
		err = s.pooler.end()
	}
	if s.process == nil { // stopped: no shell removes the directory
		return errors.Join(err, os.RemoveAll(s.dir))
	}
	return errors.Join(err, s.endLocked("\n"))
}

// Running reports whether the server runs, as far as these methods know.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process != nil
}

// Stop shuts the server down as an administrator does in a hurry: sessions are told and cut, all is written.
func (s *Server) Stop(t testing.TB) { s.signal(t, syscall.SIGINT) }

// Kill ends the server as a crash does: nothing is written any more.
func (s *Server) Kill(t testing.TB) { s.signal(t, syscall.SIGKILL) }

// Restart starts the server again at its address. One that runs is stopped first.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if s.Running() {
		s.Stop(t)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	for {
		err := s.run()
		if err == nil {
			return
		}
		// After a crash the server's other processes may take a moment to notice.
		if !strings.Contains(err.Error(), "shared memory block") || !pause(ctx) {
			t.Fatalf("pgtest: %v", err)
		}
	}
}

func (s *Server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	pid := s.postmaster()
	if s.process == nil || pid == 0 {
		t.Fatal("pgtest: the server is not running")
	}
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	for alive(pid) {
		if !pause(ctx) {
			t.Fatalf("pgtest: postgres does not end\n%s", s.Log())
		}
	}
	if err := s.endLocked("keep\n"); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
}

// alive reports whether a process runs: one that has ended and that the shell has not yet asked about does not.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil && !errors.Is(err, os.ErrNotExist)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// postmaster is the number of the server's first process; 0 if it has not been started yet.
func (s *Server) postmaster() int {
	text, err := os.ReadFile(s.pidFile())
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

func (s *Server) pidFile() string { return filepath.Join(s.dir, "pid") }

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

// Log is what the server has printed.
func (s *Server) Log() string {
	text, _ := os.ReadFile(s.log())
	return string(text)
}

// findPrograms returns the directory of the newest PostgreSQL.
func findPrograms() (string, error) {
	// Debian keeps each version apart, and off the path.
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	best, dir := 0, ""
	for _, path := range found {
		version, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		if version >= oldest && version > best {
			best, dir = version, filepath.Dir(path)
		}
	}
	if dir != "" {
		return dir, nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", &missingError{fmt.Sprintf("PostgreSQL %d or newer is not installed; `make test` installs it", oldest)}
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	return filepath.Dir(path), nil
}

// owner is the user that the server runs as.
type owner struct {
	uid, gid int // -1: ours
}

func findOwner() (*owner, error) {
	if os.Geteuid() != 0 {
		return &owner{-1, -1}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		if uidErr == nil && gidErr == nil {
			return &owner{uid, gid}, nil
		}
	}
	return nil, &missingError{"PostgreSQL does not run as root, and there is no user postgres or nobody"}
}

// command is exec.Command as the owner, without our environment.
func (o *owner) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if o.uid >= 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}
	}
	return cmd
}

// memory is where Linux keeps files in memory, and minMemory what must be free there, in octets. A new database is
// some 300 files, which takes a disk a quarter of a second.
const (
	memory    = "/dev/shm"
	minMemory = 2 << 30
)

// tempDir makes a directory that the owner can enter: t.TempDir lies in one that only we can. Its name is short, since
// a socket's path has 107 octets at most.
func (o *owner) tempDir(inMemory bool) (string, error) {
	parent := ""
	if o.uid >= 0 {
		parent = "/tmp"
	}
	var free syscall.Statfs_t
	if inMemory && syscall.Statfs(memory, &free) == nil && int64(free.Bavail)*free.Bsize >= minMemory {
		parent = memory
	}
	dir, err := os.MkdirTemp(parent, "pgtest-")
	if err != nil {
		return "", err
	}
	return dir, o.own(dir)
}

func (o *owner) write(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return o.own(path)
}

func (o *owner) own(path string) error {
	if o.uid < 0 {
		return nil
	}
	return os.Chown(path, o.uid, o.gid)
}

// freePort finds a port below the range from which the system takes client ports, so that a server that restarts finds
// its port free again.
func freePort() (string, error) {
	const low, high = 20000, 32768
	for range 1000 {
		port := strconv.Itoa(low + rand.IntN(high-low))
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return "", errors.New("no free port on 127.0.0.1")
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
