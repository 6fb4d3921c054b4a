package main

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/redistest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/telemetry"
)

// metricsOfService are the metrics of a service with everything it can have, each with its labels.
func metricsOfService(t *testing.T) map[string][]string {
	t.Helper()
	dir := t.TempDir()
	s, err := config.Load(config.Sources{Environ: []string{"POSTRIDER_DATA=" + dir, "POSTRIDER_LISTEN=127.0.0.1:0", "POSTRIDER_REDIS_URL=" + redistest.Start(t).URL()}})
	if err != nil {
		t.Fatal(err)
	}
	pl, faults := newPlan(s, true)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Migrate(t.Context(), migrateConfig(s, nil)); err != nil {
		t.Fatal(err)
	}
	v := &service{plan: pl, logger: slog.New(slog.DiscardHandler), registry: telemetry.NewRegistry("test"), front: &front{}, failed: make(chan error, 1)}
	work, end := context.WithCancel(t.Context())
	if _, _, err := v.assemble(t.Context(), work); err != nil {
		t.Fatal(err)
	}
	descs := make(chan *prometheus.Desc, 1000)
	v.registry.Describe(descs)
	close(descs)
	end()
	v.work.Wait()
	for _, c := range slices.Backward(v.closers) {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	metrics := map[string][]string{}
	fields := regexp.MustCompile(`^Desc\{fqName: "(\w+)".* variableLabels: \{(.*)\}\}$`)
	for d := range descs {
		m := fields.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("a metric that this test cannot read: %s", d)
		}
		metrics[m[1]] = strings.Split(m[2], ",")
	}
	return metrics
}

// base is the name under which a series of a histogram is registered.
func base(series string) string {
	return strings.TrimSuffix(strings.TrimSuffix(series, "_bucket"), "_count")
}

// TestDeployAlerts: the rules ask for metrics and labels that there are, and the manual explains each alarm and each metric.
func TestDeployAlerts(t *testing.T) {
	var f struct {
		Groups []struct {
			Rules []struct {
				Alert       string            `json:"alert"`
				Expr        string            `json:"expr"`
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
			} `json:"rules"`
		} `json:"groups"`
	}
	deployYAML(t, "alerts.yaml", &f)
	b, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	manual := string(b)
	metrics := metricsOfService(t)
	known := func(where, name string) []string {
		labels, ok := metrics[base(name)]
		if !ok && metrics[name] == nil && name != "up" {
			t.Errorf("%s: there is no metric %s", where, name)
		}
		if strings.HasSuffix(name, "_bucket") {
			labels = append(slices.Clone(labels), "le")
		}
		return append(slices.Clone(labels), "job", "instance") // which Prometheus adds
	}
	metric := regexp.MustCompile(`\b(up|process_\w+|postrider_\w+)\b(?:\{([^}]*)\})?`)
	label := regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"`)
	aggregated := regexp.MustCompile(`\bby \(([^)]*)\)`)
	for _, r := range f.Groups[0].Rules {
		all := map[string]bool{}
		for _, m := range metric.FindAllStringSubmatch(r.Expr, -1) {
			labels := known(r.Alert, m[1])
			for _, l := range labels {
				all[l] = true
			}
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(labels, l[1]) {
					t.Errorf("%s: %s has no label %s", r.Alert, m[1], l[1])
				}
			}
		}
		if len(all) == 0 {
			t.Errorf("%s asks for no metric of ours: %s", r.Alert, r.Expr)
		}
		for _, by := range aggregated.FindAllStringSubmatch(r.Expr, -1) {
			for name := range strings.SplitSeq(by[1], ",") {
				if !all[strings.TrimSpace(name)] {
					t.Errorf("%s: none of its metrics has a label %s", r.Alert, name)
				}
			}
		}
		if !slices.Contains([]string{"page", "warning"}, r.Labels["severity"]) || r.Annotations["summary"] == "" {
			t.Errorf("%s has no severity or no summary", r.Alert)
		}
		if want := "docs/operating.md#" + strings.ToLower(r.Alert); r.Annotations["runbook"] != want || !strings.Contains(manual, "\n### "+r.Alert+"\n") {
			t.Errorf("%s: the manual has no heading for it, or the runbook is not %s", r.Alert, want)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		if strings.HasPrefix(name, "postrider_") && !strings.Contains(manual, "`"+name+"`") {
			t.Errorf("docs/operating.md does not explain %s", name)
		}
	}
	for _, m := range regexp.MustCompile("`(postrider_\\w+)[`{]").FindAllStringSubmatch(manual, -1) {
		if !slices.Contains([]string{"postrider_api", "postrider_delivery", "postrider_owner", "postrider_web", "postrider_sender"}, m[1]) { // roles and logins
			known("docs/operating.md", m[1])
		}
	}
}
