package store_test

import (
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// clock is a clock that the test moves.
type clock struct{ at atomic.Pointer[time.Time] }

func newClock() *clock {
	c := &clock{}
	start := time.Now().UTC().Truncate(time.Microsecond) // ids carry the real time
	c.at.Store(&start)
	return c
}

func (c *clock) now() time.Time { return *c.at.Load() }

func (c *clock) pass(d time.Duration) {
	next := c.now().Add(d)
	c.at.Store(&next)
}

// world is a store with a tenant that has a user and a relay.
type world struct {
	*store.Store
	clock  *clock
	open   storetest.Open
	tenant store.Tenant
	user   uuid.UUID
	relay  store.Relay
	node   uuid.UUID
}

func newWorld(t *testing.T, open storetest.Open) *world {
	t.Helper()
	w := &world{clock: newClock(), open: open, node: store.NewID()}
	w.Store = w.again()
	tenant, admin := newTenant(t, w.Store, "acme")
	w.tenant, w.user = tenant, admin.ID
	w.relay = newRelay(t, tenant, "main")
	return w
}

// again opens the database as another process does.
func (w *world) again() *store.Store {
	return w.open(func(c *store.Config) { c.Now = w.clock.now })
}

func relayNamed(name string) store.NewRelay {
	return store.NewRelay{Name: name, Host: "relay.example.com", Port: 587, TLS: "tls", Username: "u", SealedPassword: []byte("sealed")}
}

func newRelay(t *testing.T, tenant store.Tenant, name string) store.Relay {
	t.Helper()
	return must[store.Relay](t)(tenant.CreateRelay(t.Context(), relayNamed(name), by()))
}

// message is a message of the world to these recipients.
func (w *world) message(to ...string) store.NewMessage {
	if len(to) == 0 {
		to = []string{"bob@example.net"}
	}
	m := store.NewMessage{
		ID: store.NewID(), UserID: w.user, RelayID: w.relay.ID, MailFrom: "ann@example.com", HeaderFrom: "Ann <ann@example.com>",
		Subject: "Hello", MessageID: "<1@example.com>", GiveUpAt: w.clock.now().Add(72 * time.Hour), Content: []byte("Subject: Hello\r\n\r\nHello.\r\n"),
	}
	for _, address := range to {
		m.Recipients = append(m.Recipients, store.NewRecipient{Address: address, Field: "to"})
	}
	return m
}

func (w *world) accept(t *testing.T, msgs ...store.NewMessage) {
	t.Helper()
	if _, err := w.tenant.Accept(t.Context(), msgs, nil); err != nil {
		t.Fatal(err)
	}
}

// claim takes up to limit messages of the world's tenant and relay.
func (w *world) claim(t *testing.T, limit int) []store.Claimed {
	t.Helper()
	return must[[]store.Claimed](t)(w.Claim(t.Context(), store.ClaimRequest{
		Relay: w.relay.ID, Tenant: w.tenant.ID(), Limit: limit, Node: w.node, Now: w.clock.now(),
	}))
}

// one claims exactly one message.
func (w *world) one(t *testing.T) store.Claimed {
	t.Helper()
	list := w.claim(t, 10)
	if len(list) != 1 {
		t.Fatalf("%d messages claimed, want 1", len(list))
	}
	return list[0]
}

// outcome is what an attempt led to: a state for each of the claim's recipients, the last one for all that follow.
func (w *world) outcome(c store.Claimed, states ...store.RecipientState) store.Outcome {
	o := store.Outcome{
		Node: w.node, MessageID: c.MessageID, TenantID: c.TenantID,
		Attempt: store.AttemptRecord{N: c.Attempt, StartedAt: w.clock.now(), EndedAt: w.clock.now(), Phase: "done", Status: "success", Transcript: "C: QUIT"},
	}
	for i, r := range c.Recipients {
		state := states[min(i, len(states)-1)]
		o.Recipients = append(o.Recipients, store.RecipientOutcome{N: r.N, State: state, Code: codeOf(state), Text: string(state)})
	}
	return o
}

func codeOf(s store.RecipientState) int {
	switch s {
	case store.Sent:
		return 250
	case store.Deferred:
		return 451
	case store.Failed:
		return 550
	}
	return 0
}

func (w *world) record(t *testing.T, o store.Outcome) {
	t.Helper()
	if err := w.Record(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func (w *world) detail(t *testing.T, id uuid.UUID) store.MessageDetail {
	t.Helper()
	return must[store.MessageDetail](t)(w.tenant.Message(t.Context(), id))
}

// states are the states of a message's recipients.
func (w *world) states(t *testing.T, id uuid.UUID) []store.RecipientState {
	t.Helper()
	var list []store.RecipientState
	for _, r := range w.detail(t, id).Recipients {
		list = append(list, r.State)
	}
	return list
}

func readAll(t *testing.T, r io.ReadCloser) []byte {
	t.Helper()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return data
}
