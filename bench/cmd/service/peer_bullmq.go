package main

import (
	"bytes"
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
	"syscall"
	"time"

	"github.com/postrider/postrider/bench/sinkproc"
)

// helper is a process that a peer consists of.
type helper struct {
	cmd *exec.Cmd
	log *os.File
}

// startHelper starts a program; what it prints goes to a file in dir.
func startHelper(dir, name string, env []string, argv ...string) (*helper, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	h := &helper{exec.Command(argv[0], argv[1:]...), log}
	h.cmd.Dir, h.cmd.Env, h.cmd.Stdout, h.cmd.Stderr = dir, append(os.Environ(), env...), log, log
	if err := h.cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return h, nil
}

func (h *helper) pid() int { return h.cmd.Process.Pid }

// stop asks it to end and waits.
func (h *helper) stop() error {
	err := h.cmd.Process.Signal(syscall.SIGTERM)
	_ = h.cmd.Wait() // most end with the signal, which is an error here
	return errors.Join(err, h.log.Close())
}

// until waits until a helper does what is asked for.
func until(ctx context.Context, h *helper, ready func() error) error {
	var err error
	for begun := time.Now(); time.Since(begun) < 20*time.Second && ctx.Err() == nil; {
		if err = ready(); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // a process of its own tells nobody that it listens
	}
	text, _ := os.ReadFile(h.log.Name())
	return fmt.Errorf("%s was not ready within 20 s: %w: %.1000s", h.cmd.Path, err, text)
}

// listens reports that something takes connections.
func listens(address string) func() error {
	return func() error {
		c, err := net.Dial("tcp", address)
		if err == nil {
			err = c.Close()
		}
		return err
	}
}

// peerLab is what each peer has: a directory and a sink, and what was started.
type peerLab struct {
	dir     string
	sink    *sinkproc.Sink
	helpers []*helper
}

func newPeerLab(b *bencher, base string) (*peerLab, error) {
	p := &peerLab{}
	var err error
	if p.dir, err = os.MkdirTemp(base, "postrider-peer-"); err != nil {
		return nil, err
	}
	if p.sink, err = sinkproc.Start(filepath.Join(b.s.bin, "sink"), filepath.Join(p.dir, "ca.pem")); err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.dir))
	}
	return p, nil
}

func (p *peerLab) start(name string, env []string, argv ...string) (*helper, error) {
	h, err := startHelper(p.dir, name, env, argv...)
	if err == nil {
		p.helpers = append(p.helpers, h)
	}
	return h, err
}

// stop ends all, the last started first.
func (p *peerLab) stop() error {
	var faults []error
	for i := len(p.helpers) - 1; i >= 0; i-- {
		faults = append(faults, p.helpers[i].stop())
	}
	return errors.Join(append(faults, p.sink.Stop(), os.RemoveAll(p.dir))...)
}

// installBull installs the packages named in peers/bullmq, once, and gives their directory.
func installBull(ctx context.Context, b *bencher) (string, error) {
	dir := filepath.Join(filepath.Dir(b.s.bin), "bullmq")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	const lock = "package-lock.json"
	source := filepath.Join(b.s.dir, "peers", "bullmq")
	for _, name := range []string{"app.js", "package.json", lock} {
		text, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", err
		}
		if name == lock {
			if was, err := os.ReadFile(filepath.Join(dir, "node_modules", "installed-"+lock)); err == nil && bytes.Equal(was, text) {
				return dir, nil
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return "", err
		}
	}
	b.say("npm ci")
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "npm", "ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %.2000s", c, err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, lock))
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "node_modules", "installed-"+lock), text, 0o644)
}

// startBull starts Redis, which writes to the disk before it answers, and the two programs.
func startBull(ctx context.Context, b *bencher) (_ *stack, err error) {
	dir, err := installBull(ctx, b)
	if err != nil {
		return nil, err
	}
	p, err := newPeerLab(b, filepath.Dir(b.s.bin))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stop())
		}
	}()
	store, err := freeAddress()
	if err != nil {
		return nil, err
	}
	web, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, storePort, _ := net.SplitHostPort(store)
	_, webPort, _ := net.SplitHostPort(web)
	redis, err := p.start("redis", nil, "redis-server", "--port", storePort, "--bind", "127.0.0.1", "--dir", p.dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always")
	if err != nil {
		return nil, err
	}
	if err := until(ctx, redis, listens(store)); err != nil {
		return nil, err
	}
	env := []string{"REDIS=" + store, "SMTP=" + p.sink.SMTP, "NODE_ENV=production"}
	app := filepath.Join(dir, "app.js")
	api, err := p.start("api", env, "node", app, "api", webPort)
	if err != nil {
		return nil, err
	}
	worker, err := p.start("worker", env, "node", app, "worker")
	if err != nil {
		return nil, err
	}
	c := &caller{url: "http://" + web, client: newClient()}
	if err := until(ctx, api, func() error { return c.ask(ctx, http.MethodGet, "/readyz", nil, nil) }); err != nil {
		return nil, err
	}
	return &stack{
		send: func(prefix string) send {
			return func(ctx context.Context, _ int, n int64) error {
				return c.ask(ctx, http.MethodPost, "/send", bullLetter(prefix+strconv.FormatInt(n, 10)), nil)
			}
		},
		sink:  p.sink,
		users: users{useNode: {api.pid(), worker.pid()}, useDatabase: {redis.pid()}, useSink: {p.sink.PID()}, useLoad: {os.Getpid()}},
		stop: func() error {
			c.client.CloseIdleConnections()
			return p.stop()
		},
	}, nil
}

// bullLetter is the message in the words of nodemailer.
func bullLetter(id string) []byte {
	c := letterOf()
	b, err := json.Marshal(map[string]any{
		"from": c.from, "to": []string{c.to}, "subject": c.subject, "text": c.text, "html": c.html,
		"headers": map[string]string{"X-Bench-Id": id},
	})
	if err != nil {
		panic(err) // strings only
	}
	return b
}
