package operation_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/relaytest"
)

// node is a service as a process.
type node struct {
	name, program, data, url string
	env                      []string
	log                      string // the file that its output goes to

	cmd  *exec.Cmd // nil while it does not run
	wait func() error
}

// newNode makes one that does not run yet. It is killed at the end of the test.
func newNode(t *testing.T, name, program, data string, settings ...string) *node {
	t.Helper()
	listen := relaytest.FreeAddress(t)
	dir := t.TempDir()
	n := &node{name: name, program: program, data: data, url: "http://" + listen, log: filepath.Join(dir, "log")}
	n.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir,
		"POSTRIDER_DATA=" + data, "POSTRIDER_HOSTNAME=" + name + ".example.com", "POSTRIDER_LISTEN=" + listen,
		"POSTRIDER_EGRESS_ALLOW=127.0.0.0/8", "POSTRIDER_RATE_LIMIT=off", "POSTRIDER_RATE_LIMIT_API_KEY=off",
	}, settings...)
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", n.name, n.said())
		}
	})
	return n
}

// tool runs one of the program's commands. It gives the exit status and what was printed.
func (n *node) tool(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), n.program, args...)
	c.Env = n.env
	var o, e bytes.Buffer
	c.Stdout, c.Stderr = &o, &e
	if err := c.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Fatal(err)
		}
	}
	return c.ProcessState.ExitCode(), o.String(), e.String()
}

// run is tool for what must succeed.
func (n *node) run(t *testing.T, args ...string) string {
	t.Helper()
	status, out, errs := n.tool(t, args...)
	if status != 0 {
		t.Fatalf("postrider %v: exit status %d: %s%s", args, status, out, errs)
	}
	return out
}

// start starts the service. A shell ends it when this process dies.
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
	guard := exec.Command("/bin/sh", "-c", `read -r order; [ "$order" = leave ] || kill -9 "$1"`, "sh", strconv.Itoa(n.cmd.Process.Pid))
	end, err := guard.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := guard.Start(); err != nil {
		t.Fatal(err)
	}
	cmd := n.cmd
	n.wait = func() error {
		err := cmd.Wait()
		_, _ = io.WriteString(end, "leave\n")
		_ = end.Close()
		_ = guard.Wait() // only its end counts
		return err
	}
}

// ready waits until it takes requests.
func (n *node) ready(t *testing.T) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	within(t, n.name+" is ready", func() bool {
		res, err := client.Get(n.url + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// stop ends it as an operator does.
func (n *node) stop(t *testing.T) {
	t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := n.ended(); status != 0 {
		t.Errorf("%s ended with status %d: %s", n.name, status, n.said())
	}
}

// ended waits for its end and gives the exit status.
func (n *node) ended() int {
	_ = n.wait() // the status tells
	status := n.cmd.ProcessState.ExitCode()
	n.cmd = nil
	return status
}

// kill ends it as a crash of the machine does.
func (n *node) kill() {
	if n.cmd != nil {
		_ = n.cmd.Process.Kill()
		_ = n.wait()
		n.cmd = nil
	}
}

func (n *node) said() string {
	text, _ := os.ReadFile(n.log)
	return string(text)
}

// ask sends one request and reads the answer.
func (n *node) ask(t *testing.T, key, method, path string, body, into any) error {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, n.url+path, sent)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %.300s", res.Status, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// must is ask for what must succeed.
func (n *node) must(t *testing.T, key, method, path string, body, into any) {
	t.Helper()
	if err := n.ask(t, key, method, path, body, into); err != nil {
		t.Fatalf("%s %s: %v\n%s", method, path, err, n.said())
	}
}

// copyKeys gives a node the keys that another one has made, as an operator does.
func copyKeys(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !f.Type().IsRegular() || strings.HasSuffix(f.Name(), ".lock") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(from, f.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, f.Name()), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
