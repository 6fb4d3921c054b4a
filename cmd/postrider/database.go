package main

import (
	"context"
	"errors"
	"log/slog"
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
	return store.Open(ctx, storeConfig(v.plan.settings, v.plan.keys, v.logger))
}

// Upkeep comes in pieces, so that a long absence does not end in one long transaction.
const (
	pruneEvery = time.Minute
	prunePiece = 1000
	chainEvery = time.Second
)

// upkeep does the periodic work of the database until ctx ends. Every node may: what one does is nothing to do for the
// others.
func upkeep(ctx context.Context, st *store.Store, logger *slog.Logger) error {
	chain, prune := time.NewTicker(chainEvery), time.NewTicker(pruneEvery)
	defer chain.Stop()
	defer prune.Stop()
	work := map[string]*troubled{"chain the audit log": {logger: logger}, "prune expired rows": {logger: logger}}
	all := func(what string, piece func() (int, error)) {
		for ctx.Err() == nil {
			n, err := piece()
			if work[what].failed(ctx, what, err) || n < prunePiece {
				return
			}
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-chain.C:
			all("chain the audit log", func() (int, error) { return st.ChainAudit(ctx) })
		case <-prune.C:
			all("prune expired rows", func() (int, error) { return st.PruneExpired(ctx, prunePiece) })
		}
	}
}

// troubled tells the log when work begins to fail and when it works again, not every time between.
type troubled struct {
	logger *slog.Logger
	now    bool
}

func (t *troubled) failed(ctx context.Context, what string, err error) bool {
	switch {
	case err != nil && ctx.Err() != nil: // we are stopping
	case err != nil && !t.now:
		t.logger.ErrorContext(ctx, "upkeep fails and will be tried again: "+what, "error", err)
		t.now = true
	case err == nil && t.now:
		t.logger.InfoContext(ctx, "upkeep works again: "+what)
		t.now = false
	}
	return err != nil
}
