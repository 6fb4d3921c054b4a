package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/postrider/postrider/internal/config"
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

// noticeRestore keeps a restored database from sending once more what has left since its backup. It comes before anything is sent, and
// says so at each start until somebody has decided.
func (v *service) noticeRestore(ctx context.Context, st *store.Store) error {
	n, err := st.NoticeRestore(ctx, markFile(v.plan.settings))
	switch {
	case err != nil:
		return err
	case n.Found:
		v.logger.Warn("the database was restored from a backup: what may have been sent since then is on hold until postrider restored send or end", "why", n.Why, "messages", n.Held)
	case n.Held > 0:
		v.logger.Warn("messages are on hold since the database was restored: postrider restored show lists them, send or end decides", "messages", n.Held)
	}
	return nil
}

// markFile is what tells the SQLite database from a restored copy of it.
func markFile(s *config.Settings) string {
	if !s.Embedded() {
		return ""
	}
	return filepath.Join(s.Data, store.MarkFile)
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
	st, err := store.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := v.noticeRestore(ctx, st); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return st, nil
}
