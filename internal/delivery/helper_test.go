package delivery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/smtp/smtptest"
)

const hello = "From: ann@example.com\r\nSubject: hello\r\n\r\nHello.\r\n"

var errAway = fmt.Errorf("the database is away: %w", store.ErrUnavailable)

// memory is a store that remembers calls in their order.
type memory struct {
	mu       sync.Mutex
	outcomes []store.Outcome
	marks    int
	failing  int                      // so many Records fail before one succeeds; -1: all
	refuse   func(store.Outcome) bool // nil: none
	failWith error
	tries    int
	markErr  error
	onMark   func()
	onFail   func()
	contents map[uuid.UUID][]byte
	opened   int
	openErr  error
}

func (m *memory) Mark(context.Context, uuid.UUID, uuid.UUID, uuid.UUID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.marks++
	if m.onMark != nil {
		m.onMark()
	}
	return m.markErr
}

func (m *memory) Record(_ context.Context, o store.Outcome) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tries++
	if m.refuse != nil && m.refuse(o) {
		return errors.New("a row that cannot be")
	}
	if m.failing != 0 {
		m.failing--
		if m.onFail != nil {
			m.onFail()
		}
		if m.failWith != nil {
			return m.failWith
		}
		return errAway
	}
	m.outcomes = append(m.outcomes, o)
	return nil
}

func (m *memory) OpenContent(_ context.Context, _, content uuid.UUID) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened++
	b, ok := m.contents[content]
	if m.openErr != nil {
		return nil, m.openErr
	}
	if !ok {
		return nil, errAway
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// last gives the newest outcome.
func (m *memory) last(t rapid.TB) store.Outcome {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.outcomes) == 0 {
		t.Fatal("nothing was recorded")
	}
	return m.outcomes[len(m.outcomes)-1]
}

// bench is a lane to a scripted server.
type bench struct {
	srv   *smtptest.Server
	store *memory
	d     *delivery.Deliverer
	row   store.DeliveryRelay
	lane  *delivery.Lane
	node  uuid.UUID
	seen  []delivery.Observation
}

// newBench makes a lane to srv, which it reaches by net.Pipe. change may be nil.
func newBench(t rapid.TB, srv *smtptest.Server, change func(*delivery.Config, *store.DeliveryRelay)) *bench {
	t.Helper()
	b := &bench{srv: srv, store: &memory{contents: map[uuid.UUID][]byte{}}, node: uuid.New()}
	cfg := delivery.Config{
		Store: b.store, Dial: srv.PipeDial, Node: b.node, LocalName: "client.example.com",
		Unseal:  func(_ uuid.UUID, sealed []byte) (string, error) { return string(sealed), nil },
		Random:  func() float64 { return 0.5 }, // no jitter
		Observe: func(o delivery.Observation) { b.seen = append(b.seen, o) },
	}
	b.row = store.DeliveryRelay{Relay: store.Relay{ID: uuid.New(), Name: "test", Host: "localhost", Port: 25, TLS: "none"}}
	if change != nil {
		change(&cfg, &b.row)
	}
	var err error
	if b.d, err = delivery.New(cfg); err != nil {
		t.Fatal(err)
	}
	b.lane = b.d.Relay(context.Background(), b.row, nil)
	return b
}

// close ends the lane; within a bubble of testing/synctest before the bubble ends.
func (b *bench) close(t rapid.TB) {
	t.Helper()
	if err := b.lane.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// deliver makes one attempt, which must be recorded.
func (b *bench) deliver(t rapid.TB, c store.Claimed) (store.Outcome, delivery.Verdict) {
	t.Helper()
	v, err := b.lane.Deliver(context.Background(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b.store.last(t), v
}

// claim is a first attempt to bob and others.
func claim(rcpt ...string) store.Claimed {
	now := time.Now()
	c := store.Claimed{
		MessageID: uuid.New(), TenantID: uuid.New(), ContentID: uuid.New(), Attempt: 1, CreatedAt: now, GiveUpAt: now.Add(72 * time.Hour),
		MailFrom: "ann@example.com", OnUnknown: store.OnUnknownRetry, Content: []byte(hello), Size: int64(len(hello)),
	}
	if len(rcpt) == 0 {
		rcpt = []string{"bob@example.com"}
	}
	for i, address := range rcpt {
		c.Recipients = append(c.Recipients, store.ClaimedRecipient{N: i + 1, Address: address, State: store.Queued})
	}
	return c
}

// states are those of an outcome's recipients, in their order.
func states(o store.Outcome) []store.RecipientState {
	var s []store.RecipientState
	for _, r := range o.Recipients {
		s = append(s, r.State)
	}
	return s
}

func wantStates(t rapid.TB, o store.Outcome, want ...store.RecipientState) {
	t.Helper()
	if got := states(o); !slices.Equal(got, want) {
		t.Errorf("recipients are %v, want %v", got, want)
	}
}
