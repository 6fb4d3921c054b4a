package dispatch_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/dispatch"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
	"github.com/postrider/postrider/smtp/smtptest"
)

// live is a dispatcher over a real store that sends to real sockets.
type live struct {
	tb      testing.TB
	store   *store.Store
	tenants []store.Tenant
	users   []uuid.UUID

	mu      sync.Mutex
	arrived []string // senders, in the order in which their messages were taken
	of      map[string]int
	signal  chan struct{}
}

func by() store.Actor { return store.Actor{Kind: store.ActorCommand, RequestID: "test"} }

// newLive makes a store with tenants.
func newLive(tb testing.TB, s *store.Store, tenants int) *live {
	tb.Helper()
	w := &live{tb: tb, store: s, signal: make(chan struct{}, 1), of: map[string]int{}}
	for i := range tenants {
		record, admin, err := s.Operator().CreateTenant(tb.Context(), store.NewTenant{
			Name: fmt.Sprintf("tenant-%d", i), Admin: store.NewUser{Email: "admin@example.com", Name: "Ann", PasswordHash: "h"},
		}, by())
		w.must(err)
		w.tenants = append(w.tenants, s.Tenant(record.ID))
		w.users = append(w.users, admin.ID)
	}
	return w
}

func (w *live) must(err error) {
	w.tb.Helper()
	if err != nil {
		w.tb.Fatal(err)
	}
}

// receiver starts a server that notes whose messages it takes, and in which order.
func (w *live) receiver(cfg smtptest.Config) *smtptest.Server {
	cfg.KeepRecords, cfg.MaxContent = -1, -1
	cfg.OnTransaction = func(t smtptest.Transaction) {
		w.mu.Lock()
		w.arrived = append(w.arrived, t.MailFrom.Address)
		w.of[t.MailFrom.Address]++
		w.mu.Unlock()
		select {
		case w.signal <- struct{}{}:
		default:
		}
	}
	return smtptest.StartT(w.tb, cfg)
}

// senders returns whose messages arrived so far.
func (w *live) senders() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.arrived...)
}

// count says how many messages of a tenant arrived; -1: of all.
func (w *live) count(tenant int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if tenant < 0 {
		return len(w.arrived)
	}
	return w.of[sender(tenant)]
}

// until waits until something is so; it looks after each message that arrives, and now and then.
func (w *live) until(what string, is func() bool) {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(w.tb.Context(), 30*time.Second)
	defer cancel()
	for !is() {
		again := time.NewTimer(20 * time.Millisecond)
		select {
		case <-w.signal:
		case <-again.C:
		case <-ctx.Done():
			w.tb.Fatalf("waited in vain until %s; %d messages arrived", what, w.count(-1))
		}
		again.Stop()
	}
}

// relay makes a tenant's relay that is the server; tenant -1: the operator's, shared with all.
func (w *live) relay(tenant int, srv *smtptest.Server, change func(*store.NewRelay)) uuid.UUID {
	w.tb.Helper()
	n := store.NewRelay{Name: store.NewID().String(), Host: srv.Host(), Port: srv.Port(), TLS: "none"}
	if change != nil {
		change(&n)
	}
	if tenant >= 0 {
		r, err := w.tenants[tenant].CreateRelay(w.tb.Context(), n, by())
		w.must(err)
		return r.ID
	}
	r, err := w.store.Operator().CreateRelay(w.tb.Context(), n, by())
	w.must(err)
	for _, t := range w.tenants {
		w.must(w.store.Operator().ShareRelay(w.tb.Context(), r.ID, t.ID(), by()))
	}
	return r.ID
}

func sender(tenant int) string { return fmt.Sprintf("t%d@example.com", tenant) }

// content is a message of 2 KB.
var content = []byte("From: ann@example.com\r\nSubject: hello\r\n\r\n" + strings.Repeat("Hello, this is a line of text that fills a message.\r\n", 38))

// accept queues messages of a tenant, 200 in a request.
func (w *live) accept(tenant int, relay uuid.UUID, n int, change func(*store.NewMessage)) {
	w.tb.Helper()
	for n > 0 {
		list := make([]store.NewMessage, min(n, 200))
		n -= len(list)
		for i := range list {
			list[i] = store.NewMessage{
				ID: store.NewID(), UserID: w.users[tenant], RelayID: relay, MailFrom: sender(tenant), HeaderFrom: sender(tenant), Subject: "hello",
				MessageID: "<1@example.com>", GiveUpAt: time.Now().Add(72 * time.Hour), Content: content, Size: int64(len(content)),
				Recipients: []store.NewRecipient{{Address: "someone@example.net", Field: "to"}},
			}
			if change != nil {
				change(&list[i])
			}
		}
		_, err := w.tenants[tenant].Accept(w.tb.Context(), list, nil)
		w.must(err)
	}
}

// run runs a dispatcher until the test ends or stop is called.
func (w *live) run(change func(*dispatch.Config, *delivery.Config)) (d *dispatch.Dispatcher, stop func()) {
	w.tb.Helper()
	node := store.NewID()
	deliver := delivery.Config{
		Store: w.store, Dial: (&net.Dialer{}).DialContext, Node: node,
		Unseal: func(_ uuid.UUID, sealed []byte) (string, error) { return string(sealed), nil },
	}
	cfg := dispatch.Config{Store: w.store, Node: node, Linger: 100 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(w.tb.Output(), &slog.HandlerOptions{Level: slog.LevelError}))}
	if change != nil {
		change(&cfg, &deliver)
	}
	deliverer, err := delivery.New(deliver)
	w.must(err)
	cfg.Unrecorded = deliverer.Unrecorded
	cfg.Lane = func(ctx context.Context, row store.DeliveryRelay, held func() bool) dispatch.Lane {
		return deliverer.Relay(ctx, row, held)
	}
	d, err = dispatch.New(cfg)
	w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.tb.Errorf("Run: %v", err)
		}
	})
	w.tb.Cleanup(stop)
	return d, stop
}

// idle says that nothing is left in the spool that is due.
func (w *live) idle() bool {
	due, err := w.store.DueRelays(w.tb.Context(), time.Now().Add(time.Hour), 10)
	w.must(err)
	return len(due) == 0
}

// Messages of several tenants over several relays arrive, each once.
func TestLiveAllArrive(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newLive(t, open(), 3)
		srv := w.receiver(smtptest.Config{})
		shared := w.relay(-1, srv, nil)
		for i := range w.tenants {
			w.accept(i, shared, 100, nil)
			w.accept(i, w.relay(i, srv, nil), 50, func(m *store.NewMessage) { m.OnUnknown = store.OnUnknownHold })
		}
		_, stop := w.run(nil)
		for i := range w.tenants {
			w.accept(i, shared, 50, nil)
		}
		w.until("all have arrived", func() bool { return w.count(-1) >= 600 })
		w.until("the spool is empty", w.idle)
		stop()
		for i := range w.tenants {
			if n := w.count(i); n != 200 {
				t.Errorf("%d messages of tenant %d arrived, want 200", n, i)
			}
		}
		if foreign, err := w.store.ForeignClaims(t.Context(), store.NewID()); err != nil || len(foreign) > 0 {
			t.Errorf("claims left behind on %v, %v", foreign, err)
		}
	})
}

// Behind any backlog a message of another tenant leaves after a bounded number of the other's messages: over its own relay and over a shared one.
func TestLiveFairness(t *testing.T) {
	backlog := 20_000
	if testing.Short() {
		backlog = 2000
	}
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newLive(t, open(), 2)
		srv := w.receiver(smtptest.Config{Rules: []smtptest.Rule{{Command: smtptest.CommandContent, Action: smtptest.Delay(2*time.Millisecond, smtptest.Proceed())}}})
		shared, own := w.relay(-1, srv, nil), w.relay(1, srv, nil)
		w.accept(0, shared, backlog, nil)
		_, stop := w.run(nil)
		w.until("the backlog moves", func() bool { return w.count(-1) > 100 })
		for _, relay := range []uuid.UUID{shared, own, shared, own} {
			before, had := w.count(0), w.count(1)
			w.accept(1, relay, 1, nil)
			accepted := w.count(0) - before // these left while the message was being accepted
			w.until("the newcomer's message arrives", func() bool { return w.count(1) > had })
			after, seen := 0, 0
			for _, s := range w.senders() {
				if s == sender(1) {
					if seen++; seen > had {
						break
					}
					continue
				}
				after++
			}
			// A look every 10 ms, a look and a claim of some milliseconds each, and ten that are under way: at 5 000 a second.
			t.Logf("%d messages of the other left between, %d of them before the newcomer's was accepted", after-before, accepted)
			if n := after - before; n > accepted+500 {
				t.Errorf("%d messages of the other left between, %d of them before it was accepted", n, accepted)
			}
		}
		if n := w.count(0); n == backlog {
			t.Error("the backlog was gone before the newcomer's message: nothing is proven")
		}
		stop()
	})
}

// A message that is deferred arrives when its time has come; the relay's limits survive in its row.
func TestLiveDeferred(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newLive(t, open(), 1)
		srv := w.receiver(smtptest.Config{Rules: []smtptest.Rule{{Command: "RCPT", Times: 5, Action: smtptest.Reply("451 4.7.1 greylisted")}}})
		relay := w.relay(0, srv, func(r *store.NewRelay) {
			r.RetrySchedule = []time.Duration{50 * time.Millisecond}
			r.Limits = store.RelayLimits{MessagesPerMinute: 1000, RecipientsPerDay: 5000}
		})
		_, stop := w.run(nil)
		w.accept(0, relay, 20, nil)
		w.until("all have arrived", func() bool { return w.count(0) == 20 })
		w.until("the spool is empty", w.idle)
		stop()
		row, err := w.store.DeliveryRelay(t.Context(), relay)
		w.must(err)
		if len(row.State.Counters) == 0 {
			t.Errorf("what the relay was sent is not in its row: %+v", row.State)
		}
		_, stop = w.run(nil)
		w.accept(0, relay, 5, nil)
		w.until("all have arrived", func() bool { return w.count(0) == 25 })
		stop()
	})
}

// A wrong password pauses the relay in sight of its owner; the right one lets everything go.
func TestLiveWrongPassword(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newLive(t, open(), 1)
		srv := w.receiver(smtptest.Config{Users: map[string]string{"ann": "right"}, RequireAuth: true, Mechanisms: []string{"CRAM-MD5"}})
		relay := w.relay(0, srv, func(r *store.NewRelay) {
			r.TLS, r.CACert = "tls", string(srv.CAPEM())
			r.Username, r.SealedPassword = "ann", []byte("wrong")
		})
		_, stop := w.run(nil)
		w.accept(0, relay, 20, nil)
		w.until("the relay is paused", func() bool {
			r, err := w.tenants[0].Relay(t.Context(), relay)
			w.must(err)
			return r.Pause.Kind == store.PauseAuth && strings.Contains(r.Pause.Reason, "535")
		})
		right := []byte("right")
		_, err := w.tenants[0].UpdateRelay(t.Context(), relay, store.RelayPatch{SealedPassword: &right}, by())
		w.must(err)
		w.until("all have arrived", func() bool { return w.count(0) == 20 })
		stop()
	})
}

// A relay that is down is tried again by itself, and everything arrives when it is back.
func TestLiveRelayDown(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newLive(t, open(), 1)
		srv := w.receiver(smtptest.Config{})
		down := &outage{}
		relay := w.relay(0, srv, func(r *store.NewRelay) { r.RetrySchedule = []time.Duration{50 * time.Millisecond} })
		d, stop := w.run(func(_ *dispatch.Config, c *delivery.Config) { c.Dial = down.dial })
		down.set(true)
		w.accept(0, relay, 50, nil)
		w.until("the circuit opens", func() bool {
			relays := d.Stats().Relays
			return len(relays) == 1 && relays[0].CircuitOpen
		})
		w.until("the row says so", func() bool {
			row, err := w.store.DeliveryRelay(t.Context(), relay)
			w.must(err)
			return row.NotBefore.After(time.Now()) && strings.Contains(row.State.Reason, "cannot be reached")
		})
		down.set(false)
		w.until("all have arrived", func() bool { return w.count(0) == 50 })
		stop()
	})
}

// outage is a network that can fail.
type outage struct {
	mu   sync.Mutex
	down bool
}

func (o *outage) set(down bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down = down
}

func (o *outage) dial(ctx context.Context, network, address string) (net.Conn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down {
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}
