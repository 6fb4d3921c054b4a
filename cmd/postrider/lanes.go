package main

import (
	"context"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/dispatch"
	"github.com/postrider/postrider/internal/egress"
	"github.com/postrider/postrider/internal/seal"
	"github.com/postrider/postrider/internal/store"
)

// newEgress makes what dials hosts that tenants name.
func (pl *plan) newEgress() (*egress.Dialer, error) {
	cfg := egress.Config{Allow: pl.settings.EgressAllow, Ports: pl.settings.EgressPorts}
	if len(cfg.Ports) == 0 {
		cfg.Ports = egress.RelayPorts()
	}
	return egress.New(cfg)
}

// deliver empties the spool until ctx ends; then it finishes or gives back what it holds.
func (v *service) deliver(ctx context.Context, st *store.Store) error {
	dialer, err := v.plan.newEgress()
	if err != nil {
		return err
	}
	measured, err := newLaneMetrics(v.registry)
	if err != nil {
		return err
	}
	once := func(ctx context.Context) error {
		node := store.NewID() // a new life: claims of the one before are somebody else's
		deliverer, err := delivery.New(delivery.Config{
			Store: st, Dial: dialer.DialContext, Unseal: v.plan.keys.unseal, Node: node, LocalName: v.plan.settings.Hostname,
			Observe: measured.observe, Logger: v.logger,
		})
		if err != nil {
			return err
		}
		dispatcher, err := dispatch.New(dispatch.Config{
			Store: st, Node: node, Unrecorded: deliverer.Unrecorded, MaxConcurrent: v.plan.settings.MaxConcurrentDeliveries,
			Lane:       func(ctx context.Context, relay store.DeliveryRelay, held func() bool) dispatch.Lane {
				return deliverer.Relay(ctx, relay, held)
			},
			StopWithin: max(v.plan.settings.ShutdownTimeout, 1), Logger: v.logger,
		})
		if err != nil {
			return err
		}
		measured.watch(dispatcher, deliverer)
		v.logger.Info("delivering", "node", node)
		return dispatcher.Run(ctx)
	}
	if v.plan.settings.Embedded() {
		return once(ctx) // serve.lock has made sure that we are alone
	}
	return alone(ctx, v.plan.deliveryURL(), v.logger, once)
}

// deliveryURL is where delivery works on PostgreSQL.
func (pl *plan) deliveryURL() string {
	if url := pl.settings.DeliveryDatabaseURL.Reveal(); url != "" {
		return url
	}
	return pl.settings.DatabaseURL.Reveal()
}

// unseal opens a relay's password.
func (k *keyring) unseal(tenant uuid.UUID, sealed []byte) (string, error) {
	b, err := k.sealer.Unseal(tenant, seal.PurposeRelayPassword, sealed)
	return string(b), err
}
