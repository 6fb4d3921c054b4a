package store

import (
	"context"
	"log/slog"
	"time"
)

// LinkHash computes what whoever rewrites the audit chain computes.
func LinkHash(prev, entry []byte) []byte { return linkHash(prev, entry) }

// EntryHash computes the hash of an entry without personal data.
func EntryHash(e AuditEntry) []byte { return entryHash(e, nil, nil) }

// Work is a kind of upkeep.
type Work struct {
	What  string
	Every time.Duration
	Piece func(ctx context.Context) (more bool, err error)
}

// RunUpkeep does works until ctx ends.
func RunUpkeep(ctx context.Context, logger *slog.Logger, works ...Work) {
	var list []*upkeepWork
	for _, w := range works {
		list = append(list, &upkeepWork{what: w.What, every: w.Every, piece: w.Piece})
	}
	runUpkeep(ctx, logger, list)
}
