package dispatch_test

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/dispatch"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
	"github.com/postrider/postrider/smtp/smtptest"
)

// deaf is a store of which the answer to the first claims is lost after their commit.
type deaf struct {
	*store.Store
	err  error
	left atomic.Int64
	took atomic.Int64 // messages in the claims whose answer was lost
}

func (s *deaf) Claim(ctx context.Context, q store.ClaimRequest) ([]store.Claimed, error) {
	got, err := s.Store.Claim(ctx, q)
	if err == nil && len(got) > 0 && s.left.Add(-1) >= 0 {
		s.took.Add(int64(len(got)))
		return nil, s.err
	}
	return got, err
}

// A claim whose answer is lost keeps no message for ever, and sends none twice.
func TestClaimWhoseAnswerIsLost(t *testing.T) {
	for name, lost := range map[string]error{
		"unavailable": fmt.Errorf("%w: %w", store.ErrUnavailable, io.ErrUnexpectedEOF),
		"too late":    context.DeadlineExceeded,
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, open storetest.Open) {
				w := newLive(t, open(), 2)
				srv := w.receiver(smtptest.Config{})
				relay := w.relay(-1, srv, nil)
				w.accept(0, relay, 30, nil)
				w.accept(1, relay, 30, nil)
				s := &deaf{Store: w.store, err: lost}
				s.left.Store(2)
				_, stop := w.run(func(c *dispatch.Config, _ *delivery.Config) { c.Store = s })
				w.until("all have arrived", func() bool { return w.count(-1) >= 60 })
				stop()
				if s.took.Load() == 0 {
					t.Error("no claim's answer was lost: the test shows nothing")
				}
				if n := w.count(-1); n != 60 {
					t.Errorf("%d messages arrived, want each of 60 once", n)
				}
			})
		})
	}
}
