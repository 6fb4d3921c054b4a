package store

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
)

// DenialsConfig configures a Denials.
type DenialsConfig struct {
	// Write keeps entries for good: Store.AddAudit. It may be called again with the same entries.
	Write func(ctx context.Context, entries []AuditEntry) error
	// Most bounds the sums held at a time, and the entries that wait for a database that is away. One tenant, or those
	// who named none, may hold half of it. What is beyond is counted. 0: 10 000, some 5 MB.
	Most int
	// Every is how often they are written. 0: a minute.
	Every time.Duration
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger hears when entries cannot be written. Nil: nobody does.
	Logger *slog.Logger
}

const (
	mostDenials = 10_000
	// denialsPiece is how many entries one transaction writes.
	denialsPiece = 500
	// denialsWait bounds the last writing, when the service stops.
	denialsWait = 5 * time.Second
	// overflowAction is the entry that counts what there was no room for.
	overflowAction = "audit.overflow"
)

// Denials gathers refused attempts and writes equal ones of a minute as one audit entry with a count, so that the log
// shows who tries, and is not filled by who tries all day. It is safe for concurrent use. A process that dies takes
// along what it gathered since it last wrote: requests that changed nothing.
type Denials struct {
	cfg DenialsConfig

	mu    sync.Mutex // never held while writing
	sums  map[denialKey]*AuditEntry
	held  map[uuid.UUID]int // sums of each tenant
	over  map[uuid.UUID]int // attempts that found no room
	ready []AuditEntry      // to be written, with their ids: written twice they are there once

	flushing sync.Mutex
}

// denialKey is what makes attempts equal.
type denialKey struct {
	minute             int64
	tenant, user       uuid.UUID
	kind               ActorKind
	token, role        string
	addr               netip.Addr
	action, reason     string
	targetKind, target string
}

// NewDenials returns a Denials, of which Run must be called.
func NewDenials(cfg DenialsConfig) *Denials {
	cfg.Most = cmp.Or(max(cfg.Most, 0), mostDenials)
	cfg.Every = cmp.Or(max(cfg.Every, 0), time.Minute)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Denials{cfg: cfg}
	d.reset()
	return d
}

func (d *Denials) reset() {
	d.sums, d.held, d.over = map[denialKey]*AuditEntry{}, map[uuid.UUID]int{}, map[uuid.UUID]int{}
}

// Add takes an attempt and does not wait. Attempts are equal if minute, tenant, actor, address, action, target and
// Detail["reason"] are; of the first one the other fields are kept as well. Count 0 is one attempt; an empty Outcome is
// AuditDenied, a zero At now.
func (d *Denials) Add(e AuditEntry) {
	if e.At.IsZero() {
		e.At = d.cfg.Now()
	}
	e.Outcome = cmp.Or(e.Outcome, AuditDenied)
	e = e.keep(e.At).AuditEntry // cut: what is held is bounded in size too
	key := denialKey{
		minute: e.At.Unix() / 60, tenant: e.TenantID, user: e.Actor.UserID, kind: e.Actor.Kind, token: e.Actor.TokenID, role: e.Actor.Role,
		addr: e.Actor.Addr, action: e.Action, reason: e.Detail["reason"], targetKind: e.TargetKind, target: e.TargetID,
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if sum := d.sums[key]; sum != nil {
		sum.Count += e.Count
		return
	}
	if len(d.sums) >= d.cfg.Most || d.held[e.TenantID] >= max(d.cfg.Most/2, 1) {
		d.overflow(e.TenantID, e.Count)
		return
	}
	d.sums[key] = &e
	d.held[e.TenantID]++
}

// overflow counts attempts that are not told of one by one.
func (d *Denials) overflow(tenant uuid.UUID, n int) {
	if _, known := d.over[tenant]; !known && len(d.over) >= d.cfg.Most {
		tenant = uuid.Nil // the operator learns of them
	}
	d.over[tenant] += n
}

// Run writes what gathers, until ctx ends, and then what is left. It returns nil.
func (d *Denials) Run(ctx context.Context) error {
	tick := time.NewTicker(d.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := d.Flush(ctx); err != nil && ctx.Err() == nil {
				d.cfg.Logger.LogAttrs(ctx, slog.LevelError, "denied attempts cannot be written to the audit log; they are kept and tried again",
					slog.Int("entries", d.waiting()), slog.String("error", err.Error()))
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), denialsWait)
			defer cancel()
			if err := d.Flush(last); err != nil {
				d.cfg.Logger.LogAttrs(last, slog.LevelError, "denied attempts could not be written to the audit log before the end, and are lost",
					slog.Int("entries", d.waiting()), slog.String("error", err.Error()))
			}
			return nil
		}
	}
}

func (d *Denials) waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ready)
}

// Flush writes what was gathered. What it could not write is kept for the next call.
func (d *Denials) Flush(ctx context.Context) error {
	d.flushing.Lock()
	defer d.flushing.Unlock()
	d.mu.Lock()
	d.prepare()
	d.mu.Unlock()
	for {
		// ready is only added to at its end, and only by prepare.
		d.mu.Lock()
		piece := d.ready[:min(len(d.ready), denialsPiece)]
		d.mu.Unlock()
		if len(piece) == 0 {
			return nil
		}
		if err := d.cfg.Write(ctx, piece); err != nil {
			return err
		}
		d.mu.Lock()
		d.ready = slices.Clone(d.ready[len(piece):])
		d.mu.Unlock()
	}
}

// prepare makes entries of the sums. Where there is no room for them either, they become part of the overflow.
func (d *Denials) prepare() {
	sums, over := d.sums, d.over
	d.reset()
	list := make([]AuditEntry, 0, len(sums))
	for _, sum := range sums {
		list = append(list, *sum)
	}
	slices.SortFunc(list, func(a, b AuditEntry) int {
		return cmp.Or(a.At.Compare(b.At), slices.Compare(a.ID[:], b.ID[:]))
	})
	for tenant, n := range over {
		d.overflow(tenant, n)
	}
	for _, e := range list {
		if len(d.ready) >= d.cfg.Most {
			d.overflow(e.TenantID, e.Count)
			continue
		}
		d.ready = append(d.ready, e)
	}
	if len(d.ready) >= d.cfg.Most {
		return // the counts wait until some of the entries are written
	}
	for tenant, n := range d.over {
		d.ready = append(d.ready, AuditEntry{
			ID: NewID(), TenantID: tenant, At: d.cfg.Now(), Actor: Actor{Kind: ActorSystem}, Action: overflowAction, Outcome: AuditDenied, Count: n,
			Detail: map[string]string{"reason": "too many different attempts were denied at once to tell of each; more than " + strconv.Itoa(d.cfg.Most/2)},
		})
	}
	d.over = map[uuid.UUID]int{}
}
