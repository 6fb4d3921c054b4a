package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/postrider/postrider/bench/contract"
	"github.com/postrider/postrider/bench/report"
	"github.com/postrider/postrider/bench/sinkproc"
)

// runLimit ends a driver that hangs. The longest run, go-mail's 41 messages at
// six round trips of 50 ms, takes 13 s.
const runLimit = 2 * time.Minute

// server is a sink in a process of its own, and where the drivers are.
type server struct {
	*sinkproc.Sink
	bin string
}

// start starts a sink; the caller stops it.
func (b *bench) start(args ...string) (*server, error) {
	s, err := sinkproc.Start(filepath.Join(b.bin, "sink"), filepath.Join(b.bin, "ca.pem"), args...)
	return &server{s, b.bin}, err
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
	if err := s.Reset(ctx); err != nil {
		return report.Run{}, err
	}
	before, err := s.Stats(ctx)
	if err != nil {
		return report.Run{}, err
	}
	r := s.launch(ctx, j)
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	after, err := s.Stats(ctx)
	r.Sink, r.CPU = after.Stats, after.CPU-before.CPU
	return r, err
}

// launch runs a driver and reads its line; what goes wrong is in the result.
func (s *server) launch(ctx context.Context, j job) report.Run {
	r := report.Run{Peer: j.peer.name, Mode: j.mode, Size: j.size, Conns: j.conns, N: j.n}
	addr := s.SMTP
	if j.mode == "tls" {
		addr = s.SMTPS
	}
	args := []string{"-addr", addr, "-n", strconv.Itoa(j.n), "-c", strconv.Itoa(j.conns), "-size", strconv.Itoa(j.size)}
	if j.mode != "plain" {
		args = append(args, "-"+j.mode, "-ca", s.Cert)
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
