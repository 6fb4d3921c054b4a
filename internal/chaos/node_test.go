package chaos_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// node is the service as a process.
type node struct {
	program string
	env     []string
	log     string // the file that its output goes to, of all its lives

	cmd   *exec.Cmd // nil while it does not run
	guard *guard
}

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
	n.cmd = exec.Command(n.program, "serve")
	n.cmd.Env, n.cmd.Stdout, n.cmd.Stderr = n.env, log, log
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if n.guard, err = newGuard(n.cmd.Process.Pid); err != nil {
		t.Fatal(err)
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

// tail is the end of the log.
func (n *node) tail() string {
	text, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-6000):])
}

// keepLog copies the log to where a failed test's log can be read afterwards.
func (n *node) keepLog(t *testing.T) {
	if !t.Failed() {
		return
	}
	text, err := os.ReadFile(n.log)
	if err == nil {
		path := filepath.Join(os.TempDir(), "postrider-chaos-"+strconv.FormatInt(time.Now().UnixNano(), 36)+".log")
		err = os.WriteFile(path, text, 0o600)
		t.Logf("the service's log is in %s", path)
	}
	if err != nil {
		t.Log(err)
	}
}

// ready waits until /readyz says yes.
func (n *node) ready(t *testing.T, client *http.Client, url string) {
	t.Helper()
	within(t, "the service is ready", func() bool {
		res, err := client.Get(url + "/readyz")
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}
