package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/smtp/smtptest"
)

// smallDisk is a file system of some MiB.
type smallDisk struct{ dir string }

func newSmallDisk(t *testing.T, mib int) *smallDisk {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		if os.Getenv("POSTRIDER_TEST_REQUIRE_SERVERS") == "1" {
			t.Fatalf("real server: no small disk can be made: %v", err)
		}
		t.Skipf("real server: no small disk can be made here, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return &smallDisk{dir}
}

// fill takes room until only so many octets are left.
func (d *smallDisk) fill(t *testing.T, name string, left int64) {
	t.Helper()
	f, err := os.Create(filepath.Join(d.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var size int64
	for {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(d.dir, &fs); err != nil {
			t.Fatal(err)
		}
		free := int64(fs.Bavail)*fs.Bsize - left
		if free <= 0 {
			return
		}
		if err := syscall.Fallocate(int(f.Fd()), 0, size, free); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		} else if err == nil {
			size += free
		}
	}
}

func (d *smallDisk) clear(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(filepath.Join(d.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// gate passes connections on to a server, once it is open. Until then they wait.
type gate struct {
	net.Listener
	open    chan struct{}
	waiting chan struct{} // closed when the first one waits
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{Listener: l, open: make(chan struct{}), waiting: make(chan struct{})}
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		var first sync.Once
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			first.Do(func() { close(g.waiting) })
			all.Go(func() { g.pass(t, in, to) })
		}
	})
	return g
}

func (g *gate) pass(t *testing.T, in net.Conn, to string) {
	defer in.Close()
	<-g.open
	out, err := net.Dial("tcp", to)
	if err != nil {
		t.Error(err)
		return
	}
	defer out.Close()
	var both sync.WaitGroup
	for _, c := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			_, _ = io.Copy(c[0], c[1])
			_ = c[0].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
}

// call is one request with a key and a body of JSON.
func (s *serving) call(method, path, key string, body any) (status int, answer map[string]any) {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	res, err := plainClient().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, answer
}

// until asks again and again.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	timeout := time.NewTimer(2 * time.Minute)
	defer timeout.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-timeout.C:
			t.Fatal("still not: " + what)
		}
	}
}

// TestServiceDiskFull fills the disk of the service while messages are being sent. Nothing that was accepted is lost, nothing
// arrives twice, and when there is room again the service goes on by itself.
func TestServiceDiskFull(t *testing.T) {
	t.Parallel()
	const messages = 500
	disk := newSmallDisk(t, 300) // nothing is accepted below 256 MiB of room
	relay := smtptest.StartT(t, smtptest.Config{})
	g := newGate(t, relay.Addr())
	data := filepath.Join(disk.dir, "data")
	_, port, _ := net.SplitHostPort(g.Addr().String())
	run := func(args ...string) []byte {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "postrider", append(args, "--data", data)...).Output()
		if err != nil {
			t.Fatalf("postrider %s: %v", strings.Join(args, " "), err)
		}
		return out
	}
	var made struct {
		Key string `json:"api_key"`
	}
	if err := json.Unmarshal(run("setup", "--tenant", "acme", "--email", "ann@example.com", "--json"), &made); err != nil {
		t.Fatal(err)
	}
	run("relay", "create", "main", "--tenant", "acme", "--host", "127.0.0.1", "--port", port, "--tls", "none")
	s := serve(t, map[string]string{"DATA": data, "EGRESS_ALLOW": "127.0.0.1", "EGRESS_PORTS": port, "RATE_LIMIT_API_KEY": "off"})
	s.await(`"msg":"ready"`)

	one := func(n int) map[string]any {
		return map[string]any{"from": "ann@example.com", "to": fmt.Sprintf("r%d@example.net", n), "subject": "Hello", "text_body": strings.Repeat("Hello.\n", 100)}
	}
	var batch []map[string]any
	for n := range messages {
		batch = append(batch, one(n))
	}
	if status, answer := s.call(http.MethodPost, "/v1/messages/batch", made.Key, batch); status != http.StatusAccepted {
		t.Fatalf("status %d: %v", status, answer)
	}
	<-g.waiting

	disk.fill(t, "low", 200<<20)
	until(t, "nothing is accepted while there is little room", func() bool {
		status, answer := s.call(http.MethodPost, "/v1/messages", made.Key, one(messages))
		if status == http.StatusServiceUnavailable && answer["code"] != "no_space" {
			t.Fatalf("the answer is %v", answer)
		}
		return status == http.StatusServiceUnavailable
	})
	if status, _ := s.call(http.MethodGet, "/v1/messages", made.Key, nil); status != http.StatusOK {
		t.Errorf("messages cannot be read while there is little room: status %d", status)
	}

	disk.fill(t, "full", 0)
	close(g.open)
	s.await(`an outcome cannot be recorded and is kept`)
	disk.clear(t, "low", "full")

	arrived := map[string]int{}
	until(t, "all messages are sent and recorded", func() bool {
		code, text := status(t, plainClient(), s.url+"/metrics")
		return code == http.StatusOK && regexp.MustCompile(`(?m)^postrider_spool_messages 0$`).MatchString(text)
	})
	for _, x := range relay.Transactions() {
		for _, to := range x.Recipients() {
			arrived[to]++
		}
	}
	for n := range messages {
		if to := fmt.Sprintf("r%d@example.net", n); arrived[to] != 1 {
			t.Errorf("%s arrived %d times", to, arrived[to])
		}
	}
	until(t, "messages are accepted again", func() bool {
		status, _ := s.call(http.MethodPost, "/v1/messages", made.Key, one(messages+1))
		return status == http.StatusAccepted
	})
	if status := s.stop(); status != exitOK {
		t.Errorf("exit status %d:\n%s", status, s.text())
	}
	if text := s.text(); len(text) > 1<<20 {
		t.Errorf("%d octets of log", len(text))
	} else {
		t.Logf("%d lines of log", strings.Count(text, "\n"))
	}
}
