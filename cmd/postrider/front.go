package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/httpapi"
)

// maxHeader is the most that a request's header may have in octets: room for the longest token that is looked at, 8 KiB,
// and all else that browsers send.
const maxHeader = 32 << 10

// front is the servers that clients connect to. It answers from the beginning: while the service starts, with 503 and
// /healthz; from open on with the handler; and once stopping is set, /readyz says no while all else is answered.
type front struct {
	servers  []*http.Server
	places   []net.Listener // of servers, in the same order
	tls      []bool
	handler  atomic.Pointer[http.Handler]
	stopping atomic.Bool
}

// listen takes all addresses, or none.
func (pl *plan) listen(ctx context.Context, metrics http.Handler, logger *slog.Logger) (*front, error) {
	f := &front{}
	s := pl.settings
	add := func(key, addr string, h http.Handler, secure bool) error {
		var cfg net.ListenConfig
		l, err := cfg.Listen(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("%w", s.Fault(key, "%v", err))
		}
		server := &http.Server{
			Handler: h, ReadHeaderTimeout: s.ReadHeaderTimeout, IdleTimeout: s.IdleTimeout, MaxHeaderBytes: maxHeader,
			ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug), // about clients' TLS and lost connections
		}
		if secure {
			server.TLSConfig = pl.certificate.config()
		}
		f.servers, f.places, f.tls = append(f.servers, server), append(f.places, l), append(f.tls, secure)
		return nil
	}
	for _, addr := range s.Listen {
		if err := add("listen", addr, f, pl.certificate != nil); err != nil {
			return nil, errors.Join(err, f.closeListeners())
		}
	}
	if s.MetricsListen != "" {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", metrics)
		if err := add("metrics_listen", s.MetricsListen, mux, false); err != nil {
			return nil, errors.Join(err, f.closeListeners())
		}
	}
	return f, nil
}

func (f *front) closeListeners() error {
	var all error
	for _, l := range f.places {
		all = errors.Join(all, l.Close())
	}
	return all
}

// urls are where the service is, and where its metrics are, as a browser on this machine would write them.
func (f *front) urls() []string {
	var all []string
	for i, l := range f.places {
		scheme := "http"
		if f.tls[i] {
			scheme = "https"
		}
		all = append(all, scheme+"://"+l.Addr().String())
	}
	return all
}

// run serves until shutdown. The error is that of a listener that broke.
func (f *front) run() error {
	failed := make(chan error, len(f.servers))
	var running sync.WaitGroup
	for i, server := range f.servers {
		running.Go(func() {
			var err error
			if f.tls[i] {
				err = server.ServeTLS(f.places[i], "", "")
			} else {
				err = server.Serve(f.places[i])
			}
			if !errors.Is(err, http.ErrServerClosed) {
				failed <- err
				for _, other := range f.servers {
					_ = other.Close()
				}
			}
		})
	}
	running.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// shutdown takes no further connections and lets requests in flight finish until ctx ends; what then still runs is cut off,
// and the error is the context's.
func (f *front) shutdown(ctx context.Context) error {
	f.stopping.Store(true)
	errs := make([]error, len(f.servers))
	var stopping sync.WaitGroup
	for i, server := range f.servers {
		stopping.Go(func() {
			if errs[i] = server.Shutdown(ctx); errs[i] != nil {
				_ = server.Close()
			}
		})
	}
	stopping.Wait()
	return errors.Join(errs...)
}

// open lets requests through to h.
func (f *front) open(h http.Handler) { f.handler.Store(&h) }

// ready is for httpapi.Config.Ready.
func (f *front) ready(context.Context) []httpapi.NotReady {
	if f.stopping.Load() {
		return []httpapi.NotReady{{Part: "service", Detail: "it is stopping"}}
	}
	return nil
}

// ServeHTTP answers while there is no handler yet.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := f.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	switch r.URL.Path {
	case "/healthz":
		_, _ = fmt.Fprintln(w, `{"status":"ok"}`)
	case "/readyz":
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, `{"status":"not ready","not_ready":[{"part":"service","detail":"it is starting"}]}`)
	default:
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, `{"type":"about:blank","title":"Service Unavailable","status":503,"code":"starting","detail":"The service is starting: try again in a moment."}`)
	}
}

// announce tells people where the service is. Programs read the log.
func (f *front) announce(p *program, since time.Time) {
	_, _ = fmt.Fprintf(p.stdout, "serving %s, ready after %s\n", strings.Join(f.urls(), " and "), sinceMS(time.Since(since)))
}
