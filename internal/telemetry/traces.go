package telemetry

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// TraceConfig says where traces go.
type TraceConfig struct {
	// Endpoint is the base URL of a collector that takes OTLP over HTTP, such as http://collector:4318; /v1/traces is added
	// unless it is there. Empty: nothing is traced, and nothing is set up.
	Endpoint string
	// Version and Hostname describe this process.
	Version, Hostname string
	// Logger hears when the collector goes away and when it is back. Nil: nobody does.
	Logger *slog.Logger
}

// Traces sends spans to a collector. The nil Traces does nothing.
type Traces struct{ provider *trace.TracerProvider }

// NewTraces returns nil without an endpoint. It does not connect: a collector that is away costs spans and nothing else.
func NewTraces(ctx context.Context, cfg TraceConfig) (*Traces, error) {
	if cfg.Endpoint == "" {
		return nil, nil
	}
	u, err := url.Parse(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(u.Path, "/v1/traces") {
		u = u.JoinPath("v1", "traces")
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(u.String()))
	if err != nil {
		return nil, err
	}
	about := resource.NewSchemaless(
		attribute.String("service.name", "postrider"),
		attribute.String("service.version", cfg.Version),
		attribute.String("service.instance.id", cfg.Hostname),
	)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Traces{trace.NewTracerProvider(
		trace.WithBatcher(&reporting{SpanExporter: exporter, logger: cfg.Logger}),
		trace.WithResource(about),
	)}, nil
}

// Provider makes tracers for the packages that make spans; nil for the nil Traces.
func (t *Traces) Provider() oteltrace.TracerProvider {
	if t == nil {
		return nil
	}
	return t.provider
}

// Shutdown sends what is left and ends the goroutine that sends. ctx bounds it.
func (t *Traces) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// reporting tells the log of failures instead of OpenTelemetry's global error handler, and only when things change.
type reporting struct {
	trace.SpanExporter
	logger *slog.Logger
	away   atomic.Bool
}

func (r *reporting) ExportSpans(ctx context.Context, spans []trace.ReadOnlySpan) error {
	err := r.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil && !r.away.Swap(true):
		r.logger.Warn("traces cannot be sent and are lost; is POSTRIDER_OTLP_ENDPOINT right, and the collector up?", "error", err)
	case err == nil && r.away.Swap(false):
		r.logger.Info("traces are sent again")
	}
	return nil
}
