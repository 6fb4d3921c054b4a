package submission

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
)

const (
	// knownFor is how long a relay or a tenant's settings are believed without asking again: changes by this process
	// count at once (Forget), those of others after this time.
	knownFor = time.Second
	// maxKnown bounds the memory; beyond it everything is asked for again.
	maxKnown = 10_000
)

// cacheKey names what is cached: a relay of a tenant, or with uuid.Nil what the tenant has chosen.
type cacheKey struct{ tenant, relay uuid.UUID }

// choice is what a tenant has chosen for messages that do not say it themselves.
type choice struct {
	settings store.Settings
	relays   []store.Relay // the first two that it may use
}

// cached is one answer of the store, kept for a moment.
type cached struct {
	at     time.Time
	relay  store.Relay
	choice choice
}

// cache remembers answers of the store, so that accepting a message costs no read. Its zero value is ready.
type cache struct {
	mu      sync.Mutex
	entries map[cacheKey]cached
	// forgotten counts calls of forget: an answer asked for before one is not kept.
	forgotten int
}

// get gives the entry for key, asking ask for it if there is none fresh. Errors are not kept.
func (c *cache) get(ctx context.Context, key cacheKey, now time.Time, ask func(context.Context, *cached) error) (cached, error) {
	c.mu.Lock()
	e, ok := c.entries[key]
	forgotten := c.forgotten
	c.mu.Unlock()
	if age := now.Sub(e.at); ok && age >= 0 && age < knownFor {
		return e, nil
	}
	e = cached{at: now}
	if err := ask(ctx, &e); err != nil {
		return cached{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forgotten != forgotten {
		return e, nil
	}
	if c.entries == nil || len(c.entries) >= maxKnown {
		c.entries = make(map[cacheKey]cached)
	}
	c.entries[key] = e
	return e, nil
}

// forget drops everything.
func (c *cache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = nil
	c.forgotten++
}

// Forget is called after a change of relays or settings: the next message sees it.
func (s *Submission) Forget() { s.known.forget() }
