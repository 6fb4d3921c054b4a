// Command sink runs package sink as a process of its own, for the runner
// (cmd/bench) or for trying a driver by hand.
//
// It prints one JSON line with its addresses, then serves until it is
// interrupted or, with -stdin, until its standard input ends: so it never
// outlives the runner that started it. On its HTTP address GET /stats answers
// the counts, GET /wait?id= answers when a
// message with that X-Bench-Id has come, and POST /reset sets the counts to zero.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/postrider/postrider/bench/contract"
	"github.com/postrider/postrider/bench/sink"
)

// addresses is the line printed at start.
type addresses struct {
	SMTP  string `json:"smtp"`
	SMTPS string `json:"smtps"`
	HTTP  string `json:"http"`
}

// report is what GET /stats answers.
type report struct {
	sink.Stats
	CPUSeconds float64 `json:"cpu_s"` // of the sink's process since its start
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "sink:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var cfg sink.Config
	var omit, cert, httpAddr string
	var stdin bool
	flag.StringVar(&cfg.Addr, "listen", "127.0.0.1:0", "address of plain SMTP with STARTTLS")
	flag.StringVar(&cfg.TLSAddr, "tls-listen", "127.0.0.1:0", "address of implicit TLS")
	flag.StringVar(&httpAddr, "http", "127.0.0.1:0", "address of GET /stats, GET /wait and POST /reset")
	flag.StringVar(&omit, "no", "", "EHLO keywords to leave out, comma separated, for example pipelining,chunking,starttls,auth")
	flag.StringVar(&cfg.User, "user", contract.User, "user for AUTH")
	flag.StringVar(&cfg.Password, "pass", contract.Password, "password for AUTH")
	flag.DurationVar(&cfg.RTT, "rtt", 0, "emulated round trip time")
	flag.DurationVar(&cfg.Think, "think", 0, "wait before the answer to each content")
	flag.StringVar(&cert, "cert", "", "write the certificate to trust to this file")
	flag.BoolVar(&stdin, "stdin", false, "end when standard input ends")
	flag.Parse()
	if omit != "" {
		cfg.Omit = strings.Split(omit, ",")
	}

	s, err := sink.Listen(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	if cert != "" {
		if err := os.WriteFile(cert, s.CertPEM(), 0o644); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", httpAddr)
	if err != nil {
		return err
	}
	web := &http.Server{Handler: routes(s), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()

	line, err := json.Marshal(addresses{SMTP: s.Addr(), SMTPS: s.TLSAddr(), HTTP: l.Addr().String()})
	if err != nil {
		return err
	}
	fmt.Println(string(line))

	over := make(chan struct{})
	if stdin {
		// Reading standard input cannot be interrupted, so nothing waits for
		// this goroutine: the process ends with it or before it.
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // its end, however it comes, is the signal
			close(over)
		}()
	}
	select {
	case <-ctx.Done():
	case <-over:
	case err := <-served:
		return err
	}
	return web.Close()
}

func routes(s *sink.Server) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(report{s.Stats(), contract.CPUSeconds()}) // the asker is gone
	})
	mux.HandleFunc("GET /wait", func(w http.ResponseWriter, r *http.Request) {
		if err := s.Wait(r.Context(), r.FormValue("id")); err != nil {
			http.Error(w, err.Error(), http.StatusGatewayTimeout)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}
