package main

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// watchNode tells of this node among the others.
func (v *service) watchNode(n *node) error {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "postrider_" + name, Help: help}, value)
	}
	counter := func(name, help string, value func() int) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "postrider_" + name, Help: help}, func() float64 { return float64(value()) })
	}
	all := []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "postrider_node_info", Help: "1; the labels name this node.",
			ConstLabels: prometheus.Labels{"node": n.ID().String(), "role": v.plan.settings.Role},
		}, func() float64 { return 1 }),
		gauge("node_held", "1 while this node's session with the database is good, 0 while it is lost or has not been heard of for 10 s: then nothing is sent.", func() float64 {
			if n.Held() {
				return 1
			}
			return 0
		}),
		counter("node_session_losses_total", "How often this node's session with the database was lost, counted when there is one again.", func() int { return n.Sessions() - 1 }),
	}
	if d := n.dispatcher; d != nil {
		all = append(all,
			gauge("nodes_delivering", "Nodes that deliver, as this one sees them.", func() float64 { return float64(n.Peers()) }),
			gauge("node_relays", "Relays that this node drains.", func() float64 { return float64(n.Drains()) }),
			counter("relay_take_overs_total", "Relays that this node took with messages which a node before it had claimed.", func() int { return d.Stats().TakeOvers }),
			counter("relays_let_go_total", "Relays that this node let go of for nodes with fewer.", func() int { return d.Stats().LetGo }),
		)
	}
	var faults []error
	for _, c := range all {
		faults = append(faults, v.registry.Register(c))
	}
	return errors.Join(faults...)
}
