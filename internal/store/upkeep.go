package store

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// UpkeepConfig configures RunUpkeep.
type UpkeepConfig struct {
	// ChainEvery is how often new audit entries are chained, and checkpoints signed. Until then a change of
	// theirs would not be seen. 0: 2 s.
	ChainEvery time.Duration
	// PruneEvery is how often expired sessions, tokens and revocations are deleted. 0: a minute.
	PruneEvery time.Duration
	// GiveUpEvery is how often messages are ended whose give-up time passed while they could not be tried. 0: 10 s.
	GiveUpEvery time.Duration
	// SweepEvery is how often content, messages and events that are kept no longer are deleted. 0: a minute.
	SweepEvery time.Duration
	// MarkFile is that of NoticeRestore, kept up to date here.
	MarkFile string
}

const (
	chainEvery = 2 * time.Second
	pruneEvery = time.Minute
	// giveUpEvery is often enough: give-up times are hours or days.
	giveUpEvery = 10 * time.Second
	sweepEvery  = time.Minute
	// markEvery is how old what NoticeRestore compares with is at most.
	markEvery = time.Minute

	// upkeepPiece is how many rows one transaction takes on: on SQLite it holds up every other writer.
	upkeepPiece = 1000
	// upkeepTurn is how many transactions a kind of work has before the others have their turn.
	upkeepTurn = 20
	// upkeepWait bounds a transaction: one that hangs must not keep the other work waiting for ever.
	upkeepWait = time.Minute
	// lastCheckpointWait bounds the checkpoint that is signed when the service stops.
	lastCheckpointWait = 5 * time.Second
	// jitter spreads what many nodes do: each time is between 1-jitter and 1+jitter of what it should be.
	jitter = 0.2
)

// upkeepWork is one kind of work.
type upkeepWork struct {
	what  string
	every time.Duration
	// piece is one transaction. It reports whether there is more to do at once.
	piece func(ctx context.Context) (more bool, err error)

	due     time.Time
	failing bool
}

// RunUpkeep does the periodic work of the database until ctx ends: it chains the audit log, signs checkpoints,
// deletes what has expired or is kept no longer, and gives up messages. In the end it signs a checkpoint for what came last. Every node may run it: what one does
// is nothing to do for the others. Faults are logged, once when work begins to fail and once when it works again, and
// tried again; the error is nil.
func (s *Store) RunUpkeep(ctx context.Context, cfg UpkeepConfig) error {
	chain := func(ctx context.Context) (bool, error) {
		n, err := s.ChainAudit(ctx)
		return n == chainBatch, err
	}
	prune := func(ctx context.Context) (bool, error) {
		n, err := s.PruneExpired(ctx, upkeepPiece)
		return n > 0, err
	}
	giveUp := func(ctx context.Context) (bool, error) {
		done, err := s.GiveUp(ctx)
		if done.Failed > 0 {
			s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "messages were given up that could not be tried any more", slog.Int("messages", done.Failed))
		}
		return done.More, err
	}
	sweep := func(ctx context.Context) (bool, error) {
		n, err := s.Sweep(ctx, upkeepPiece)
		return n > 0, err
	}
	mark := func(ctx context.Context) (bool, error) {
		n, err := s.KeepMark(ctx, cfg.MarkFile)
		if n.Found {
			s.cfg.Logger.LogAttrs(ctx, slog.LevelError, restoredText, slog.String("why", n.Why), slog.Int("messages", n.Held))
		}
		return false, err
	}
	runUpkeep(ctx, s.cfg.Logger, []*upkeepWork{
		{what: "chain the audit log", every: cmp.Or(max(cfg.ChainEvery, 0), chainEvery), piece: chain},
		{what: "delete what has expired", every: cmp.Or(max(cfg.PruneEvery, 0), pruneEvery), piece: prune},
		{what: "give up messages", every: cmp.Or(max(cfg.GiveUpEvery, 0), giveUpEvery), piece: giveUp},
		{what: "delete what is kept no longer", every: cmp.Or(max(cfg.SweepEvery, 0), sweepEvery), piece: sweep},
		{what: "note that the database is in use", every: markEvery, piece: mark},
	})
	if s.cfg.Checkpoint == nil {
		return nil
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastCheckpointWait)
	defer cancel()
	if _, err := s.CheckpointAudit(last); err != nil {
		s.cfg.Logger.LogAttrs(last, slog.LevelWarn, "no last checkpoint of the audit log was signed; the next start signs one", slog.String("error", err.Error()))
	}
	return nil
}

// runUpkeep does each work when it is due, one after another, until ctx ends.
func runUpkeep(ctx context.Context, logger *slog.Logger, works []*upkeepWork) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := works[0]
		for _, w := range works {
			if w.due.Before(next.due) {
				next = w
			}
		}
		timer.Reset(time.Until(next.due))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		more := next.turn(ctx, logger)
		next.due = time.Now()
		if !more {
			next.due = next.due.Add(time.Duration(float64(next.every) * (1 - jitter + 2*jitter*rand.Float64())))
		}
	}
}

// turn does pieces until there is nothing more to do, or others should have their turn.
func (w *upkeepWork) turn(ctx context.Context, logger *slog.Logger) (more bool) {
	for range upkeepTurn {
		piece, cancel := context.WithTimeout(ctx, upkeepWait)
		more, err := w.piece(piece)
		cancel()
		if ctx.Err() != nil {
			return false
		}
		w.tell(ctx, logger, err)
		if err != nil || !more {
			return false
		}
	}
	return true
}

// tell logs when work begins to fail and when it works again, and not every time between.
func (w *upkeepWork) tell(ctx context.Context, logger *slog.Logger, err error) {
	switch {
	case err != nil && !w.failing:
		logger.LogAttrs(ctx, slog.LevelError, "upkeep of the database fails and will be tried again", slog.String("work", w.what), slog.String("error", err.Error()))
	case err == nil && w.failing:
		logger.LogAttrs(ctx, slog.LevelInfo, "upkeep of the database works again", slog.String("work", w.what))
	}
	w.failing = err != nil
}
