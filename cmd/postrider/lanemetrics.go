package main

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/dispatch"
)

// laneMetrics count what deliveries came to, and tell of relays that are being drained. The label relay is a relay's id:
// there are as many series as relays that sent since the start.
type laneMetrics struct {
	recipients *prometheus.CounterVec
	released   *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	dispatcher atomic.Pointer[dispatch.Dispatcher]
	deliverer  atomic.Pointer[delivery.Deliverer]

	sending, claimed, slots, circuit, free, unrecorded *prometheus.Desc
	connections, dials, reused                         *prometheus.Desc
}

func newLaneMetrics(registry prometheus.Registerer) (*laneMetrics, error) {
	gauge := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("postrider_relay_"+name, help, []string{"relay"}, nil)
	}
	m := &laneMetrics{
		recipients: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_recipients_total", Help: "Outcomes of attempts, by recipient: sent, deferred, failed, unknown.",
		}, []string{"relay", "outcome"}),
		released: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_released_total", Help: "Messages given back without an attempt, since their relay could not be used.",
		}, []string{"relay"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "postrider_attempt_duration_seconds", Help: "Time of an attempt, by the farthest phase that it reached.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"phase"}),
		sending: gauge("sending", "Messages that are being sent."),
		claimed: gauge("claimed", "Messages that are claimed and wait for their turn."),
		slots:   gauge("slots", "Messages that may be sent at the same time now."),
		circuit: gauge("circuit_open", "1 while the relay could not be reached and is left alone."),
		free:    prometheus.NewDesc("postrider_delivery_slots_free", "Deliveries that could begin now on this node, over all relays.", nil, nil),
	}
	m.unrecorded = prometheus.NewDesc("postrider_outcomes_unrecorded", "Outcomes that the database has not taken yet; while there are any, nothing more is sent.", nil, nil)
	m.connections = prometheus.NewDesc("postrider_relay_connections", "Connections to the relay: in_use, idle, or dialing.", []string{"relay", "state"}, nil)
	m.dials = prometheus.NewDesc("postrider_relay_dials_total", "Connections that were opened, or could not be, since the relay has been in use: ok or failed.", []string{"relay", "outcome"}, nil)
	m.reused = prometheus.NewDesc("postrider_relay_connections_reused_total", "Messages that took a connection which had served before.", []string{"relay"}, nil)
	return m, errors.Join(registry.Register(m.recipients), registry.Register(m.released), registry.Register(m.duration), registry.Register(m))
}

// observe is for delivery.Config.Observe.
func (m *laneMetrics) observe(o delivery.Observation) {
	relay := o.Relay.String()
	if o.Verdict.Released {
		m.released.WithLabelValues(relay).Inc()
		return
	}
	for outcome, n := range map[string]int{"sent": o.Verdict.Sent, "deferred": o.Verdict.Deferred, "failed": o.Verdict.Failed, "unknown": o.Verdict.Unknown} {
		if n > 0 {
			m.recipients.WithLabelValues(relay, outcome).Add(float64(n))
		}
	}
	m.duration.WithLabelValues(o.Phase).Observe(o.Duration.Seconds())
}

// watch tells of the relays that these drain from now on.
func (m *laneMetrics) watch(d *dispatch.Dispatcher, by *delivery.Deliverer) {
	m.deliverer.Store(by)
	m.dispatcher.Store(d)
}

// Describe implements prometheus.Collector.
func (m *laneMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.sending, m.claimed, m.slots, m.circuit, m.free, m.unrecorded, m.connections, m.dials, m.reused} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *laneMetrics) Collect(out chan<- prometheus.Metric) {
	d := m.dispatcher.Load()
	if d == nil {
		return
	}
	stats := d.Stats()
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	gauge(m.free, float64(stats.Free))
	deliverer := m.deliverer.Load()
	gauge(m.unrecorded, float64(deliverer.Unrecorded()))
	for id, pool := range deliverer.Stats() {
		relay := id.String()
		gauge(m.connections, float64(pool.InUse), relay, "in_use")
		gauge(m.connections, float64(pool.Idle), relay, "idle")
		gauge(m.connections, float64(pool.Dialing), relay, "dialing")
		counter := func(desc *prometheus.Desc, n int64, labels ...string) {
			out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
		}
		counter(m.dials, pool.Dialled, relay, "ok")
		counter(m.dials, pool.DialFailures, relay, "failed")
		counter(m.reused, pool.Reused, relay)
	}
	for _, r := range stats.Relays {
		relay := r.Relay.String()
		gauge(m.sending, float64(r.Sending), relay)
		gauge(m.claimed, float64(r.Claimed), relay)
		gauge(m.slots, float64(r.Slots), relay)
		open := 0.0
		if r.CircuitOpen {
			open = 1
		}
		gauge(m.circuit, open, relay)
	}
}
