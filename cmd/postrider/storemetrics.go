package main

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/store"
)

// spoolWait bounds a look at the spool for a scrape.
const spoolWait = 3 * time.Second

// storeMetrics tell of what was accepted, of the spool and of the transactions that both lanes share. Depth and age of the
// spool are of the whole installation, the rest is this node's.
type storeMetrics struct {
	accepted *prometheus.CounterVec
	givenUp  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	size     *prometheus.HistogramVec

	messages, oldest, waiting *prometheus.Desc
	store                     *store.Store // set before the first scrape of the spool
}

func newStoreMetrics(registry prometheus.Registerer) (*storeMetrics, error) {
	m := &storeMetrics{
		accepted: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postrider_messages_accepted_total", Help: "Messages that were accepted."}, []string{"relay"}),
		givenUp: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_recipients_given_up_total", Help: "Recipients that failed without a further attempt, since their message could not be tried in time.",
		}, []string{"relay"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "postrider_commit_duration_seconds", Help: "Time of a transaction that many callers share: ok or failed.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30},
		}, []string{"outcome"}),
		size: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "postrider_commit_size", Help: "Callers that a transaction served, by what they wanted: accept, outcome, mark.",
			Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512},
		}, []string{"kind"}),
		messages: prometheus.NewDesc("postrider_spool_messages", "Messages with open recipients, in the whole installation, also those that are due later.", nil, nil),
		oldest:   prometheus.NewDesc("postrider_spool_oldest_due_seconds", "For how long the longest waiting message could have been sent, in the whole installation; 0: none waits.", nil, nil),
		waiting:  prometheus.NewDesc("postrider_spool_oldest_waiting_seconds", "The same with messages whose relay cannot be used: it is down, refuses the password or has used up a limit; not those that somebody holds on purpose.", nil, nil),
	}
	return m, errors.Join(registry.Register(m.accepted), registry.Register(m.givenUp), registry.Register(m.duration), registry.Register(m.size))
}

// observe is for store.Config.Observe.
func (m *storeMetrics) observe(c store.Commit) {
	outcome := "ok"
	if c.Err != nil {
		outcome = "failed"
	}
	m.duration.WithLabelValues(outcome).Observe(c.Duration.Seconds())
	for kind, n := range map[string]int{"accept": c.Accepts, "outcome": c.Outcomes, "mark": c.Marks} {
		if n > 0 {
			m.size.WithLabelValues(kind).Observe(float64(n))
		}
	}
	for relay, n := range c.Accepted {
		m.accepted.WithLabelValues(relay.String()).Add(float64(n))
	}
	for relay, n := range c.GivenUp {
		m.givenUp.WithLabelValues(relay.String()).Add(float64(n))
	}
}

// watch tells of the spool of st from now on.
func (m *storeMetrics) watch(registry prometheus.Registerer, st *store.Store) error {
	m.store = st
	return registry.Register(m)
}

// Describe implements prometheus.Collector.
func (m *storeMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- m.messages
	out <- m.oldest
	out <- m.waiting
}

// Collect implements prometheus.Collector. While the database is away nothing is told of the spool; that it is away,
// readiness and the log tell.
func (m *storeMetrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), spoolWait)
	defer cancel()
	depth, err := m.store.SpoolDepth(ctx)
	if err != nil {
		return
	}
	age := func(since time.Time) float64 {
		if since.IsZero() {
			return 0
		}
		return max(0, m.store.Now().Sub(since).Seconds())
	}
	out <- prometheus.MustNewConstMetric(m.messages, prometheus.GaugeValue, float64(depth.Messages))
	out <- prometheus.MustNewConstMetric(m.oldest, prometheus.GaugeValue, age(depth.OldestDue))
	out <- prometheus.MustNewConstMetric(m.waiting, prometheus.GaugeValue, age(depth.OldestWaiting))
}
