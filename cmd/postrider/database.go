package main

import (
	"context"
	"errors"
	"time"

	"github.com/postrider/postrider/internal/store"
)

// storeRetry is how long a database that is away is left alone.
const storeRetry = time.Second

// openStore opens the database, after migrating it if that was asked for. It waits for one that does not answer: in a
// cluster it may simply start later than we.
func (v *service) openStore(ctx context.Context) (*store.Store, error) {
	tick := time.NewTicker(storeRetry)
	defer tick.Stop()
	told := false
	for {
		st, err := v.tryStore(ctx)
		if err == nil || !errors.Is(err, store.ErrUnavailable) {
			return st, err
		}
		if !told {
			v.logger.Warn("the database does not answer; waiting for it", "error", err)
			told = true
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-tick.C:
		}
	}
}

func (v *service) tryStore(ctx context.Context) (*store.Store, error) {
	if v.plan.migrate {
		report, err := store.Migrate(ctx, migrateConfig(v.plan.settings, v.logger))
		if err != nil {
			return nil, err
		}
		if len(report.Applied) > 0 {
			v.logger.Info("migrated", "from", report.From, "to", report.To)
		}
	}
	cfg := storeConfig(v.plan.settings, v.plan.keys, v.logger)
	cfg.Observe = v.measured.observe
	return store.Open(ctx, cfg)
}
