package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

// NotReady is one part of the program that is not ready.
type NotReady struct {
	Part   string `json:"part"`             // "database", "keys", "redis"
	Detail string `json:"detail,omitempty"` // one line that anybody may read
}

// readyWait bounds the look at the database: a prober that waits longer has given up.
const readyWait = 2 * time.Second

// machineRoutes are the pages for machines. No limits are counted for them: who probes must not be refused for how
// often others ask, nor fail because the limiter does.
func (s *Server) machineRoutes() {
	page := func(pattern string, h http.HandlerFunc) {
		s.mux.Handle(pattern, routed{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			recordOf(r.Context()).route = pattern
			h(w, r)
		})})
	}
	page("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, r, http.StatusOK, map[string]string{"status": "ok"})
	})
	page("GET /readyz", s.readyz)
	page("GET /openapi.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		w.Header().Set("Cache-Control", "public, max-age=60")
		w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
		_, _ = w.Write(s.document) // the record keeps the error
	})
	metrics := promhttp.HandlerFor(s.cfg.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: readyWait * 5})
	page("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if s.mayReadMetrics(r) {
			metrics.ServeHTTP(w, r)
			return
		}
		s.guard.Handler(auth.RequireKind(auth.KindOperator)(metrics)).ServeHTTP(w, r)
	})
}

// mayReadMetrics lets this machine and the networks that were named read the metrics, which tell how busy the service
// is. A request that came by way of a proxy is not this machine's, though its connection is.
func (s *Server) mayReadMetrics(r *http.Request) bool {
	from := recordOf(r.Context()).addr
	if slices.ContainsFunc(s.cfg.MetricsNetworks, func(p netip.Prefix) bool { return p.Contains(from) }) {
		return true
	}
	return from.IsLoopback() && r.Header["X-Forwarded-For"] == nil && r.Header["Forwarded"] == nil
}

// readyz answers 503 and names the parts that are not ready.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyWait)
	defer cancel()
	var not []NotReady
	if err := s.store.Ping(ctx); err != nil {
		recordOf(r.Context()).cause = err
		detail := "it does not answer"
		if errors.Is(err, store.ErrDamaged) {
			detail = "its file is damaged or gone: stop the service and put a backup in its place"
		}
		not = append(not, NotReady{Part: "database", Detail: detail})
	}
	for _, v := range append([]*auth.Verifier{s.cfg.Tokens}, s.cfg.OtherTokens...) {
		if !v.Ready() {
			not = append(not, NotReady{Part: "identity provider", Detail: "its keys could not be fetched yet"})
		}
	}
	if s.cfg.Ready != nil {
		not = append(not, s.cfg.Ready(ctx)...)
	}
	if len(not) > 0 {
		writeJSON(w, r, http.StatusServiceUnavailable, map[string]any{"status": "not ready", "role": s.cfg.Role, "not_ready": not})
		return
	}
	writeJSON(w, r, http.StatusOK, map[string]string{"status": "ready", "role": s.cfg.Role})
}

// writeJSON answers outside of huma.
func writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		writeProblem(w, r, problemOf(err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(body, '\n')) // the record keeps the error
	}
}
