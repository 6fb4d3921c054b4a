package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/bench/sinkproc"
)

// lab is a service begun anew with what it needs: a data directory, a database, a sink. Its nodes are started by serve.
type lab struct {
	b        *bencher
	db       string
	dir      string
	sink     *sinkproc.Sink
	server   *server // nil on SQLite
	stopDB   func() error
	url      string // of the database, empty on SQLite
	nodes    []*node
	tenant   account
	operator *caller
	caller   *caller // the first tenant, asking the first node
	settings []string
}

// account is what postrider setup and postrider tenant create print.
type account struct {
	TenantID    string `json:"tenant_id"`
	APIKey      string `json:"api_key"`
	OperatorKey string `json:"operator_key"`
}

// launch begins everything and starts one node; stop ends it, also after an error of its own.
func launch(ctx context.Context, b *bencher, db string) (*lab, error) {
	l, err := prepare(ctx, b, db)
	if err != nil {
		return nil, err
	}
	if err := l.serve(ctx, 1); err != nil {
		return nil, errors.Join(err, l.stop())
	}
	return l, nil
}

// prepare begins everything but a node.
func prepare(ctx context.Context, b *bencher, db string) (_ *lab, err error) {
	l := &lab{b: b, db: db}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.stop())
		}
	}()
	// Beside the built programs: /tmp may be in memory, which is not durable.
	if l.dir, err = os.MkdirTemp(filepath.Dir(b.s.bin), "lab"); err != nil {
		return nil, err
	}
	if l.sink, err = sinkproc.Start(filepath.Join(b.s.bin, "sink"), filepath.Join(l.dir, "ca.pem")); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(l.sink.SMTP)
	if err != nil {
		return nil, err
	}
	l.settings = append(
		os.Environ(),
		"POSTRIDER_DATA="+filepath.Join(l.dir, "data"),
		"POSTRIDER_RATE_LIMIT=off", "POSTRIDER_RATE_LIMIT_API_KEY=off", "POSTRIDER_RATE_LIMIT_OPERATOR=off",
		"POSTRIDER_EGRESS_ALLOW=127.0.0.0/8",
		"POSTRIDER_EGRESS_PORTS="+port,
		"POSTRIDER_LOG_LEVEL=warn",
	)
	if db == postgresql {
		if l.url, l.server, l.stopDB, err = b.servers.database(ctx); err != nil {
			return nil, err
		}
		l.settings = append(l.settings, "POSTRIDER_DATABASE_URL="+l.url)
		if out, err := l.program(ctx, "migrate").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("postrider migrate: %w: %s", err, out)
		}
	}
	return l, l.ask(ctx, &l.tenant, "setup", "--tenant", "first", "--email", "admin@example.com", "--json")
}

func (l *lab) program(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, filepath.Join(l.b.s.bin, "postrider-service"), args...)
	c.Env = l.settings
	return c
}

// ask runs a command of the program and reads the JSON that it prints.
func (l *lab) ask(ctx context.Context, into any, args ...string) error {
	c := l.program(ctx, args...)
	var problem strings.Builder
	c.Stderr = &problem
	out, err := c.Output()
	if err != nil {
		return fmt.Errorf("postrider %s: %w: %s", args[0], err, problem.String())
	}
	return json.Unmarshal(out, into)
}

// serve starts n nodes at the same time and waits until all are ready.
func (l *lab) serve(ctx context.Context, n int) error {
	for range n {
		started, err := startNode(ctx, l)
		if err != nil {
			return err
		}
		l.nodes = append(l.nodes, started)
	}
	for _, started := range l.nodes {
		if err := started.wait(ctx); err != nil {
			return err
		}
	}
	l.caller = l.as(l.tenant.APIKey, 0)
	l.operator = l.as(l.tenant.OperatorKey, 0)
	return nil
}

// as is someone who asks a node with a key.
func (l *lab) as(key string, node int) *caller {
	return &caller{url: l.nodes[node].url, key: key, client: l.nodes[node].client}
}

// halt ends the nodes.
func (l *lab) halt() error {
	var faults []error
	for _, n := range l.nodes {
		faults = append(faults, n.stop())
	}
	l.nodes = nil
	return errors.Join(faults...)
}

// stop ends all and removes what was written.
func (l *lab) stop() error {
	faults := []error{l.halt()}
	if l.sink != nil {
		faults = append(faults, l.sink.Stop())
	}
	if l.stopDB != nil {
		faults = append(faults, l.stopDB())
	}
	if l.dir != "" {
		faults = append(faults, os.RemoveAll(l.dir))
	}
	return errors.Join(faults...)
}

// users are the processes that take part.
func (l *lab) users() users {
	u := users{useSink: {l.sink.PID()}, useLoad: {os.Getpid()}}
	for _, n := range l.nodes {
		u[useNode] = append(u[useNode], n.cmd.Process.Pid)
	}
	if l.server != nil {
		u[useDatabase] = []int{l.server.pid}
	}
	return u
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

// hold pauses the sending of everything; let lets it go on.
func (l *lab) hold(ctx context.Context) error {
	return l.operator.ask(ctx, http.MethodPost, "/v1/operator/pause", []byte(`{"reason":"measuring"}`), nil)
}

func (l *lab) let(ctx context.Context) error {
	return l.operator.ask(ctx, http.MethodPost, "/v1/operator/resume", nil, nil)
}

// arrived waits until the sink has n messages, and gives how many came twice.
func arrived(ctx context.Context, s *sinkproc.Sink, n int) (twice int64, err error) {
	last, at := int64(-1), time.Now()
	for {
		c, err := s.Stats(ctx)
		if err != nil {
			return 0, err
		}
		switch {
		case c.UniqueIDs > int64(n):
			return 0, fmt.Errorf("%d messages came where %d were sent", c.UniqueIDs, n)
		case c.UniqueIDs == int64(n):
			return c.DupIDs, nil
		case c.UniqueIDs != last:
			last, at = c.UniqueIDs, time.Now()
		case time.Since(at) > 30*time.Second:
			return 0, fmt.Errorf("%d of %d messages have come, and none for 30 s", c.UniqueIDs, n)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// once is arrived for us: nothing may come twice.
func (l *lab) once(ctx context.Context, n int) error {
	twice, err := arrived(ctx, l.sink, n)
	if err == nil && twice > 0 {
		err = fmt.Errorf("%d of %d messages came twice", twice, n)
	}
	return err
}
