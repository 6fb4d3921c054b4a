package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"

	"github.com/google/uuid"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/ratelimit"
)

// longestAgent is how much of a User-Agent stands in the log: enough to know the program, too little to fill a disk.
const longestAgent = 200

// finish writes the log line of a request and counts it. The path is not in it, only the pattern: ids and addresses in
// paths are personal data.
func (s *Server) finish(rec *record, r *http.Request) {
	elapsed := s.cfg.Now().Sub(rec.start)
	if rec.status == 0 { // a handler that wrote nothing: the server makes it 200
		rec.status = http.StatusOK
	}
	route := rec.route
	if route == "" {
		route = "none"
	}
	s.metrics.requests.WithLabelValues(route, strconv.Itoa(rec.status)).Inc()
	s.metrics.duration.WithLabelValues(route).Observe(elapsed.Seconds())

	level := slog.LevelInfo
	if rec.status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	if !s.cfg.Logger.Enabled(r.Context(), level) {
		return
	}
	const usual = 16
	attrs := append(make([]slog.Attr, 0, usual),
		slog.String("request_id", rec.id), slog.String("method", shorten(r.Method, longestMethod)), slog.String("route", route),
		slog.Int("status", rec.status), slog.Duration("duration", elapsed), slog.Int64("bytes", rec.bytes),
		slog.String("address", addrText(rec.addr)), slog.String("user_agent", rec.agent))
	if p := rec.principal; p.Kind != "" {
		attrs = append(attrs, slog.String("kind", string(p.Kind)))
		if p.TenantID != uuid.Nil {
			attrs = append(attrs, slog.String("tenant", p.TenantID.String()), slog.String("user", p.UserID.String()), slog.String("role", string(p.Role)))
		}
	}
	if rec.code != "" {
		attrs = append(attrs, slog.String("code", rec.code))
	}
	if rec.reason != "" {
		attrs = append(attrs, slog.String("reason", string(rec.reason)))
	}
	if rec.cause != nil {
		attrs = append(attrs, slog.String("error", rec.cause.Error()))
	}
	if rec.writeErr != nil {
		attrs = append(attrs, slog.Bool("cut_off", true))
	}
	s.cfg.Logger.LogAttrs(r.Context(), level, "request", attrs...)
}

// longestMethod bounds the method in the log: any token is one.
const longestMethod = 16

func shorten(text string, longest int) string {
	if len(text) > longest {
		return text[:longest]
	}
	return text
}

func addrText(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	return addr.String()
}

// clientAddr is the address of who sent the request: behind known proxies, the one that they report.
func (s *Server) clientAddr(r *http.Request) netip.Addr {
	return ratelimit.ClientAddr(r, s.cfg.Proxies)
}

// warn notes what went wrong beside the answer.
func (s *Server) warn(ctx context.Context, msg string, err error) {
	s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, msg, slog.String("request_id", recordOf(ctx).id), slog.String("error", err.Error()))
}

// recovery is step 2 of the chain: a panic becomes a plain 500, with its stack in the log. If a part of the answer has
// been sent already, the connection is cut, so that the caller sees a broken answer instead of a short one.
func (s *Server) recovery(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			thrown := recover()
			if thrown == nil {
				return
			}
			rec := recordOf(r.Context())
			err, isError := thrown.(error)
			switch {
			case isError && errors.Is(err, http.ErrAbortHandler):
				panic(http.ErrAbortHandler)
			case rec.writeErr != nil: // huma panics when an answer cannot be written; the client has gone
				panic(http.ErrAbortHandler)
			}
			s.metrics.panics.Inc()
			s.cfg.Logger.LogAttrs(r.Context(), slog.LevelError, "panic in a handler",
				slog.String("request_id", rec.id), slog.String("route", rec.route), slog.String("panic", fmt.Sprint(thrown)), slog.String("stack", string(debug.Stack())))
			if rec.status != 0 {
				panic(http.ErrAbortHandler)
			}
			clear(w.Header()) // what the handler set was for another answer; these are for every one
			s.security.set(w.Header(), r)
			w.Header()["X-Request-Id"] = []string{rec.id}
			writeProblem(w, r, newProblem(http.StatusInternalServerError, api.CodeInternal,
				"Something went wrong in the service. The request id finds it in its log.").because(errors.New("panic, see the line before")))
		}()
		next.ServeHTTP(w, r)
	})
}
