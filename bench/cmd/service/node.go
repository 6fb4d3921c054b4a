package main

import (
	"bufio"
	"context"
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
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/postrider/postrider/bench/sinkproc"
)

// lab is a service begun anew with what it needs: a data directory, a database, a sink.
type lab struct {
	s       settings
	db      string
	dir     string
	sink    *sinkproc.Sink
	node    *exec.Cmd
	output  *os.File
	stopDB  func() error
	url     string
	ready   time.Duration // from the start of the process to the first 200 of /readyz
	tenant  account
	caller  *caller
	secrets []string // the environment that holds the settings
}

// account is what postrider setup prints.
type account struct {
	TenantID    string `json:"tenant_id"`
	APIKey      string `json:"api_key"`
	OperatorKey string `json:"operator_key"`
}

// launch begins everything; stop ends it, also after an error of its own.
func launch(ctx context.Context, s settings, db string) (_ *lab, err error) {
	l := &lab{s: s, db: db, stopDB: func() error { return nil }}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.stop())
		}
	}()
	// Beside the built programs: /tmp may be in memory, which is not durable.
	if l.dir, err = os.MkdirTemp(filepath.Dir(s.bin), "lab"); err != nil {
		return nil, err
	}
	if l.sink, err = sinkproc.Start(filepath.Join(s.bin, "sink"), filepath.Join(l.dir, "ca.pem")); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	l.url = "http://" + address
	_, port, err := net.SplitHostPort(l.sink.SMTP)
	if err != nil {
		return nil, err
	}
	l.secrets = append(os.Environ(),
		"POSTRIDER_DATA="+filepath.Join(l.dir, "data"),
		"POSTRIDER_LISTEN="+address,
		"POSTRIDER_RATE_LIMIT=off", "POSTRIDER_RATE_LIMIT_API_KEY=off", "POSTRIDER_RATE_LIMIT_OPERATOR=off",
		"POSTRIDER_EGRESS_ALLOW=127.0.0.0/8",
		"POSTRIDER_EGRESS_PORTS="+port,
		"POSTRIDER_LOG_LEVEL=warn",
	)
	if db == "postgresql" {
		database, stop, err := startPostgreSQL(ctx)
		if err != nil {
			return nil, err
		}
		l.stopDB = stop
		l.secrets = append(l.secrets, "POSTRIDER_DATABASE_URL="+database)
	}
	if err := l.setUp(ctx); err != nil {
		return nil, err
	}
	if err := l.serve(ctx); err != nil {
		return nil, err
	}
	l.caller = &caller{url: l.url, key: l.tenant.APIKey, client: newClient()}
	return l, nil
}

func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, MaxConnsPerHost: 256}, Timeout: time.Minute}
}

func freeAddress() (string, error) {
	n, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return n.Addr().String(), n.Close()
}

// setUp makes the first tenant, with postrider setup.
func (l *lab) setUp(ctx context.Context) error {
	if l.db == "postgresql" {
		if out, err := l.program(ctx, "migrate").CombinedOutput(); err != nil {
			return fmt.Errorf("postrider migrate: %w: %s", err, out)
		}
	}
	c := l.program(ctx, "setup", "--tenant", "first", "--email", "admin@example.com", "--json")
	var problem strings.Builder
	c.Stderr = &problem
	out, err := c.Output()
	if err != nil {
		return fmt.Errorf("postrider setup: %w: %s", err, problem.String())
	}
	return json.Unmarshal(out, &l.tenant)
}

func (l *lab) program(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, filepath.Join(l.s.bin, "postrider-service"), args...)
	c.Env = l.secrets
	return c
}

// serve starts the service and waits until it is ready.
func (l *lab) serve(ctx context.Context) error {
	output, err := os.Create(filepath.Join(l.dir, "serve.log"))
	if err != nil {
		return err
	}
	l.output = output
	l.node = l.program(context.WithoutCancel(ctx), "serve")
	l.node.Stdout, l.node.Stderr = output, output
	begun := time.Now()
	if err := l.node.Start(); err != nil {
		return err
	}
	for time.Since(begun) < 20*time.Second {
		if res, err := http.Get(l.url + "/readyz"); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				l.ready = time.Since(begun)
				return nil
			}
		}
		time.Sleep(2 * time.Millisecond) //nolint:forbidigo // a process of its own tells nobody that it listens
	}
	text, _ := os.ReadFile(output.Name())
	return fmt.Errorf("the service was not ready within 20 s: %.2000s", text)
}

// stop ends all and removes what was written.
func (l *lab) stop() error {
	var faults []error
	if l.node != nil && l.node.Process != nil {
		faults = append(faults, l.node.Process.Signal(syscall.SIGTERM), l.node.Wait())
	}
	if l.output != nil {
		faults = append(faults, l.output.Close())
	}
	if l.sink != nil {
		faults = append(faults, l.sink.Stop())
	}
	faults = append(faults, l.stopDB())
	if l.dir != "" {
		faults = append(faults, os.RemoveAll(l.dir))
	}
	return errors.Join(faults...)
}

// relay registers the sink as a relay and gives its id.
func (l *lab) relay(ctx context.Context, c *caller, path, name string) (string, error) {
	host, port, err := net.SplitHostPort(l.sink.SMTP)
	if err != nil {
		return "", err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]any{"name": name, "host": host, "port": number, "tls": "none"})
	if err != nil {
		return "", err
	}
	var made struct{ ID string }
	err = c.ask(ctx, http.MethodPost, path, body, &made)
	return made.ID, err
}

// memory is a figure of the service's process in MB: VmRSS now, VmHWM at most.
func (l *lab) memory(name string) (float64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", l.node.Process.Pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	line := regexp.MustCompile(`^` + name + `:\s+(\d+) kB`)
	for scan := bufio.NewScanner(f); scan.Scan(); {
		if m := line.FindStringSubmatch(scan.Text()); m != nil {
			kb, err := strconv.ParseFloat(m[1], 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("the kernel tells no %s", name)
}

// cpu is the processor time of the service's process so far.
func (l *lab) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", l.node.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil // USER_HZ is 100 on Linux
}
