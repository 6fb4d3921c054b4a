package httpapi

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the figures of this package. Labels are patterns of routes, statuses, reasons and names of policies, all
// of which we choose: nothing that a caller sends becomes a series.
type metrics struct {
	requests    *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	inFlight    prometheus.Gauge
	panics      prometheus.Counter
	refusals    *prometheus.CounterVec
	limited     *prometheus.CounterVec
	standing    *prometheus.CounterVec
	keyUsesLost prometheus.Counter
}

// newMetrics makes and registers the metrics. An error is that two Servers share a registry.
func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postrider_" + name, Help: help}, labels)
	}
	m := &metrics{
		requests: counter("http_requests_total", "Requests answered, by route and status.", "route", "status"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "postrider_http_request_duration_seconds", Help: "Time from the first octet of a request's header to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
		inFlight:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "postrider_http_requests_in_flight", Help: "Requests that are being answered."}),
		panics:      prometheus.NewCounter(prometheus.CounterOpts{Name: "postrider_http_panics_total", Help: "Panics of handlers, each answered with 500."}),
		refusals:    counter("auth_refusals_total", "Credentials and rights refused, by reason.", "reason"),
		limited:     counter("ratelimit_refusals_total", "Requests refused with 429, by policy.", "policy"),
		standing:    counter("standing_lookups_total", "Looks at whether tenant and user are in good standing, by where the answer came from.", "from"),
		keyUsesLost: prometheus.NewCounter(prometheus.CounterOpts{Name: "postrider_api_key_uses_lost_total", Help: "Uses of API keys whose time could not be written down."}),
	}
	var faults []error
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.inFlight, m.panics, m.refusals, m.limited, m.standing, m.keyUsesLost} {
		if err := registry.Register(c); err != nil {
			faults = append(faults, fmt.Errorf("httpapi: metrics: %w", err))
		}
	}
	return m, errors.Join(faults...)
}
