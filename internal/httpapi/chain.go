package httpapi

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/postrider/postrider/auth"
)

// chain is what every request passes, from the outside in. The order matters:
//
//  1. note     gives the request its id and its record; afterwards writes the log line and the metrics
//  2. recovery turns a panic into a 500, so that 1 sees it as one
//  3. headers  security header fields, on every answer
//  4. trace    only if configured
//  5. cors     answers preflights, which carry no credentials, before anybody is asked for some
//  6. bound    size and time of the body; the answer's time
//  7. route    finds the operation, or answers 404 and 405
//
// and then, since these depend on the operation, admit:
//
//  8. who      authentication; a caller who is refused counts against its address
//  9. limit    by address for operations that are open to everyone, else by user and kind of credential
//  10. may     the operation's own declaration of who may call it
//
// Refusals of 8 and 10 go to the audit log by way of auth.Config.OnDecision (decisions.go). Only then is the body read.
func (s *Server) chain() http.Handler {
	h := http.Handler(http.HandlerFunc(s.dispatch))
	h = s.bound(h)
	h = s.cfg.CORS.handler(h)
	if s.cfg.Tracing != nil {
		h = otelhttp.NewHandler(h, "http", otelhttp.WithTracerProvider(s.cfg.Tracing),
			otelhttp.WithMeterProvider(noop.NewMeterProvider()), otelhttp.WithPropagators(propagation.TraceContext{}))
	}
	h = s.headers(h)
	h = s.recovery(h)
	return s.note(h)
}

// admit is the part of the chain behind the choice of the operation: steps 8 to 10.
func (s *Server) admit(op operation, handler http.Handler) http.Handler {
	pattern := op.Method + " " + op.Path
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := op.Access.check(r.Context()); err != nil {
			auth.Refuse(w, r, err)
			return
		}
		handler.ServeHTTP(w, r)
	})
	var next http.Handler
	if op.Access.everyone {
		next = s.byAddress.Wrap(inner)
	} else {
		next = s.guard.Handler(s.byCaller.Wrap(s.narrow(inner)))
	}
	limit := op.MaxBody
	if limit == 0 {
		limit = s.cfg.MaxBody
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := recordOf(r.Context())
		rec.route, rec.operation = pattern, op.ID
		if s.cfg.Tracing != nil {
			trace.SpanFromContext(r.Context()).SetName(pattern)
		}
		if !limitBody(rec, r, limit, s.cfg.ReadTimeout) {
			// The rest of the body is not worth reading: say so, or the server would.
			w.Header().Set("Connection", "close")
			s.byAddress.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				writeProblem(w, r, problemOf(&http.MaxBytesError{Limit: limit}))
			})).ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// note is step 1.
func (s *Server) note(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &record{ResponseWriter: w, control: http.NewResponseController(w), start: s.cfg.Now(), timeout: s.cfg.WriteTimeout}
		rec.id = requestID(r.Header)
		rec.addr, rec.agent = s.clientAddr(r), shorten(r.UserAgent(), longestAgent)
		w.Header()["X-Request-Id"] = []string{rec.id}
		s.metrics.inFlight.Inc()
		defer func() { // also when the connection is cut off by http.ErrAbortHandler
			s.metrics.inFlight.Dec()
			s.finish(rec, r)
		}()
		next.ServeHTTP(rec, r.WithContext(context.WithValue(r.Context(), recordKey{}, rec)))
	})
}

// headers is step 3.
func (s *Server) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.security.set(w.Header(), r)
		next.ServeHTTP(w, r)
	})
}

// bound is step 6: the least that holds for every path. admit narrows it to what the operation takes.
func (s *Server) bound(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			if rec := recordOf(r.Context()); rec.control != nil {
				// For whoever answers without reading: the server then reads on for a while to be polite.
				_ = rec.control.SetReadDeadline(time.Now().Add(s.cfg.ReadTimeout))
			}
		}
		next.ServeHTTP(w, r)
	})
}
