package submission_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/seal"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
	"github.com/postrider/postrider/internal/submission"
	"github.com/postrider/postrider/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a Submission over a real database, with a tenant and its user.
type desk struct {
	*submission.Submission
	t      *testing.T
	store  *store.Store
	sealer *seal.Sealer
	user   auth.Principal
	clock  *clock
}

// clock is one that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now is the clock's time.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// add moves the clock.
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var command = store.Actor{Kind: store.ActorCommand}

// each runs fn on both databases.
func each(t *testing.T, fn func(t *testing.T, d *desk)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		fn(t, newDesk(t, func(c func(*store.Config)) *store.Store { return open(c) }))
	})
}

// newDesk makes a desk over an empty store.
func newDesk(t *testing.T, open func(func(*store.Config)) *store.Store) *desk {
	t.Helper()
	keyset, err := seal.Generate()
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, clock: &clock{now: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}}
	d.store = open(func(c *store.Config) { c.Now = d.clock.Now })
	if d.sealer, err = seal.Open(keyset); err != nil {
		t.Fatal(err)
	}
	d.Submission = d.another(func(*submission.Config) {})
	tenant, admin, err := d.store.Operator().CreateTenant(t.Context(), store.NewTenant{Name: "acme", Admin: store.NewUser{Email: "admin@acme.example"}}, command)
	if err != nil {
		t.Fatal(err)
	}
	d.user = auth.Principal{TenantID: tenant.ID, UserID: admin.ID, Role: auth.RoleAdmin, Kind: auth.KindToken, Scope: auth.ScopeFull}
	return d
}

// another makes a Submission over the same store.
func (d *desk) another(change func(*submission.Config)) *submission.Submission {
	d.t.Helper()
	cfg := submission.Config{Store: d.store, Sealer: d.sealer, RelayKey: []byte("a key that only tests know"), Now: d.clock.Now}
	change(&cfg)
	s, err := submission.New(cfg)
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// relay makes a relay of the tenant.
func (d *desk) relay(name string, change ...func(*store.NewRelay)) store.Relay {
	d.t.Helper()
	n := store.NewRelay{Name: name, Host: name + ".example.com", Port: 587, TLS: "tls"}
	for _, c := range change {
		c(&n)
	}
	r, err := d.store.Tenant(d.user.TenantID).CreateRelay(d.t.Context(), n, command)
	if err != nil {
		d.t.Fatal(err)
	}
	d.Forget()
	return r
}

// hello is a message with nothing wrong with it.
func hello(change ...func(*submission.Request)) *submission.Request {
	q := &submission.Request{Message: mail.Message{
		From: mail.Addr("Shop <shop@acme.example>"), To: mail.Addrs("zoe@example.net"), Subject: "Hello", Text: "Hello",
	}}
	for _, c := range change {
		c(q)
	}
	return q
}

// accept takes a message that must be taken.
func (d *desk) accept(q *submission.Request) submission.Receipt {
	d.t.Helper()
	r, replay, err := d.Accept(d.t.Context(), d.user, q, nil)
	if err != nil || replay != nil {
		d.t.Fatalf("error %v, replay %v", err, replay)
	}
	return r
}

// message reads back what was accepted.
func (d *desk) message(id uuid.UUID) store.MessageDetail {
	d.t.Helper()
	m, err := d.store.Tenant(d.user.TenantID).Message(d.t.Context(), id)
	if err != nil {
		d.t.Fatal(err)
	}
	return m
}

// content reads back the frozen octets.
func (d *desk) content(id uuid.UUID) string {
	d.t.Helper()
	r, size, err := d.store.Tenant(d.user.TenantID).Content(d.t.Context(), id)
	if err != nil {
		d.t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil || int64(len(b)) != size {
		d.t.Fatalf("%d octets of %d, error %v", len(b), size, err)
	}
	return string(b)
}

// count is how many messages the tenant has.
func (d *desk) count() int {
	d.t.Helper()
	list, _, err := d.store.Tenant(d.user.TenantID).Messages(d.t.Context(), store.MessageFilter{}, store.Page{Limit: 200})
	if err != nil {
		d.t.Fatal(err)
	}
	return len(list)
}

// refused takes a message that must not be taken, and gives its faults as "field code".
func (d *desk) refused(q *submission.Request) string {
	d.t.Helper()
	before := d.count()
	_, _, err := d.Accept(d.t.Context(), d.user, q, nil)
	faults, ok := errors.AsType[mail.Faults](err)
	if !ok {
		d.t.Fatalf("error is %v, want faults", err)
	}
	if d.count() != before {
		d.t.Error("it was accepted all the same")
	}
	var lines []string
	for _, f := range faults {
		lines = append(lines, f.Field+" "+string(f.Code))
	}
	return strings.Join(lines, "|")
}

// opener gives a text as often as it is opened.
func opener(text string) mail.Opener {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(text))), nil }
}

// sqliteDesk is a desk over SQLite, for what does not depend on the database.
func sqliteDesk(t *testing.T) *desk {
	t.Helper()
	return newDesk(t, func(c func(*store.Config)) *store.Store { return storetest.SQLite(t, c) })
}

// swept is how many rows are of no use to anybody after two days: contents without a message, above all.
func (d *desk) swept() int {
	d.t.Helper()
	d.clock.add(48 * time.Hour)
	n, err := d.store.Sweep(d.t.Context(), 1000)
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}
