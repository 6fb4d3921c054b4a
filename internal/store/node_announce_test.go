package store_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// heard keeps the announcements of a store.
type heard struct {
	mu   sync.Mutex
	list [][]uuid.UUID
}

func listen(s *store.Store) *heard {
	h := &heard{}
	s.OnAccepted(func(relays []uuid.UUID) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.list = append(h.list, slices.Clone(relays))
	})
	return h
}

// relays are those announced so far, and how many announcements named none.
func (h *heard) relays() (named map[uuid.UUID]bool, unnamed int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	named = map[uuid.UUID]bool{}
	for _, a := range h.list {
		if len(a) == 0 {
			unnamed++
		}
		for _, r := range a {
			named[r] = true
		}
	}
	return named, unnamed
}

func (h *heard) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.list)
}

// What one node accepts, the others hear of, also what is for later; and the node itself hears it once.
func TestAnnouncements(t *testing.T) {
	w := newWorld(t, realTime(storetest.Opens(t)))
	other := w.again()
	join(t, w.Store)
	join(t, other)
	here, there := listen(w.Store), listen(other)
	w.accept(t, w.message())
	eventually(t, "the other node hears of the relay", func() bool {
		named, _ := there.relays()
		return named[w.relay.ID]
	})
	_, unnamed := there.relays()
	later := w.message()
	later.SendAt = time.Now().Add(time.Hour)
	w.accept(t, later)
	eventually(t, "the other node hears of something for later", func() bool {
		_, now := there.relays()
		return now > unnamed
	})
	// What the other node accepts comes behind our own, if that came.
	before := here.count()
	m := w.message()
	if _, err := other.Tenant(w.tenant.ID()).Accept(t.Context(), []store.NewMessage{m}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other way round too", func() bool { return here.count() > before })
	if before != 2 || here.count() != 3 {
		t.Errorf("the node heard of its own 2 messages %d times, and of the other's %d times", before, here.count()-before)
	}
}

// More relays than one announcement can name are announced as something that may be anywhere.
func TestAnnouncementOfManyRelays(t *testing.T) {
	w := newWorld(t, realTime(storetest.Opens(t)))
	other := w.again()
	join(t, w.Store)
	join(t, other)
	there := listen(other)
	var msgs []store.NewMessage
	for i := range 201 {
		m := w.message()
		m.RelayID = newRelay(t, w.tenant, "r"+time.Duration(i).String()).ID
		msgs = append(msgs, m)
	}
	w.accept(t, msgs...)
	eventually(t, "the other node hears of it", func() bool {
		_, unnamed := there.relays()
		return unnamed > 0
	})
	if named, _ := there.relays(); len(named) > 0 {
		t.Errorf("%d relays were named", len(named))
	}
	msgs = msgs[:200]
	for i := range msgs {
		msgs[i].ID = store.NewID()
	}
	w.accept(t, msgs...)
	eventually(t, "the other node hears of each relay", func() bool {
		named, _ := there.relays()
		return len(named) == 200
	})
}

// realTime opens without the test's clock.
func realTime(open storetest.Open) storetest.Open {
	return func(...func(*store.Config)) *store.Store { return open() }
}
