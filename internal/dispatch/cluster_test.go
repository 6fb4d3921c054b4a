package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/dispatch"
	"github.com/postrider/postrider/internal/store"
)

// cluster are the locks of several nodes on one spool.
type cluster struct {
	*memory
	mu    sync.Mutex
	owner map[uuid.UUID]*member
	live  []*member
	mute  bool // nobody hears that relays were let go of
}

// member is one node: its locks, and what it hears of the others.
type member struct {
	*rig
	c       *cluster
	mu      sync.Mutex
	lost    chan struct{}
	changed chan struct{}
	held    bool // can be relied on
	session bool
	freed   func([]uuid.UUID)
	taken   map[uuid.UUID]int // how often a relay was taken
}

func newCluster() *cluster {
	return &cluster{memory: newMemory(), owner: map[uuid.UUID]*member{}}
}

// join starts a node.
func (c *cluster) join(t *testing.T, took time.Duration, change func(*dispatch.Config)) *member {
	t.Helper()
	m := &member{c: c, lost: make(chan struct{}), changed: make(chan struct{}), held: true, session: true, taken: map[uuid.UUID]int{}}
	c.mu.Lock()
	c.live = append(c.live, m)
	c.mu.Unlock()
	m.rig = newRig(t, c.memory, sentIn(took), func(cfg *dispatch.Config) {
		cfg.Locks, cfg.Peers = m, m
		if change != nil {
			change(cfg)
		}
	})
	c.tell()
	return m
}

// tell tells all that a node came or went.
func (c *cluster) tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.live {
		m.mu.Lock()
		close(m.changed)
		m.changed = make(chan struct{})
		m.mu.Unlock()
	}
}

// free frees all relays of a member.
func (c *cluster) free(m *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, o := range c.owner {
		if o == m {
			delete(c.owner, id)
		}
	}
}

// lose ends a member's session, of which it hears late or at once.
func (m *member) lose(hears bool) {
	m.mu.Lock()
	m.session, m.held = false, !hears
	old := m.lost
	m.lost = make(chan struct{})
	m.mu.Unlock()
	m.c.free(m)
	if hears {
		close(old)
	}
}

// die ends a member as kill -9 does: nothing of it reaches the store any more.
func (m *member) die() {
	m.c.memory.mu.Lock()
	m.c.dead[m.node] = true
	m.c.memory.mu.Unlock()
	m.leave()
	m.stop()
}

// leave takes a member out of the cluster.
func (m *member) leave() {
	m.lose(true)
	m.c.mu.Lock()
	for i, o := range m.c.live {
		if o == m {
			m.c.live = append(m.c.live[:i:i], m.c.live[i+1:]...)
			break
		}
	}
	m.c.mu.Unlock()
	m.c.tell()
}

// end stops a member in good order: nothing of it stays claimed.
func (m *member) end(t *testing.T) {
	t.Helper()
	m.stop()
	if err := <-m.done; err != nil {
		t.Errorf("Run: %v", err)
	}
	m.c.memory.mu.Lock()
	defer m.c.memory.mu.Unlock()
	for _, r := range m.rows {
		if r.claim == m.node {
			t.Errorf("message %s is still claimed", r.MessageID)
		}
	}
}

// drains are the relays that a member has.
func (m *member) drains() int {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	n := 0
	for _, o := range m.c.owner {
		if o == m {
			n++
		}
	}
	return n
}

func (m *member) TryLock(_ context.Context, relay uuid.UUID) (bool, error) {
	m.mu.Lock()
	session := m.session
	m.mu.Unlock()
	if !session {
		return false, errors.New("no session")
	}
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	if m.c.owner[relay] != nil {
		return false, nil
	}
	m.c.owner[relay] = m
	m.taken[relay]++
	return true, nil
}

func (m *member) Unlock(_ context.Context, relay uuid.UUID) error {
	m.c.mu.Lock()
	if m.c.owner[relay] != m {
		m.c.mu.Unlock()
		return nil
	}
	delete(m.c.owner, relay)
	var others []*member
	for _, o := range m.c.live {
		if o != m && !m.c.mute {
			others = append(others, o)
		}
	}
	m.c.mu.Unlock()
	for _, o := range others {
		o.freed([]uuid.UUID{relay})
	}
	return nil
}

func (m *member) Lost() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost
}

func (m *member) Held() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held
}

func (m *member) Delivering() int {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	return max(1, len(m.c.live))
}

func (m *member) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

func (m *member) OnFreed(f func([]uuid.UUID)) { m.freed = f }

// busy makes relays that have work for a long time.
func (c *cluster) busy(n, messages int) []uuid.UUID {
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = c.relay(func(r *store.DeliveryRelay) { r.Limits.MaxConns = 1 })
		c.accept(ids[i], uuid.New(), store.ClassTransactional, messages, nil)
	}
	return ids
}

// once checks that no message was sent twice, and returns how many were sent.
func once(t *testing.T, members ...*member) int {
	t.Helper()
	seen := map[uuid.UUID]bool{}
	for _, m := range members {
		for _, a := range m.attempts() {
			if seen[a.MessageID] {
				t.Errorf("message %s was sent twice", a.MessageID)
			}
			seen[a.MessageID] = true
		}
	}
	return len(seen)
}

// A node that joins gets its share, relay by relay in good order; then none wanders any more. Who leaves in order leaves the others all.
func TestShareIsDivided(t *testing.T) {
	for _, mute := range []bool{false, true} {
		t.Run(fmt.Sprintf("mute=%v", mute), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := newCluster()
				c.mute = mute
				a := c.join(t, 500*time.Millisecond, nil)
				c.busy(12, 400)
				wait(5 * time.Second)
				if n := a.drains(); n != 12 {
					t.Errorf("alone it drains %d of 12", n)
				}
				b := c.join(t, 500*time.Millisecond, nil)
				wait(30 * time.Second)
				if a.drains() != 6 || b.drains() != 6 {
					t.Errorf("after the second joined they drain %d and %d", a.drains(), b.drains())
				}
				third := c.join(t, 500*time.Millisecond, nil)
				wait(30 * time.Second)
				if a.drains() != 4 || b.drains() != 4 || third.drains() != 4 {
					t.Errorf("after the third joined they drain %d, %d and %d", a.drains(), b.drains(), third.drains())
				}
				taken := len(a.taken) + len(b.taken) + len(third.taken)
				wait(60 * time.Second)
				if n := len(a.taken) + len(b.taken) + len(third.taken); n != taken {
					t.Errorf("relays changed hands: %d takings, then %d", taken, n)
				}
				b.end(t)
				b.leave()
				wait(5 * time.Second)
				if a.drains() != 6 || third.drains() != 6 {
					t.Errorf("after one left they drain %d and %d", a.drains(), third.drains())
				}
				if s := a.d.Stats(); s.LetGo < 8 || s.LetGo > 16 || s.Losses != 0 {
					t.Errorf("counted %+v", s)
				}
				a.end(t)
				a.leave()
				third.end(t)
				once(t, a, b, third)
			})
		})
	}
}

// The relays of a node that dies go on elsewhere at once, and what it had claimed too.
func TestNodeDies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster()
		nodes := []*member{c.join(t, 200*time.Millisecond, nil), c.join(t, 200*time.Millisecond, nil), c.join(t, 200*time.Millisecond, nil)}
		relays := c.busy(12, 300)
		wait(20 * time.Second)
		dead := nodes[0]
		orphans := map[uuid.UUID]bool{}
		c.mu.Lock()
		for _, id := range relays {
			if c.owner[id] == dead {
				orphans[id] = true
			}
		}
		c.mu.Unlock()
		if len(orphans) != 4 {
			t.Fatalf("it drained %d", len(orphans))
		}
		before := []int{len(nodes[1].attempts()), len(nodes[2].attempts())}
		dead.die()
		died := time.Now()
		wait(500 * time.Millisecond)
		for i, m := range nodes[1:] {
			for _, a := range m.attempts()[before[i]:] {
				if orphans[a.RelayID] {
					delete(orphans, a.RelayID)
					if late := a.at.Sub(died); late > 200*time.Millisecond {
						t.Errorf("a relay waited %v", late)
					}
				}
			}
		}
		if len(orphans) > 0 {
			t.Errorf("%d of its relays have not gone on in half a second", len(orphans))
		}
		wait(20 * time.Second)
		if a, b := nodes[1].drains(), nodes[2].drains(); a != 6 || b != 6 {
			t.Errorf("the others drain %d and %d", a, b)
		}
		if err := <-dead.done; err != nil {
			t.Error(err)
		}
		nodes[1].end(t)
		nodes[1].leave()
		nodes[2].end(t)
	})
}

// A node that has its share or is at capacity takes what nobody else takes, a little later.
func TestNothingWaitsForNodeAtCapacity(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster()
		full := c.join(t, time.Hour, func(cfg *dispatch.Config) { cfg.MaxConcurrent, cfg.StopWithin = 4, -1 })
		hangs := c.relay(func(r *store.DeliveryRelay) { r.Limits.MaxConns = 10 })
		c.accept(hangs, uuid.New(), store.ClassTransactional, 100, nil)
		more := c.relay(func(r *store.DeliveryRelay) { r.Limits.MaxConns = 10 })
		c.accept(more, uuid.New(), store.ClassTransactional, 100, nil)
		wait(5 * time.Second)
		free := c.join(t, 10*time.Millisecond, nil)
		wait(5 * time.Second)
		for range 10 { // the other would have to take half of them
			c.accept(c.relay(nil), uuid.New(), store.ClassTransactional, 5, nil)
		}
		wait(5 * time.Second)
		if n := len(free.attempts()); n < 50 {
			t.Errorf("%d of 50 messages have left", n)
		}
		full.end(t)
		full.leave()
		free.end(t)
	})
}

// From the moment when the session is lost nothing is started, whether the node hears of it or only knows that it has heard nothing for too long. What it had
// in hand goes on, and so does everything when the session is back: nothing stays with a claim that nobody knows of.
func TestSessionIsLost(t *testing.T) {
	for _, hears := range []bool{true, false} {
		t.Run(fmt.Sprintf("hears=%v", hears), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := newCluster()
				a := c.join(t, 100*time.Millisecond, nil)
				a.keeps = true
				c.busy(3, 600)
				wait(5 * time.Second)
				c.memory.mu.Lock()
				c.down = store.ErrUnavailable // with the session the database is away, so that nothing can be given back
				c.memory.mu.Unlock()
				if hears {
					a.lose(true)
				} else {
					a.mu.Lock()
					a.held = false
					a.mu.Unlock()
				}
				started := len(a.attempts())
				wait(5 * time.Second)
				if n := len(a.attempts()); n != started {
					t.Errorf("%d messages were started after the session was lost", n-started)
				}
				c.memory.mu.Lock()
				c.down = nil
				c.memory.mu.Unlock()
				a.mu.Lock()
				a.session, a.held = true, true
				a.mu.Unlock()
				wait(3 * time.Second)
				if n := a.drains(); n != 3 || len(a.attempts()) == started {
					t.Errorf("it drains %d relays again, %d messages sent since", n, len(a.attempts())-started)
				}
				wait(90 * time.Second)
				if open, claimed := c.left(); open > 0 {
					t.Errorf("%d messages have not left, %d of them claimed", open, claimed)
				}
				a.end(t)
				once(t, a)
			})
		})
	}
}

// A session that is lost while the node does not know and another takes over: only what was being sent that moment can go out twice.
func TestTakenFromNodeThatStalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster()
		a := c.join(t, 100*time.Millisecond, nil)
		relay := c.busy(1, 400)[0]
		wait(5 * time.Second)
		a.mu.Lock()
		a.held = false // it has been stopped, and goes on
		a.mu.Unlock()
		c.free(a)
		b := c.join(t, 100*time.Millisecond, nil)
		wait(60 * time.Second)
		if b.drains() != 1 && c.owner[relay] != nil {
			t.Error("the other did not take the relay")
		}
		if open, claimed := c.left(); open > 0 {
			t.Errorf("%d messages have not left, %d of them claimed", open, claimed)
		}
		sent := map[uuid.UUID]int{}
		for _, m := range []*member{a, b} {
			for _, s := range m.attempts() {
				sent[s.MessageID]++
			}
		}
		twice := 0
		for _, n := range sent {
			if n > 1 {
				twice++
			}
		}
		if twice > 1 || len(sent) != 400 {
			t.Errorf("%d messages were sent, %d twice; one was under way", len(sent), twice)
		}
		a.end(t)
		b.end(t)
	})
}

// Claims of another node that come to be after a relay was taken from it, since they were under way, are settled by who drains it.
func TestClaimThatComesLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster()
		a := c.join(t, 100*time.Millisecond, nil)
		relay := c.busy(1, 100)[0]
		wait(time.Second)
		c.accept(relay, uuid.New(), store.ClassTransactional, 5, func(r *row) { r.claim = uuid.New() })
		wait(20 * time.Second)
		if open, claimed := c.left(); open > 0 {
			t.Errorf("%d messages have not left, %d of them claimed", open, claimed)
		}
		a.end(t)
	})
}
