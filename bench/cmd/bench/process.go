package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/postrider/postrider/bench/contract"
	"github.com/postrider/postrider/bench/report"
	"github.com/postrider/postrider/bench/sink"
)

// runLimit ends a driver that hangs. The longest run, go-mail's 41 messages at
// six round trips of 50 ms, takes 13 s.
const runLimit = 2 * time.Minute

// server is a sink in a process of its own.
type server struct {
	bin   string // where the drivers are
	cmd   *exec.Cmd
	stdin io.Closer // its end ends the sink
	cert  string
	addr  struct{ SMTP, SMTPS, HTTP string }
}

// start starts a sink; the caller stops it.
func (b *bench) start(args ...string) (*server, error) {
	s := &server{bin: b.bin, cert: filepath.Join(b.bin, "ca.pem")}
	s.cmd = exec.Command(filepath.Join(b.bin, "sink"), append([]string{"-stdin", "-cert", s.cert}, args...)...)
	s.cmd.Stderr = os.Stderr
	in, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	s.stdin = in
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &s.addr)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the sink did not start: %w", err), s.stop())
	}
	return s, nil
}

func (s *server) stop() error {
	_ = s.stdin.Close() // it is the signal; a sink that died before has no pipe
	return s.cmd.Wait()
}

// counts are the sink's counts and its CPU time since its start.
type counts struct {
	sink.Stats
	CPU float64 `json:"cpu_s"`
}

func (s *server) stats(ctx context.Context) (counts, error) {
	var c counts
	body, err := s.ask(ctx, http.MethodGet, "/stats")
	if err == nil {
		err = json.Unmarshal(body, &c)
	}
	return c, err
}

func (s *server) ask(ctx context.Context, method, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.addr.HTTP+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

// job is one run of a driver.
type job struct {
	peer  peer
	mode  string // "plain", "starttls", "tls"
	n     int
	conns int
	size  int
	auth  bool
	extra []string
}

// drive runs a driver alone against a sink that counts from zero.
func (s *server) drive(ctx context.Context, j job) (report.Run, error) {
	if _, err := s.ask(ctx, http.MethodPost, "/reset"); err != nil {
		return report.Run{}, err
	}
	before, err := s.stats(ctx)
	if err != nil {
		return report.Run{}, err
	}
	r := s.launch(ctx, j)
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	after, err := s.stats(ctx)
	r.Sink, r.CPU = after.Stats, after.CPU-before.CPU
	return r, err
}

// launch runs a driver and reads its line; what goes wrong is in the result.
func (s *server) launch(ctx context.Context, j job) report.Run {
	r := report.Run{Peer: j.peer.name, Mode: j.mode, Size: j.size, Conns: j.conns, N: j.n}
	addr := s.addr.SMTP
	if j.mode == "tls" {
		addr = s.addr.SMTPS
	}
	args := []string{"-addr", addr, "-n", strconv.Itoa(j.n), "-c", strconv.Itoa(j.conns), "-size", strconv.Itoa(j.size)}
	if j.mode != "plain" {
		args = append(args, "-"+j.mode, "-ca", s.cert)
	}
	if j.auth {
		args = append(args, "-user", contract.User, "-pass", contract.Password)
	}
	if j.peer.mode != "" {
		args = append(args, "-mode", j.peer.mode)
	}
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	var stderr bytes.Buffer
	c := exec.CommandContext(ctx, filepath.Join(s.bin, j.peer.driver), append(args, j.extra...)...)
	c.Stderr = &stderr
	out, err := c.Output()
	if err == nil {
		err = json.Unmarshal(out, &r.Driver)
	}
	if err != nil {
		text := stderr.String()
		r.Driver = contract.Result{Failed: j.n, Errors: []string{fmt.Sprintf("the driver failed: %v %.300s", err, text)}}
	}
	return r
}

// recorder writes the raw results of a part.
type recorder struct {
	f   *os.File
	enc *json.Encoder
}

func (b *bench) record(part string) (*recorder, error) {
	f, err := os.Create(report.Path(b.out, part))
	if err != nil {
		return nil, err
	}
	r := &recorder{f, json.NewEncoder(f)}
	return r, r.enc.Encode(b.begin(part))
}

func (r *recorder) add(run report.Run) error { return r.enc.Encode(run) }

func (r *recorder) close() error { return r.f.Close() }
