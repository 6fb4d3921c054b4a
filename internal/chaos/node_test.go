package chaos_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/relaytest"
)

// node is the service as a process, with lines of its own that can be cut.
type node struct {
	name    string // as it calls itself to relays
	program string
	env     []string
	data    string // the data directory
	log     string // the file that its output goes to, of all its lives
	url     string // where it takes requests
	hosts   string // the file that it sees as /etc/hosts; empty: the machine's
	clock   *clock // nil: the machine's

	pgLines []*relaytest.Proxy // to PostgreSQL, and to its standby; none with SQLite
	line    *relaytest.Proxy   // to the relay

	cmd   *exec.Cmd // nil while it does not run
	guard *guard
}

// runs says whether the process is there, if only stopped.
func (n *node) runs() bool { return n.cmd != nil }

// guard ends a process when this one does, also if that is killed: a shell waits for the end of a pipe from us.
type guard struct {
	cmd *exec.Cmd
	end io.WriteCloser
}

func newGuard(pid int) (*guard, error) {
	c := exec.Command("/bin/sh", "-c", `read -r order; [ "$order" = leave ] || kill -9 "$1"`, "sh", strconv.Itoa(pid))
	end, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &guard{c, end}, c.Start()
}

// leave ends the guard alone.
func (g *guard) leave() {
	_, _ = io.WriteString(g.end, "leave\n")
	_ = g.end.Close()
	_ = g.cmd.Wait() // only its end counts
}

// run runs one of the program's commands and decodes what it prints.
func (n *node) run(t *testing.T, into any, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), n.program, args...)
	c.Env = n.env
	var problem logTail
	c.Stderr = &problem
	out, err := c.Output()
	if err != nil {
		t.Fatalf("postrider %v: %v: %s", args, err, problem)
	}
	if into != nil {
		if err := json.Unmarshal(out, into); err != nil {
			t.Fatalf("postrider %v: %v: %s", args, err, out)
		}
	}
}

// logTail keeps what was written.
type logTail []byte

func (l *logTail) Write(p []byte) (int, error) { *l = append(*l, p...); return len(p), nil }

// start starts the service and does not wait for it.
func (n *node) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	command := []string{n.program, "serve"}
	if n.hosts != "" {
		command = slices.Concat(ownHosts(), []string{n.hosts}, command)
	}
	n.cmd = exec.Command(command[0], command[1:]...)
	n.cmd.Env, n.cmd.Stdout, n.cmd.Stderr = n.env, log, log
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if n.guard, err = newGuard(n.cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
}

// ownHosts is a command that runs another one, named after a file that this one then sees as /etc/hosts: in a mount namespace of
// its own, and in the same process.
func ownHosts() []string {
	flags := "-m"
	if os.Geteuid() != 0 {
		flags = "-rm" // root of a user namespace of its own may mount
	}
	return []string{"unshare", flags, "--", "/bin/sh", "-c", `mount --bind "$1" /etc/hosts && shift && exec "$@"`, "sh"}
}

// needOwnHosts skips the test where a process cannot have hosts of its own.
func needOwnHosts(t *testing.T) {
	t.Helper()
	command := append(ownHosts(), "/etc/hosts", "true")
	if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
		skipServer(t, fmt.Sprintf("a node with an /etc/hosts of its own needs unshare and the right to mount: %v: %s", err, out))
	}
}

// kill is kill -9.
func (n *node) kill(t *testing.T) {
	t.Helper()
	n.signal(t, syscall.SIGKILL)
	_ = n.cmd.Wait() // killed
	n.guard.leave()
	n.cmd, n.guard = nil, nil
}

// stop ends it in good order.
func (n *node) stop(t *testing.T) {
	t.Helper()
	if n.cmd == nil {
		return
	}
	if t.Failed() { // in the middle of a fault, perhaps stopped
		n.kill(t)
		return
	}
	n.signal(t, syscall.SIGTERM)
	ended := time.AfterFunc(patience, func() { _ = n.cmd.Process.Kill() })
	err := n.cmd.Wait()
	ended.Stop()
	n.guard.leave()
	n.cmd, n.guard = nil, nil
	if err != nil {
		t.Errorf("after SIGTERM the service ended with %v", err)
	}
}

func (n *node) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal %v: %v: %s", s, err, n.tail())
	}
}

// tail is the end of the log, without the requests.
func (n *node) tail() string {
	text, err := os.ReadFile(n.log)
	if errors.Is(err, os.ErrNotExist) { // it never ran
		return ""
	}
	if err != nil {
		return err.Error()
	}
	lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return strings.Contains(line, `"msg":"request"`) })
	return strings.Join(lines[max(0, len(lines)-25):], "\n")
}

// keepLog copies the log to where a failed test's log can be read afterwards.
func (n *node) keepLog(t *testing.T) {
	if !t.Failed() {
		return
	}
	text, err := os.ReadFile(n.log)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		path := filepath.Join(os.TempDir(), "postrider-chaos-"+n.name+"-"+strconv.FormatInt(time.Now().UnixNano(), 36)+".log")
		err = os.WriteFile(path, text, 0o600)
		t.Logf("the log of %s is in %s", n.name, path)
	}
	if err != nil {
		t.Log(err)
	}
}

// ready waits until /readyz says yes.
func (n *node) ready(t *testing.T) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	said := ""
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		res, err := client.Get(n.url + "/readyz")
		if err == nil {
			var text []byte
			text, err = io.ReadAll(io.LimitReader(res.Body, 1000))
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
			said = string(text)
		}
		if !pause(ctx, 20*time.Millisecond) {
			t.Fatalf("%s is not ready within %v: %v %s\n%s", n.name, patience, err, said, n.tail())
		}
	}
}
