package store_test

import (
	"bytes"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

func addEntries(t *testing.T, s *store.Store, n int) {
	t.Helper()
	tenant := store.NewID()
	for n > 0 {
		piece := min(n, 1000)
		list := make([]store.AuditEntry, piece)
		for i := range list {
			list[i] = store.AuditEntry{TenantID: tenant, Action: "test", Actor: by()}
		}
		if err := s.AddAudit(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		n -= piece
	}
}

// chainAll chains until nothing waits and returns how many were chained.
func chainAll(t *testing.T, s *store.Store) int {
	t.Helper()
	total := 0
	for {
		n, err := s.ChainAudit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if total += n; n == 0 {
			return total
		}
	}
}

func TestWhatWaitsForTheChainIsCounted(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		s := open(func(c *store.Config) { c.Now = func() time.Time { return at(3) } })
		verify := func() store.AuditReport {
			return must[store.AuditReport](t)(s.VerifyAudit(t.Context(), store.VerifyConfig{}))
		}
		if r := verify(); !r.OK() || r.Entries != 0 || r.Unchained != 0 || !r.Oldest.IsZero() || !r.Unsigned {
			t.Errorf("an empty log: %+v", r)
		}
		addEntries(t, s, 2500)
		// Here the process dies, and another one goes on.
		if r := verify(); !r.OK() || r.Entries != 0 || r.Unchained != 2500 || !r.Oldest.Equal(at(3)) {
			t.Errorf("before it is chained: %+v", r)
		}
		s = open()
		if n, err := s.ChainAudit(t.Context()); n != 1000 || err != nil {
			t.Errorf("the first batch has %d, %v", n, err)
		}
		if r := verify(); !r.OK() || r.Entries != 1000 || r.Unchained != 1500 {
			t.Errorf("after the first batch: %+v", r)
		}
		if n := chainAll(t, s); n != 1500 {
			t.Errorf("%d were left", n)
		}
		if r := verify(); !r.OK() || r.Entries != 2500 || r.Unchained != 0 || !r.Oldest.IsZero() {
			t.Errorf("in the end: %+v", r)
		}
	})
}

func TestSeveralChainersAtOnce(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		nodes := []*store.Store{open(), open()}
		const writers, each = 4, 25
		var chained [4]int
		var writing, chaining sync.WaitGroup
		written := make(chan struct{})
		for i := range writers {
			writing.Go(func() {
				for range each {
					if err := nodes[i%2].AddAudit(t.Context(), []store.AuditEntry{{TenantID: uuid.Max, Action: "a", Actor: by()}, {Action: "b"}}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for i := range chained {
			chaining.Go(func() {
				for done := false; ; {
					n, err := nodes[i%2].ChainAudit(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					chained[i] += n
					if done && n == 0 {
						return
					}
					select {
					case <-written:
						done = true
					default:
					}
				}
			})
		}
		// Verification while all that goes on finds nothing wrong either.
		for range 3 {
			if r, err := nodes[0].VerifyAudit(t.Context(), store.VerifyConfig{}); err != nil || !r.OK() {
				t.Errorf("meanwhile: %+v, %v", r, err)
			}
		}
		writing.Wait()
		close(written)
		chaining.Wait()
		total := chained[0] + chained[1] + chained[2] + chained[3] + chainAll(t, nodes[0])
		r := must[store.AuditReport](t)(nodes[1].VerifyAudit(t.Context(), store.VerifyConfig{}))
		if total != 2*writers*each || r.Entries != int64(total) || !r.OK() {
			t.Errorf("chained %d: %+v", total, r)
		}
	})
}

func TestCheckpointsAreSignedInTime(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		now := at(0)
		var log bytes.Buffer
		s := open(func(c *store.Config) {
			c.Checkpoint, c.Now = newSigner(t), func() time.Time { return now }
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
		checkpoints := func() int { return strings.Count(log.String(), "audit checkpoint") }
		steps := []struct {
			name    string
			after   time.Duration
			entries int
			want    int // lines in the log in all
		}{
			{"nothing to sign", 0, 0, 0},
			{"the first link", 0, 1, 1},
			{"soon after", time.Minute, 1, 1},
			{"not so soon", 4 * time.Minute, 0, 2},
			{"nothing new", time.Hour, 0, 2},
			{"after a quiet time", 0, 1, 3},
			{"many", 0, 1002, 4},
			{"few", 0, 2, 4},
		}
		for _, step := range steps {
			now = now.Add(step.after)
			addEntries(t, s, step.entries)
			chainAll(t, s)
			if got := checkpoints(); got != step.want {
				t.Errorf("%s: %d checkpoints, want %d", step.name, got, step.want)
			}
		}
		p := must[store.AuditCheckpoint](t)(s.CheckpointAudit(t.Context()))
		if got := checkpoints(); got != 5 || p.Seq != 1007 {
			t.Errorf("on demand: %d checkpoints, the last at %d", got, p.Seq)
		}
		again := must[store.AuditCheckpoint](t)(s.CheckpointAudit(t.Context()))
		if got := checkpoints(); got != 5 || again.Seq != p.Seq || !bytes.Equal(again.Hash, p.Hash) {
			t.Errorf("with nothing new: %d checkpoints, the last at %d", got, again.Seq)
		}
		r := must[store.AuditReport](t)(s.VerifyAudit(t.Context(), store.VerifyConfig{Log: strings.NewReader(log.String())}))
		if !r.OK() || r.Checkpoints != 5 || r.LogCheckpoints != 5 || r.Last.Seq != 1007 || r.Unsigned {
			t.Errorf("verified: %+v", r)
		}
		// With other keys the checkpoints are not ours.
		r = must[store.AuditReport](t)(s.VerifyAudit(t.Context(), store.VerifyConfig{Verifier: newSigner(t), Log: strings.NewReader(log.String())}))
		if r.FaultCount != 5 || r.Faults[0].Kind != store.AuditForged || r.LogUnverified != 5 || r.LogCheckpoints != 0 {
			t.Errorf("verified with another key: %+v", r)
		}
	})
}

// brokenSigner cannot sign.
type brokenSigner struct{ signer }

func (brokenSigner) Sign([]byte) ([]byte, error) { return nil, errors.New("no key") }

func TestAFailedCheckpointTakesItsLinksBack(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		addEntries(t, open(), 3)
		s := open(func(c *store.Config) { c.Checkpoint = brokenSigner{newSigner(t)} })
		if n, err := s.ChainAudit(t.Context()); err == nil || n != 0 {
			t.Errorf("chained %d, %v", n, err)
		}
		r := must[store.AuditReport](t)(s.VerifyAudit(t.Context(), store.VerifyConfig{}))
		if !r.OK() || r.Entries != 0 || r.Unchained != 3 {
			t.Errorf("after it: %+v", r)
		}
	})
}

func TestALongLogIsVerifiedInLittleMemory(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		n := 20_000 // writing takes its time
		s := open(func(c *store.Config) { c.Checkpoint = newSigner(t) })
		if testing.Short() {
			n = 5_000
		}
		addEntries(t, s, n)
		chainAll(t, s)
		var least, most uint64
		pages := 0
		r := must[store.AuditReport](t)(s.VerifyAudit(t.Context(), store.VerifyConfig{Progress: func(int64) {
			if pages++; pages%8 != 1 {
				return
			}
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if least == 0 {
				least, most = m.HeapAlloc, m.HeapAlloc
			}
			least, most = min(least, m.HeapAlloc), max(most, m.HeapAlloc)
		}}))
		if !r.OK() || r.Entries != int64(n) || r.Checkpoints < int64(n/1000) {
			t.Errorf("got %+v", r)
		}
		t.Logf("%d pages, between %d and %d KiB", pages, least>>10, most>>10)
		// An entry takes several times this.
		if most-least > uint64(n)*100 {
			t.Errorf("memory grew from %d to %d octets", least, most)
		}
	})
}
