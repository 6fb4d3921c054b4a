// Package telemetry sets up what tells operators how the service is: the logger, the registry of metrics, and traces
// by OTLP when an endpoint is given. It defines no metric and no span of its own; the packages that count something get
// a registerer. Everything is a value, nothing is global, so that tests and several services in one process do not meet.
// Only the program cmd/postrider calls it.
package telemetry

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"
)

// LogConfig says how log lines look.
type LogConfig struct {
	Format string     // "text"; anything else is JSON
	Level  slog.Level // the least that is written; the zero value is info
}

// NewLogger returns a logger that writes one line for each record to w, its time in UTC. A record that belongs to a traced
// request carries trace_id and span_id.
func NewLogger(w io.Writer, cfg LogConfig) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
			a.Value = slog.StringValue(a.Value.Time().UTC().Format("2006-01-02T15:04:05.000000Z07:00"))
		}
		// Numbers of nanoseconds are for nobody.
		if a.Value.Kind() == slog.KindDuration && cfg.Format != "text" {
			a.Value = slog.Float64Value(float64(a.Value.Duration()) / float64(time.Second))
		}
		return a
	}}
	var h slog.Handler = slog.NewJSONHandler(w, options)
	if cfg.Format == "text" {
		h = slog.NewTextHandler(w, options)
	}
	return slog.New(traced{h})
}

// traced adds the ids of the span that a record was made in.
type traced struct{ slog.Handler }

func (t traced) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return t.Handler.Handle(ctx, r)
}

func (t traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{t.Handler.WithAttrs(attrs)} }

func (t traced) WithGroup(name string) slog.Handler { return traced{t.Handler.WithGroup(name)} }

// NewRegistry returns a registry with metrics of the process and of Go's runtime, and postrider_build_info, which is 1 and
// carries the version.
func NewRegistry(version string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "postrider_build_info", Help: "Always 1; the label tells which version runs.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build)
	return registry
}

// MetricsHandler serves a registry in the formats of Prometheus. It asks for no credentials. A collector that fails is
// logged; the others are served all the same.
func MetricsHandler(registry *prometheus.Registry, logger *slog.Logger) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(logger.Handler(), slog.LevelError),
		ErrorHandling: promhttp.ContinueOnError,
		// Whoever asks faster than collecting goes shares an answer.
		CoalesceGather: true,
	})
}
