package delivery_test

import (
	"context"
	"testing"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/smtp/smtptest"
)

// nowhere is a store that remembers nothing.
type nowhere struct{ memory }

func (*nowhere) Record(context.Context, store.Outcome) error { return nil }

func (*nowhere) Mark(context.Context, uuid.UUID, uuid.UUID, uuid.UUID) error { return nil }

// BenchmarkDeliver is one message after the other over a warm connection to a server in this process, whose work counts too.
func BenchmarkDeliver(b *testing.B) {
	srv := smtptest.StartT(b, smtptest.Config{KeepRecords: -1, MaxContent: -1})
	to := newBench(b, srv, func(cfg *delivery.Config, _ *store.DeliveryRelay) {
		cfg.Store, cfg.Observe = &nowhere{}, nil
	})
	defer to.close(b)
	c := claim()
	b.ReportAllocs()
	for b.Loop() {
		if v, err := to.lane.Deliver(b.Context(), c, nil); err != nil || v.Sent != 1 {
			b.Fatal(v, err)
		}
	}
}
