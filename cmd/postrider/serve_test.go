package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
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

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/redistest"
)

// serving is postrider serve as a process of its own.
type serving struct {
	*exec.Cmd
	t    *testing.T
	url  string
	mu   sync.Mutex
	log  bytes.Buffer
	line chan string // of the log
	done chan struct{}
}

// serve starts the service with settings as POSTRIDER_* without the prefix, on a free port.
func serve(t *testing.T, settings map[string]string, args ...string) *serving {
	t.Helper()
	s := &serving{Cmd: exec.CommandContext(t.Context(), "postrider", append([]string{"serve"}, args...)...), t: t, line: make(chan string, 10_000), done: make(chan struct{})}
	s.Env = append(os.Environ(), "POSTRIDER_LISTEN=127.0.0.1:0")
	for k, v := range settings {
		s.Env = append(s.Env, "POSTRIDER_"+k+"="+v)
	}
	out, err := s.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			s.mu.Lock()
			s.log.WriteString(lines.Text() + "\n")
			s.mu.Unlock()
			s.line <- lines.Text()
		}
	}()
	listening := s.await(`"msg":"listening","urls":\["([^"]+)"`)
	s.url = listening[1]
	return s
}

func (s *serving) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// await waits for a line of the log, behind those that were waited for before.
func (s *serving) await(pattern string) []string {
	s.t.Helper()
	want := regexp.MustCompile(pattern)
	timeout := time.NewTimer(time.Minute)
	defer timeout.Stop()
	for {
		select {
		case line := <-s.line:
			if m := want.FindStringSubmatch(line); m != nil {
				return m
			}
		case <-timeout.C:
			s.t.Fatalf("no line %s in the log:\n%s", pattern, s.text())
		}
	}
}

// stop ends the service and gives its exit status.
func (s *serving) stop() int {
	s.t.Helper()
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	return s.end()
}

func (s *serving) end() int {
	s.t.Helper()
	<-s.done
	_ = s.Wait() // the status tells
	if text := s.text(); strings.Contains(text, "goroutine ") || strings.Contains(text, "DATA RACE") {
		s.t.Fatalf("it crashed:\n%s", text)
	}
	return s.ProcessState.ExitCode()
}

// status asks for a page without keeping the connection.
func status(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(body)
}

func plainClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
}

// TestGracefulStop ends the service while a request is on its way: it is answered, and the exit status is 0.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string]string{"DATA": t.TempDir()})
	s.await(`"msg":"ready"`)
	address := strings.TrimPrefix(s.url, "http://")
	slow, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	body := `{"tenant":"x","email":"a@example.com","password":"nobody knows it"}`
	// The answer to Expect tells that the handler reads the body.
	fmt.Fprintf(slow, "POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body))
	in := bufio.NewReader(slow)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.await(`"msg":"stopping"`)
	for { // no further connections
		c, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		_ = c.Close()
	}
	fmt.Fprint(slow, body)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("%s", answer.Status)
	}
	if status := s.end(); status != exitOK {
		t.Errorf("exit status %d:\n%s", status, s.text())
	}
}

// TestStopCutsOff: a client that never ends its request does not keep the service from ending.
func TestStopCutsOff(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string]string{"DATA": t.TempDir(), "SHUTDOWN_TIMEOUT": "1ms"})
	s.await(`"msg":"ready"`)
	slow, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	fmt.Fprint(slow, "POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
	if _, err := bufio.NewReader(slow).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if status := s.stop(); status != exitOK || !strings.Contains(s.text(), "requests were cut off") {
		t.Errorf("exit status %d:\n%s", status, s.text())
	}
}

// TestCertificate speaks TLS, and takes a new certificate on SIGHUP; one that cannot be read leaves the old one in use.
func TestCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, certFile, keyFile, 1)
	s := serve(t, map[string]string{"DATA": dir, "TLS_CERT": certFile, "TLS_KEY": keyFile})
	s.await(`"msg":"ready"`)
	if !strings.HasPrefix(s.url, "https://") {
		t.Errorf("%s", s.url)
	}
	serial := func() int64 {
		dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}}
		c, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		state := c.(*tls.Conn).ConnectionState()
		if state.NegotiatedProtocol != "h2" {
			t.Error("HTTP/2 is not spoken")
		}
		return state.PeerCertificates[0].SerialNumber.Int64()
	}
	hangUp := func() {
		if err := s.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	if n := serial(); n != 1 {
		t.Errorf("certificate %d", n)
	}
	writeCertificate(t, certFile, keyFile, 2)
	hangUp()
	s.await(`"msg":"certificate read"`)
	if n := serial(); n != 2 {
		t.Errorf("certificate %d", n)
	}
	if err := os.WriteFile(keyFile, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	hangUp()
	s.await(`the certificate cannot be read again; the old one stays in use`)
	if n := serial(); n != 2 {
		t.Errorf("certificate %d", n)
	}
	if status := s.stop(); status != exitOK || strings.Count(s.text(), "the certificate expires soon") != 2 {
		t.Errorf("exit status %d, two certificates of an hour each, and the log says\n%s", status, s.text())
	}
}

func writeCertificate(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHangUp: SIGHUP ends no service, with or without a certificate.
func TestHangUp(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string]string{"DATA": t.TempDir()})
	s.await(`"msg":"ready"`)
	if err := s.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if code, body := status(t, plainClient(), s.url+"/readyz"); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
	if status := s.stop(); status != exitOK {
		t.Errorf("exit status %d", status)
	}
}

// TestDatabaseComesLater starts before PostgreSQL does: the service answers, is not ready, and becomes so by itself;
// likewise when PostgreSQL restarts. A second node shares database and Redis.
func TestDatabaseComesLater(t *testing.T) {
	t.Parallel()
	server, redis := pgtest.Start(t, pgtest.Config{NoSync: true}), redistest.Start(t)
	settings := databaseURLs(t, server)
	dir := t.TempDir()
	given := map[string]string{"DATA": dir, "REDIS_URL": redis.URL(), "RATE_LIMIT_API_KEY": "5/1h"}
	setup := exec.CommandContext(t.Context(), "postrider", "setup", "--tenant", "acme", "--email", "a@example.com", "--json")
	setup.Env = append(os.Environ(), "POSTRIDER_DATA="+dir)
	for k, v := range settings {
		setup.Env = append(setup.Env, k+"="+v)
		given[strings.TrimPrefix(k, "POSTRIDER_")] = v
	}
	made, err := setup.Output()
	if err != nil {
		t.Fatal(err)
	}
	var account struct {
		APIKey string `json:"api_key"`
	}
	if err := json.Unmarshal(made, &account); err != nil {
		t.Fatal(err)
	}
	server.Stop(t)
	one := serve(t, given)
	one.await("the database does not answer; waiting for it")
	client := plainClient()
	for page, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable, "/v1/me": http.StatusServiceUnavailable} {
		if code, body := status(t, client, one.url+page); code != want {
			t.Errorf("%s: %d %s", page, code, body)
		}
	}
	server.Restart(t)
	one.await(`"msg":"ready"`)
	two := serve(t, given)
	two.await(`"msg":"ready"`)

	me := func(s *serving) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/me", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+account.APIKey)
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.StatusCode
	}
	var codes []int
	for range 3 {
		codes = append(codes, me(one), me(two))
	}
	// A machine so busy that Redis takes more than its 100 ms lets a node count for itself, and say so.
	slow := strings.Contains(one.text()+two.text(), "Redis does not answer")
	if want := []int{200, 200, 200, 200, 200, 429}; fmt.Sprint(codes) != fmt.Sprint(want) && !slow {
		t.Errorf("two nodes that share Redis answered %v, want %v", codes, want)
	}
	redis.Kill()
	if code := me(two); code != http.StatusOK { // it counts for itself now, three of its own so far
		t.Errorf("without Redis: %d", code)
	}
	server.Stop(t)
	if code, body := status(t, client, one.url+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "database") {
		t.Errorf("without PostgreSQL: %d %s", code, body)
	}
	server.Restart(t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for code := 0; code != http.StatusOK; <-tick.C {
		code, _ = status(t, client, one.url+"/readyz")
	}
	for _, s := range []*serving{one, two} {
		if status := s.stop(); status != exitOK {
			t.Errorf("exit status %d:\n%s", status, s.text())
		}
	}
}

// TestStopsWhileWaiting: a service that waits for its database ends in order too.
func TestStopsWhileWaiting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"setup", "serve"} { // keys
		c := exec.CommandContext(t.Context(), "postrider", name, "--data", dir, "--check-config")
		if name == "setup" {
			c = exec.CommandContext(t.Context(), "postrider", "setup", "--data", dir, "--tenant", "x", "--email", "x@example.com")
		}
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	// Nobody listens on a port that was just given back.
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	s := serve(t, map[string]string{"DATA": dir, "DATABASE_URL": "postgres://u:p@" + address + "/d"})
	s.await("waiting for it")
	if status := s.stop(); status != exitOK {
		t.Errorf("exit status %d:\n%s", status, s.text())
	}
}
