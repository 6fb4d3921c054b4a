package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLogger(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	logger := telemetry.NewLogger(&b, telemetry.LogConfig{Level: slog.LevelWarn}).With("a", 1).WithGroup("g")
	logger.Info("no")
	logger.Warn("yes", "took", 1500*time.Millisecond)
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, b.String())
	}
	at, err := time.Parse(time.RFC3339, line["time"].(string))
	if err != nil || at.Location() != time.UTC || line["msg"] != "yes" || line["a"] != 1.0 || line["g"].(map[string]any)["took"] != 1.5 {
		t.Errorf("%v, %v", line, err)
	}
	b.Reset()
	telemetry.NewLogger(&b, telemetry.LogConfig{Format: "text"}).Info("hello", "took", time.Second)
	if !strings.HasPrefix(b.String(), "time=2") || !strings.HasSuffix(b.String(), "Z level=INFO msg=hello took=1s\n") {
		t.Errorf("%s", b.String())
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	telemetry.MetricsHandler(telemetry.NewRegistry("v1"), slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{`postrider_build_info{version="v1"} 1`, "go_goroutines ", "process_open_fds "} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("there is no %s in\n%s", want, w.Body.String())
		}
	}
}

// TestNoTraces: without an endpoint nothing is set up and everything still works.
func TestNoTraces(t *testing.T) {
	t.Parallel()
	traces, err := telemetry.NewTraces(t.Context(), telemetry.TraceConfig{})
	if traces != nil || err != nil {
		t.Fatalf("%v, %v", traces, err)
	}
	if traces.Provider() != nil {
		t.Error("there is a provider")
	}
	if err := traces.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestTraces sends a span to a collector that takes it, and to one that does not.
func TestTraces(t *testing.T) {
	t.Parallel()
	type call struct{ path, body string }
	calls := make(chan call, 10)
	status := http.StatusOK
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls <- call{r.URL.Path, string(body)}
		w.WriteHeader(status)
	}))
	defer collector.Close()
	for _, c := range []struct {
		status int
		logs   string
	}{{http.StatusOK, ""}, {http.StatusForbidden, "traces cannot be sent"}} {
		status = c.status
		var log bytes.Buffer
		logger := telemetry.NewLogger(&log, telemetry.LogConfig{})
		traces, err := telemetry.NewTraces(t.Context(), telemetry.TraceConfig{Endpoint: collector.URL, Version: "v1", Hostname: "node1", Logger: logger})
		if err != nil {
			t.Fatal(err)
		}
		var lines bytes.Buffer
		ctx, span := traces.Provider().Tracer("test").Start(t.Context(), "GET /v1/users")
		telemetry.NewLogger(&lines, telemetry.LogConfig{}).InfoContext(ctx, "x")
		span.End()
		if err := traces.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		got := <-calls
		if got.path != "/v1/traces" || !strings.Contains(got.body, "node1") || !strings.Contains(got.body, "GET /v1/users") ||
			!strings.Contains(lines.String(), `"trace_id":"`+span.SpanContext().TraceID().String()) {
			t.Errorf("%q, %s", got, lines.String())
		}
		if !strings.Contains(log.String(), c.logs) || c.logs == "" && log.Len() > 0 {
			t.Errorf("it logged %q", log.String())
		}
	}
}
