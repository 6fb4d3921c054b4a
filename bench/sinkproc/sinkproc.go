// Package sinkproc starts the sink (cmd/sink) as a process of its own, so that its CPU
// time and memory are not those of what is measured, and asks it over HTTP what it saw.
// The runners cmd/bench and cmd/service call it.
package sinkproc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"

	"github.com/postrider/postrider/bench/sink"
)

// Sink is a sink in a process of its own.
type Sink struct {
	SMTP, SMTPS string // its addresses: plain with STARTTLS, implicit TLS
	Cert        string // the PEM file with the certificate to trust

	http  string
	cmd   *exec.Cmd
	stdin io.Closer // its end ends the sink
}

// Start starts the program with arguments besides those that it needs anyway. It writes
// its certificate to the file cert. The caller stops it.
func Start(program, cert string, args ...string) (*Sink, error) {
	s := &Sink{Cert: cert, cmd: exec.Command(program, append([]string{"-stdin", "-cert", cert}, args...)...)}
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
	var at struct{ SMTP, SMTPS, HTTP string }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &at)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the sink did not start: %w", err), s.Stop())
	}
	s.SMTP, s.SMTPS, s.http = at.SMTP, at.SMTPS, at.HTTP
	return s, nil
}

// Stop ends the sink and waits for it.
func (s *Sink) Stop() error {
	_ = s.stdin.Close() // it is the signal; a sink that died before has no pipe
	return s.cmd.Wait()
}

// PID is the number of its process.
func (s *Sink) PID() int { return s.cmd.Process.Pid }

// Counts are the sink's counts and its CPU time since its start.
type Counts struct {
	sink.Stats
	CPU float64 `json:"cpu_s"`
}

// Stats asks for the counts since the start or the last Reset.
func (s *Sink) Stats(ctx context.Context) (Counts, error) {
	var c Counts
	body, err := s.ask(ctx, http.MethodGet, "/stats")
	if err == nil {
		err = json.Unmarshal(body, &c)
	}
	return c, err
}

// Reset sets all counts to zero.
func (s *Sink) Reset(ctx context.Context) error {
	_, err := s.ask(ctx, http.MethodPost, "/reset")
	return err
}

// Wait returns when a message with this X-Bench-Id has been answered 250.
func (s *Sink) Wait(ctx context.Context, id string) error {
	_, err := s.ask(ctx, http.MethodGet, "/wait?id="+url.QueryEscape(id))
	return err
}

func (s *Sink) ask(ctx context.Context, method, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.http+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return nil, fmt.Errorf("the sink answered %s to %s", res.Status, path)
	}
	return io.ReadAll(res.Body)
}
