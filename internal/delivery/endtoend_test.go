package delivery_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/egress"
	"github.com/postrider/postrider/internal/relaytest"
	"github.com/postrider/postrider/internal/seal"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
	"github.com/postrider/postrider/smtp"
)

// clock is moved by the test.
type clock struct {
	mu    sync.Mutex
	shift time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.shift)
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shift += d
}

// service is a real store with a tenant, and delivery over it.
type service struct {
	*store.Store
	clock  clock
	tenant store.Tenant
	user   uuid.UUID
	sealer *seal.Sealer
	node   uuid.UUID
	d      *delivery.Deliverer
	by     store.Actor
	onMark func()
}

// Mark is the store's, after the test's own.
func (s *service) Mark(ctx context.Context, node, tenant, message uuid.UUID) error {
	if s.onMark != nil {
		s.onMark()
	}
	return s.Store.Mark(ctx, node, tenant, message)
}

func newService(t *testing.T, open storetest.Open) *service {
	t.Helper()
	s := &service{node: store.NewID(), by: store.Actor{Kind: store.ActorCommand}}
	s.Store = open(func(c *store.Config) { c.Now = s.clock.now })
	record, admin, err := s.Operator().CreateTenant(t.Context(), store.NewTenant{Name: "acme", Admin: store.NewUser{Email: "ann@example.com"}}, s.by)
	if err != nil {
		t.Fatal(err)
	}
	s.tenant, s.user = s.Tenant(record.ID), admin.ID
	keyset, err := seal.Generate()
	if err != nil {
		t.Fatal(err)
	}
	if s.sealer, err = seal.Open(keyset); err != nil {
		t.Fatal(err)
	}
	networks, err := egress.ParseNetworks("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	guard, err := egress.New(egress.Config{Allow: networks})
	if err != nil {
		t.Fatal(err)
	}
	s.d, err = delivery.New(delivery.Config{
		Store: s, Dial: guard.DialContext, Node: s.node, LocalName: "node.example.com", Now: s.clock.now,
		Unseal: func(tenant uuid.UUID, sealed []byte) (string, error) {
			b, err := s.sealer.Unseal(tenant, "relay password", sealed)
			return string(b), err
		},
		// Real time: a reply that does not come must not take ten minutes.
		Timeouts: smtp.Timeouts{Mail: 2 * time.Second, Rcpt: 2 * time.Second, Final: 2 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// relay makes a relay at addr.
func (s *service) relay(t *testing.T, name, addr, tls, user, password, caFile string) store.Relay {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	n := store.NewRelay{Name: name, Host: host, TLS: tls, Username: user}
	n.Port, _ = strconv.Atoi(port)
	if password != "" {
		n.SealedPassword = s.seal(t, password)
	}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			t.Fatal(err)
		}
		n.CACert = string(pem)
	}
	r, err := s.tenant.CreateRelay(t.Context(), n, s.by)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (s *service) seal(t *testing.T, password string) []byte {
	t.Helper()
	sealed, err := s.sealer.Seal(s.tenant.ID(), "relay password", []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// accept takes a message in; change may be nil.
func (s *service) accept(t *testing.T, relay store.Relay, content []byte, change func(*store.NewMessage), to ...string) uuid.UUID {
	t.Helper()
	m := store.NewMessage{
		ID: store.NewID(), UserID: s.user, RelayID: relay.ID, MailFrom: "ann@example.com", HeaderFrom: "ann@example.com",
		GiveUpAt: s.clock.now().Add(72 * time.Hour),
	}
	for _, address := range to {
		m.Recipients = append(m.Recipients, store.NewRecipient{Address: address, Field: "to"})
	}
	if len(content) <= store.MaxSmallContent {
		m.Content = content
	} else {
		w := s.tenant.NewContent(t.Context())
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
		var err error
		if m.ContentID, m.Size, err = w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if change != nil {
		change(&m)
	}
	if _, err := s.tenant.Accept(t.Context(), []store.NewMessage{m}, nil); err != nil {
		t.Fatal(err)
	}
	return m.ID
}

// attempt claims what is due of a relay, which must be one message, and delivers it.
func (s *service) attempt(t *testing.T, relay store.Relay) (delivery.Verdict, *delivery.Lane) {
	t.Helper()
	row, err := s.DeliveryRelay(t.Context(), relay.ID)
	if err != nil {
		t.Fatal(err)
	}
	lane := s.d.Relay(t.Context(), row, nil)
	t.Cleanup(func() { _ = lane.Close(context.Background()) })
	claims, err := s.Claim(t.Context(), store.ClaimRequest{Relay: relay.ID, Tenant: s.tenant.ID(), Limit: 10, Node: s.node, Now: s.clock.now()})
	if err != nil || len(claims) != 1 {
		t.Fatalf("%d messages claimed, want 1: %v", len(claims), err)
	}
	v, err := lane.Deliver(t.Context(), claims[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	return v, lane
}

func (s *service) detail(t *testing.T, id uuid.UUID) store.MessageDetail {
	t.Helper()
	m, err := s.tenant.Message(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// told gives a message's recipients in one line.
func told(m store.MessageDetail) string {
	var list []string
	for _, r := range m.Recipients {
		list = append(list, fmt.Sprintf("%s %d", r.State, r.Code))
	}
	return fmt.Sprintf("%s: %s", m.State, strings.Join(list, ", "))
}

func letter(subject string, size int) []byte {
	b := []byte("From: ann@example.com\r\nSubject: " + subject + "\r\n\r\n")
	for len(b) < size {
		b = append(b, "A line of a letter that is long enough.\r\n"...)
	}
	return append(b, "The end.\r\n"...)
}

// TestPostfix delivers from real databases to a real Postfix.
func TestPostfix(t *testing.T) {
	server := relaytest.StartPostfix(t, relaytest.PostfixConfig{
		Users: map[string]string{"ann": "right horse"}, RejectRecipients: []string{"nobody@example.net"}, DeferRecipients: []string{"later@example.net"},
	})
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		s := newService(t, open)
		name := strings.ReplaceAll(strings.ToLower(t.Name()), "/", "-")
		box := func(kind string) string { return kind + "-" + name + "@example.net" }
		arrived := func(t *testing.T, mailbox string, n int) [][]byte {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			all, err := server.WaitMessages(ctx, mailbox, n)
			if err != nil || len(all) != n {
				t.Fatalf("%d messages for %s, want %d: %v", len(all), mailbox, n, err)
			}
			return all
		}

		t.Run("each recipient its own outcome", func(t *testing.T) {
			relay := s.relay(t, "auth", server.Addr, "tls", "ann", "right horse", server.CAFile)
			content := letter("large", 3<<20)
			id := s.accept(t, relay, content, nil, box("bob"), "nobody@example.net", "later@example.net")
			v, lane := s.attempt(t, relay)
			if v.Sent != 1 || v.Failed != 1 || v.Deferred != 1 || !v.SlowDown {
				t.Errorf("verdict %+v", v)
			}
			m := s.detail(t, id)
			if got := told(m); got != "deferred: sent 250, failed 550, deferred 451" {
				t.Error(got)
			}
			if all := arrived(t, box("bob"), 1); !bytes.Equal(relaytest.WithoutTrace(all[0]), content) {
				t.Error("the content came otherwise")
			}
			if a := m.Attempts[0]; a.Phase != "done" || a.Status != "partial" || !strings.Contains(a.Transcript, "C: AUTH SCRAM-SHA-256 ********") || strings.Contains(a.Transcript, "horse") {
				t.Errorf("%+v", a)
			}
			// Only the one that is open is tried again, until it is given up.
			s.clock.pass(2 * time.Second)
			if v, _ = s.attempt(t, relay); v.Deferred != 1 || v.Sent != 0 {
				t.Errorf("verdict %+v", v)
			}
			s.clock.pass(71 * time.Hour)
			s.attempt(t, relay)
			s.clock.pass(2 * time.Hour)
			if done, err := s.GiveUp(t.Context()); err != nil || done.Failed != 1 {
				t.Errorf("%+v, %v", done, err)
			}
			m = s.detail(t, id)
			if got := told(m); got != "partial: sent 250, failed 550, failed 451" || !strings.HasPrefix(m.Recipients[2].Text, "given up after 73h0m") {
				t.Errorf("%s, %q", got, m.Recipients[2].Text)
			}
			arrived(t, box("bob"), 1)
			if st := lane.Stats(); st.Dialled != 1 || len(m.Attempts) != 3 {
				t.Errorf("%+v, %+v", st, m.Attempts)
			}
		})

		t.Run("wrong password, then mended", func(t *testing.T) {
			relay := s.relay(t, "wrong", server.TLSAddr, "ssl", "ann", "wrong horse", server.CAFile)
			id := s.accept(t, relay, letter("password", 0), nil, box("eve"))
			if v, _ := s.attempt(t, relay); !v.AuthRefused || !v.Released {
				t.Errorf("verdict %+v", v)
			}
			if m := s.detail(t, id); m.Attempts != nil || m.State != "queued" {
				t.Errorf("%s, %d attempts", m.State, len(m.Attempts))
			}
			sealed := s.seal(t, "right horse")
			if _, err := s.tenant.UpdateRelay(t.Context(), relay.ID, store.RelayPatch{SealedPassword: &sealed}, s.by); err != nil {
				t.Fatal(err)
			}
			s.clock.pass(5 * time.Second)
			if v, _ := s.attempt(t, relay); v.Sent != 1 {
				t.Errorf("verdict %+v", v)
			}
			arrived(t, box("eve"), 1)
		})

		t.Run("a stopped relay that comes back", func(t *testing.T) {
			proxy := relaytest.StartProxy(t, server.PlainAddr, 0)
			relay := s.relay(t, "away", proxy.Addr, "none", "", "", "")
			proxy.Close()
			id := s.accept(t, relay, letter("away", 0), nil, box("dan"))
			if v, _ := s.attempt(t, relay); !v.RelayDown || v.Deferred != 1 {
				t.Errorf("verdict %+v", v)
			}
			if m := s.detail(t, id); m.Attempts[0].Phase != "dial" || m.Attempts[0].Status != "retry" {
				t.Errorf("%+v", m.Attempts[0])
			}
			back := relaytest.StartProxy(t, server.PlainAddr, 0)
			_, text, _ := net.SplitHostPort(back.Addr)
			port, _ := strconv.Atoi(text)
			if _, err := s.tenant.UpdateRelay(t.Context(), relay.ID, store.RelayPatch{Port: &port}, s.by); err != nil {
				t.Fatal(err)
			}
			s.clock.pass(5 * time.Second)
			if v, _ := s.attempt(t, relay); v.Sent != 1 {
				t.Errorf("verdict %+v", v)
			}
			if got := told(s.detail(t, id)); got != "sent: sent 250" {
				t.Error(got)
			}
			arrived(t, box("dan"), 1)
		})

		for _, onUnknown := range []string{store.OnUnknownHold, store.OnUnknownRetry} {
			t.Run("the final reply is lost, "+onUnknown, func(t *testing.T) {
				proxy := relaytest.StartProxy(t, server.PlainAddr, 0)
				relay := s.relay(t, "mute-"+onUnknown, proxy.Addr, "none", "", "", "")
				s.accept(t, relay, letter("first", 0), nil, box("first"+onUnknown)) // so that there is a connection
				if v, _ := s.attempt(t, relay); v.Sent != 1 {
					t.Fatalf("verdict %+v", v)
				}
				mailbox := box("copy" + onUnknown)
				id := s.accept(t, relay, letter("lost", 0), func(m *store.NewMessage) { m.OnUnknown = onUnknown }, mailbox)
				if onUnknown == store.OnUnknownHold {
					s.onMark = proxy.FreezeReplies
					defer func() { s.onMark = nil }()
				} else {
					proxy.FreezeReplies()
				}
				if v, _ := s.attempt(t, relay); v.Unknown != 1 {
					t.Errorf("verdict %+v", v)
				}
				proxy.Resume()
				arrived(t, mailbox, 1)
				s.clock.pass(9 * time.Minute)
				due, err := s.Claim(t.Context(), store.ClaimRequest{Relay: relay.ID, Tenant: s.tenant.ID(), Limit: 10, Node: s.node, Now: s.clock.now()})
				if err != nil || len(due) != 0 {
					t.Fatalf("%d due after 9 minutes, %v", len(due), err)
				}
				s.clock.pass(time.Minute + time.Second)
				if onUnknown == store.OnUnknownHold {
					due, err := s.Claim(t.Context(), store.ClaimRequest{Relay: relay.ID, Tenant: s.tenant.ID(), Limit: 10, Node: s.node, Now: s.clock.now()})
					if err != nil || len(due) != 0 {
						t.Fatalf("%d due after 10 minutes, %v", len(due), err)
					}
					if got := told(s.detail(t, id)); got != "unknown: unknown 0" {
						t.Error(got)
					}
					return
				}
				if v, _ := s.attempt(t, relay); v.Sent != 1 {
					t.Errorf("verdict %+v", v)
				}
				arrived(t, mailbox, 2)
				if got := told(s.detail(t, id)); got != "sent: sent 250" {
					t.Error(got)
				}
			})
		}
	})
}
