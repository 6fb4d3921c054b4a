package delivery

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtppool"
)

// Store is what delivery needs of package store; *store.Store has it.
type Store interface {
	// Mark commits that the content may be accepted from now on; store.ErrNotMine if
	// the claim is another node's.
	Mark(ctx context.Context, node, tenant, message uuid.UUID) error
	// Record commits the outcome of an attempt.
	Record(ctx context.Context, o store.Outcome) error
	// OpenContent opens the frozen bytes of a message that did not come with its claim.
	OpenContent(ctx context.Context, tenant, content uuid.UUID) (io.ReadCloser, error)
}

// Config says what a Deliverer works with. Store, Dial, Unseal and Node are required.
type Config struct {
	Store Store
	// Dial opens connections to relays, whose hosts tenants name: the DialContext of
	// an egress.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Unseal opens a relay's password, sealed for tenant (uuid.Nil: the operator). It is
	// called when a connection logs in; the password is not kept.
	Unseal func(tenant uuid.UUID, sealed []byte) (string, error)
	// Node is the incarnation that claimed the messages.
	Node uuid.UUID
	// LocalName is what EHLO says to relays that have no name of their own for it;
	// empty: see smtp.Config.LocalName.
	LocalName string
	// Timeouts bound the steps of a conversation; zero fields: as RFC 5321 says.
	Timeouts smtp.Timeouts
	// Observe is called after each Deliver, for metrics; nil: not. It must be quick.
	Observe func(Observation)
	// Now is the clock that due times are computed from; nil: time.Now.
	Now func() time.Time
	// Random gives numbers in [0,1) for jitter; nil: rand.Float64.
	Random func() float64
	// Logger gets outcomes that cannot be recorded, failed dials, and the rest at Debug; never
	// a secret. nil: no log.
	Logger *slog.Logger
}

// Deliverer makes attempts for one node. Safe for concurrent use.
type Deliverer struct {
	cfg        Config
	unrecorded atomic.Int64

	mu    sync.Mutex
	lanes map[uuid.UUID]*Lane
}

// New checks the configuration; the error joins every fault.
func New(cfg Config) (*Deliverer, error) {
	var faults []error
	require := func(missing bool, what string) {
		if missing {
			faults = append(faults, errors.New("delivery: "+what))
		}
	}
	require(cfg.Store == nil, "Store is nil: outcomes have to be recorded")
	require(cfg.Dial == nil, "Dial is nil: give it an egress.Dialer's DialContext")
	require(cfg.Unseal == nil, "Unseal is nil: relays have passwords")
	require(cfg.Node == uuid.Nil, "Node is not set: claims belong to an incarnation")
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Float64
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Deliverer{cfg: cfg, lanes: map[uuid.UUID]*Lane{}}, nil
}

// Relay returns the lane of a relay, made if there is none, and brings it up to date with
// the row: if that changed in something that connections depend on, further messages take
// new connections, and those in use finish what they do. It never fails: a row that
// cannot work makes every Deliver return a Verdict with ConfigRefused.
//
// held says without waiting whether this node may still drain the relay; nil: it always may. Where it says no, a message whose
// content cannot have been accepted yet is given back instead of being sent.
func (d *Deliverer) Relay(ctx context.Context, row store.DeliveryRelay, held func() bool) *Lane {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lanes[row.ID]
	if l == nil {
		l = newLane(d, row.ID)
		d.lanes[row.ID] = l
	}
	l.update(ctx, row, held)
	return l
}

// forget drops a lane that is closing.
func (d *Deliverer) forget(l *Lane) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lanes[l.id] == l {
		delete(d.lanes, l.id)
	}
}

// Stats are the numbers of the connections to each relay that has a lane.
func (d *Deliverer) Stats() map[uuid.UUID]smtppool.Stats {
	d.mu.Lock()
	lanes := slices.Collect(maps.Values(d.lanes))
	d.mu.Unlock()
	stats := make(map[uuid.UUID]smtppool.Stats, len(lanes))
	for _, l := range lanes {
		stats[l.id] = l.Stats()
	}
	return stats
}

// Unrecorded is the number of outcomes that are kept in memory because the store did not take
// them when it was last asked. While there are any, nothing more should be claimed.
func (d *Deliverer) Unrecorded() int { return int(d.unrecorded.Load()) }
