package main

import (
	"crypto/hmac"
	"crypto/sha256"

	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/httpapi/intake"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/submission"
)

// takeIn puts the lane that takes messages in into the configuration of the HTTP API.
func (v *service) takeIn(cfg *httpapi.Config, st *store.Store) (err error) {
	pl := v.plan
	if cfg.Egress, err = pl.newEgress(); err != nil {
		return err
	}
	cfg.Sealer, cfg.MaxMessageBody = pl.keys.sealer, pl.settings.MessageLimit
	// Large contents are spooled on the disk that the operator gave us: /tmp is memory on many systems.
	cfg.Intake = intake.New(intake.Config{Dir: pl.settings.Data, MaxOctets: pl.settings.MessageLimit, SpoolDisk: pl.settings.UploadSpace})
	cfg.Submission, err = submission.New(submission.Config{Store: st, Sealer: pl.keys.sealer, RelayKey: pl.keys.relayKey(), Now: st.Now})
	return err
}

// relayKey is known to whoever has the keys that passwords are sealed with, and to nobody else. After a change of those
// keys, a relay that comes with a message is taken for a new one.
func (k *keyring) relayKey() []byte {
	mac := hmac.New(sha256.New, []byte(k.sealKeyset.Reveal()))
	mac.Write([]byte("postrider inline relays"))
	return mac.Sum(nil)
}
