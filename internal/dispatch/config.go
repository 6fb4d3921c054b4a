package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/store"
)

// Spool is what a Dispatcher asks of the store as a whole; *store.Store is one.
type Spool interface {
	// DueRelays lists relays that have messages which may be sent now, and those that are due for a probe.
	DueRelays(ctx context.Context, now time.Time, limit int) ([]store.DueRelay, error)
	// NextDue is when the next message that is not due yet will be; zero: there is none.
	NextDue(ctx context.Context) (time.Time, error)
	// OnAccepted has a function called after each commit that put messages into the spool.
	OnAccepted(announce func(relays []uuid.UUID))
	// ReleaseClaims makes all messages that an incarnation holds due again.
	ReleaseClaims(ctx context.Context, node uuid.UUID) (int, error)
	// Ping says whether the store can be used.
	Ping(ctx context.Context) error
	// ForeignClaims lists relays on which other incarnations than node hold claims: one that has died, if nobody else drains them.
	ForeignClaims(ctx context.Context, node uuid.UUID) ([]uuid.UUID, error)
}

// RelayRows is what a drain asks of the store about its relay.
type RelayRows interface {
	DeliveryRelay(ctx context.Context, relay uuid.UUID) (store.DeliveryRelay, error)
	SaveRelayState(ctx context.Context, relay uuid.UUID, state store.RelayState, node uuid.UUID) error
	// PauseAuth pauses a relay that refused the password, until a probe at a time; ResumeAuth ends that pause.
	PauseAuth(ctx context.Context, relay uuid.UUID, reason string, probeAt time.Time) error
	ResumeAuth(ctx context.Context, relay uuid.UUID) error
}

// Claims is what a drain asks of the store about messages.
type Claims interface {
	DueTenants(ctx context.Context, relay uuid.UUID, now time.Time) ([]store.DueTenant, error)
	Claim(ctx context.Context, r store.ClaimRequest) ([]store.Claimed, error)
	// Unclaim gives back what a Claim that failed may have taken all the same.
	Unclaim(ctx context.Context, r store.ClaimRequest) (int, error)
	Record(ctx context.Context, o store.Outcome) error
	// ResolveClaims settles what other incarnations held of a relay that is now ours.
	ResolveClaims(ctx context.Context, relay, node uuid.UUID) (due, unknown int, err error)
}

// Store is all that dispatch asks of the store.
type Store interface {
	Spool
	RelayRows
	Claims
}

// Lane sends through one relay; *delivery.Lane is one. Deliver makes one attempt, calls over when that has ended, and returns when its outcome is recorded, or
// with an error when it never will be. It keeps trying to record until ctx ends. It is called concurrently.
type Lane interface {
	Deliver(ctx context.Context, m store.Claimed, over func(delivery.Verdict)) (delivery.Verdict, error)
	Close(ctx context.Context) error
}

// Config says how a Dispatcher works.
type Config struct {
	// Store is the spool. Required.
	Store Store
	// Lane returns the lane of a relay; called again with other settings it makes the same lane use those. held says without waiting whether
	// the relay is still this node's. Required.
	Lane func(ctx context.Context, relay store.DeliveryRelay, held func() bool) Lane
	// Unrecorded is how many outcomes cannot be recorded at the moment: while there are any, nothing is claimed. nil: never any.
	Unrecorded func() int
	// Node is this process's incarnation: a UUID made at its start, never used before. Required.
	Node uuid.UUID
	// MaxConcurrent is how many messages are sent at the same time, over all relays. 0: 256.
	MaxConcurrent int
	// MaxRelays is how many relays are drained at the same time. 0: 1000.
	MaxRelays int
	// DefaultConns is how many messages are sent at the same time over a relay whose settings do not say. 0: 10.
	DefaultConns int
	// Linger is how long an idle relay's connections are kept before it is let go of. 0: 5 s. Negative: not at all.
	Linger time.Duration
	// StopWithin is how long messages that are being sent may take to end when Run is stopped. 0: 30 s. Negative: they are
	// cut off at once, which may leave outcomes unknown.
	StopWithin time.Duration
	// Locks gives the right to drain relays; nil: there is one node, and all rights are its.
	Locks Locker
	// Peers tells of the other nodes that drain relays; nil: there are none.
	Peers Peers
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Logger gets what operators should know; nil: nothing is logged.
	Logger *slog.Logger
}

// withDefaults reports every fault of the configuration, joined, and fills in what zero means.
func (c Config) withDefaults() (Config, error) {
	var faults []error
	if c.Store == nil {
		faults = append(faults, errors.New("dispatch: Config.Store is missing"))
	}
	if c.Lane == nil {
		faults = append(faults, errors.New("dispatch: Config.Lane is missing"))
	}
	if c.Node == uuid.Nil {
		faults = append(faults, errors.New("dispatch: Config.Node is missing: a UUID made when the process starts"))
	}
	for name, n := range map[string]int{"MaxConcurrent": c.MaxConcurrent, "MaxRelays": c.MaxRelays, "DefaultConns": c.DefaultConns} {
		if n < 0 {
			faults = append(faults, errors.New("dispatch: Config."+name+" is negative"))
		}
	}
	if len(faults) > 0 {
		return c, errors.Join(faults...)
	}
	orInt := func(p *int, n int) {
		if *p == 0 {
			*p = n
		}
	}
	orInt(&c.MaxConcurrent, 256)
	orInt(&c.MaxRelays, 1000)
	orInt(&c.DefaultConns, 10)
	if c.Linger == 0 {
		c.Linger = 5 * time.Second
	}
	if c.StopWithin == 0 {
		c.StopWithin = 30 * time.Second
	}
	c.Linger, c.StopWithin = max(0, c.Linger), max(0, c.StopWithin)
	if c.Locks == nil {
		c.Locks = oneNode{}
	}
	if c.Peers == nil {
		c.Peers = oneNode{}
	}
	if c.Unrecorded == nil {
		c.Unrecorded = func() int { return 0 }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
