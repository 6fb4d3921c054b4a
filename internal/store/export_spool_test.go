package store

import (
	"context"
	"strings"
	"time"
)

// ExplainTurns runs the question for all turns and returns PostgreSQL's plan of it.
func ExplainTurns(ctx context.Context, s *Store, now time.Time) (string, error) {
	var lines []string
	err := s.asDelivery(ctx, readOnly, func(t tx) error {
		return askTurns(ctx, t, func(r *rows) error {
			var line string
			err := r.Scan(&line)
			lines = append(lines, line)
			return err
		}, "explain (analyze) "+turnsPostgres, now)
	})
	return strings.Join(lines, "\n"), err
}
