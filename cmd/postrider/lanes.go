package main

import (
	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/egress"
	"github.com/postrider/postrider/internal/seal"
)

// newEgress makes what dials hosts that tenants name.
func (pl *plan) newEgress() (*egress.Dialer, error) {
	cfg := egress.Config{Allow: pl.settings.EgressAllow, Ports: pl.settings.EgressPorts}
	if len(cfg.Ports) == 0 {
		cfg.Ports = egress.RelayPorts()
	}
	return egress.New(cfg)
}

// unseal opens a relay's password.
func (k *keyring) unseal(tenant uuid.UUID, sealed []byte) (string, error) {
	b, err := k.sealer.Unseal(tenant, seal.PurposeRelayPassword, sealed)
	return string(b), err
}
