package dispatch_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/dispatch"
	"github.com/postrider/postrider/internal/store"
)

// row is a message in the spool of memory.
type row struct {
	store.Claimed
	due     time.Time
	claim   uuid.UUID
	marked  bool
	ended   bool
	unknown bool
}

// memory is a store in memory for tests in a bubble of testing/synctest, where databases cannot run. It answers at once.
type memory struct {
	mu       sync.Mutex
	relays   map[uuid.UUID]*store.DeliveryRelay
	rows     []*row
	announce []func([]uuid.UUID)
	down     error // what every call fails with
	saves    int
	claims   int
	pauses   []time.Time // when PauseAuth was called
	resumes  []time.Time
	claimed  int                // most that were claimed at the same time
	torn     error              // what giving back fails with although it is done
	slow     time.Duration      // what questions for due messages and claims take
	dead     map[uuid.UUID]bool // nodes whose outcomes no longer arrive
}

func newMemory() *memory {
	return &memory{relays: map[uuid.UUID]*store.DeliveryRelay{}, dead: map[uuid.UUID]bool{}}
}

// relay adds a relay.
func (s *memory) relay(change func(*store.DeliveryRelay)) uuid.UUID {
	r := &store.DeliveryRelay{Relay: store.Relay{ID: uuid.New(), Name: "test", Host: "relay.test", Port: 25, UpdatedAt: time.Now()}}
	if change != nil {
		change(r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.relays[r.ID] = r
	return r.ID
}

// update changes a relay as its owner does.
func (s *memory) update(id uuid.UUID, change func(*store.DeliveryRelay)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.relays[id]
	change(r)
	r.UpdatedAt = time.Now()
	if r.Pause.Kind == store.PauseAuth {
		r.Pause, r.NotBefore = store.Pause{}, time.Time{}
	}
}

// accept puts messages in and announces them.
func (s *memory) accept(relay, tenant uuid.UUID, class store.Class, n int, change func(*row)) {
	s.mu.Lock()
	var relays []uuid.UUID
	for range n {
		r := &row{due: time.Now(), Claimed: store.Claimed{
			MessageID: uuid.New(), TenantID: tenant, RelayID: relay, Class: class, CreatedAt: time.Now(), Attempt: 1,
			Recipients: []store.ClaimedRecipient{{N: 0, Address: "someone@example.com"}},
		}}
		if change != nil {
			change(r)
		}
		s.rows = append(s.rows, r)
		if !r.due.After(time.Now()) {
			relays = []uuid.UUID{relay}
		}
	}
	s.mu.Unlock()
	for _, f := range s.announce {
		f(relays)
	}
}

func (s *memory) may(r *row, now time.Time) bool {
	relay := s.relays[r.RelayID]
	return relay != nil && !r.ended && r.claim == uuid.Nil && !r.due.After(now) && !relay.NotBefore.After(now) &&
		(relay.Pause.Kind == store.PauseNone || relay.Pause.Kind == store.PauseAuth)
}

func (s *memory) DueRelays(_ context.Context, now time.Time, limit int) ([]store.DueRelay, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []store.DueRelay
	for _, r := range s.rows {
		if s.may(r, now) && !slices.ContainsFunc(list, func(d store.DueRelay) bool { return d.ID == r.RelayID }) {
			list = append(list, store.DueRelay{ID: r.RelayID, OldestDue: r.due, Probe: s.relays[r.RelayID].Pause.Kind == store.PauseAuth})
		}
	}
	return list[:min(len(list), limit)], s.down
}

func (s *memory) NextDue(context.Context) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var next time.Time
	for _, r := range s.rows {
		if !r.ended && r.claim == uuid.Nil && r.due.After(time.Now()) && (next.IsZero() || r.due.Before(next)) {
			next = r.due
		}
	}
	return next, s.down
}

func (s *memory) ForeignClaims(_ context.Context, node uuid.UUID) ([]uuid.UUID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []uuid.UUID
	for _, r := range s.rows {
		if r.claim != uuid.Nil && r.claim != node && !slices.Contains(list, r.RelayID) {
			list = append(list, r.RelayID)
		}
	}
	return list, s.down
}

func (s *memory) OnAccepted(f func([]uuid.UUID)) { s.announce = append(s.announce, f) }

func (s *memory) ReleaseClaims(_ context.Context, node uuid.UUID) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.rows {
		if r.claim == node && s.down == nil && !s.dead[node] {
			r.claim = uuid.Nil
			n++
		}
	}
	return n, s.down
}

func (s *memory) Ping(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

func (s *memory) DeliveryRelay(_ context.Context, id uuid.UUID) (store.DeliveryRelay, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.relays[id]; r != nil {
		return *r, s.down
	}
	return store.DeliveryRelay{}, store.ErrNotFound
}

func (s *memory) SaveRelayState(_ context.Context, id uuid.UUID, state store.RelayState, node uuid.UUID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead[node] {
		return store.ErrNotMine
	}
	if r := s.relays[id]; r != nil && s.down == nil {
		r.State = state
		if r.Pause.Kind != store.PauseAuth {
			r.NotBefore = state.NotBefore
		}
		s.saves++
	}
	return s.down
}

func (s *memory) PauseAuth(_ context.Context, id uuid.UUID, reason string, probeAt time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.relays[id]
	r.Pause, r.NotBefore = store.Pause{Kind: store.PauseAuth, Reason: reason, At: time.Now()}, probeAt
	s.pauses = append(s.pauses, time.Now())
	return s.down
}

func (s *memory) ResumeAuth(_ context.Context, id uuid.UUID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.relays[id]
	r.Pause, r.NotBefore = store.Pause{}, time.Time{}
	s.resumes = append(s.resumes, time.Now())
	return s.down
}

func (s *memory) DueTenants(_ context.Context, relay uuid.UUID, now time.Time) ([]store.DueTenant, error) {
	<-time.After(s.slow)
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[store.DueTenant]bool{}
	var list []store.DueTenant
	for _, r := range s.rows {
		if t := (store.DueTenant{Tenant: r.TenantID, Class: r.Class}); r.RelayID == relay && s.may(r, now) && !seen[t] {
			seen[t] = true
			list = append(list, t)
		}
	}
	return list, s.down
}

func (s *memory) Claim(_ context.Context, q store.ClaimRequest) ([]store.Claimed, error) {
	<-time.After(s.slow)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return nil, s.down
	}
	var list []*row
	for _, r := range s.rows {
		if r.RelayID == q.Relay && r.TenantID == q.Tenant && r.Class == q.Class && s.may(r, q.Now) {
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list, func(a, b *row) int { return a.due.Compare(b.due) })
	var got []store.Claimed
	for _, r := range list[:min(len(list), q.Limit)] {
		r.claim, r.ClaimedAt = q.Node, q.Now
		got = append(got, r.Claimed)
	}
	s.claims++
	n := 0
	for _, r := range s.rows {
		if r.claim == q.Node && !r.ended {
			n++
		}
	}
	s.claimed = max(s.claimed, n)
	return got, nil
}

// Unclaim finds nothing: what fails here has taken nothing.
func (s *memory) Unclaim(context.Context, store.ClaimRequest) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return 0, s.down
}

func (s *memory) Record(_ context.Context, o store.Outcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return s.down
	}
	if s.dead[o.Node] {
		return store.ErrNotMine
	}
	for _, r := range s.rows {
		if r.MessageID == o.MessageID {
			if r.claim != o.Node || !o.ClaimedAt.IsZero() && !o.ClaimedAt.Equal(r.ClaimedAt) {
				return store.ErrNotMine
			}
			r.claim = uuid.Nil
			switch {
			case o.Release:
				if !o.NextDue.IsZero() {
					r.due = o.NextDue
				}
				if s.torn != nil {
					return s.torn
				}
			case o.NextDue.IsZero():
				r.ended = true
			default:
				r.Attempt++
				r.due = o.NextDue
			}
		}
	}
	return nil
}

func (s *memory) ResolveClaims(_ context.Context, relay, node uuid.UUID) (due, unknown int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rows {
		if r.RelayID == relay && r.claim != uuid.Nil && r.claim != node {
			r.claim = uuid.Nil
			if due++; r.marked {
				r.ended, r.unknown = true, true
				due--
				unknown++
			}
		}
	}
	return due, unknown, s.down
}

// left counts messages that have not ended, and those of them that are claimed.
func (s *memory) left() (open, claimed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rows {
		if !r.ended {
			open++
			if r.claim != uuid.Nil {
				claimed++
			}
		}
	}
	return open, claimed
}

// sending is an attempt that a lane of the tests made.
type sending struct {
	store.Claimed
	at time.Time
}

// lanes makes the lanes of the tests: answer says what an attempt comes to, after it took as long as it says.
type lanes struct {
	s      *memory
	node   uuid.UUID
	answer func(m store.Claimed, n int) (v delivery.Verdict, took time.Duration)

	mu      sync.Mutex
	sent    []sending
	flying  int
	most    int // at the same time
	opened  int
	closed  int
	cutOff  int
	keeps   bool          // outcomes are kept until the store takes them
	retryIn time.Duration // when deferred messages are due again; 0: 1 s
}

type testLane struct {
	*lanes
	row store.DeliveryRelay
}

func (l *lanes) lane(_ context.Context, row store.DeliveryRelay, _ func() bool) dispatch.Lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened++
	return testLane{l, row}
}

func (l testLane) Close(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed++
	return nil
}

func (l testLane) Deliver(ctx context.Context, m store.Claimed, over func(delivery.Verdict)) (delivery.Verdict, error) {
	l.mu.Lock()
	n := len(l.sent)
	l.sent = append(l.sent, sending{m, time.Now()})
	l.flying++
	l.most = max(l.most, l.flying)
	l.mu.Unlock()
	v, took := delivery.Verdict{Sent: len(m.Recipients)}, 20*time.Millisecond
	if l.answer != nil {
		v, took = l.answer(m, n)
	}
	timer := time.NewTimer(took)
	select {
	case <-timer.C:
	case <-ctx.Done():
		timer.Stop()
		l.mu.Lock()
		l.cutOff++
		l.mu.Unlock()
	}
	l.mu.Lock()
	l.flying--
	l.mu.Unlock()
	over(v)
	o := store.Outcome{Node: l.node, MessageID: m.MessageID, TenantID: m.TenantID, Release: v.Released}
	if v.Deferred > 0 {
		o.NextDue = time.Now().Add(cmp.Or(l.retryIn, time.Second))
	}
	if v.Released {
		o.NextDue = time.Now().Add(v.RetryAfter)
	}
	err := l.s.Record(context.WithoutCancel(ctx), o)
	for l.keeps && errors.Is(err, store.ErrUnavailable) {
		<-time.After(50 * time.Millisecond)
		err = l.s.Record(context.WithoutCancel(ctx), o)
	}
	return v, err
}

// attempts returns what was sent so far.
func (l *lanes) attempts() []sending {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.sent)
}

// rig is a dispatcher over memory.
type rig struct {
	*memory
	*lanes
	d    *dispatch.Dispatcher
	stop context.CancelFunc
	done chan error
}

// newRig runs a dispatcher until the test ends it with stop; within a bubble.
func newRig(t *testing.T, s *memory, answer func(m store.Claimed, n int) (delivery.Verdict, time.Duration), change func(*dispatch.Config)) *rig {
	t.Helper()
	node := uuid.New()
	r := &rig{memory: s, lanes: &lanes{s: s, node: node, answer: answer}, done: make(chan error, 1)}
	cfg := dispatch.Config{Store: s, Lane: r.lane, Node: node}
	if change != nil {
		change(&cfg)
	}
	var err error
	if r.d, err = dispatch.New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() { r.done <- r.d.Run(ctx) }()
	return r
}

// end stops the dispatcher and checks that it left nothing behind.
func (r *rig) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, claimed := r.left(); claimed > 0 {
		t.Errorf("%d messages are still claimed", claimed)
	}
	if r.opened == 0 || r.closed == 0 {
		t.Logf("%d lanes opened, %d closed", r.opened, r.closed)
	}
	if n := len(r.d.Stats().Relays); n > 0 {
		t.Errorf("%d relays are still being drained", n)
	}
}
