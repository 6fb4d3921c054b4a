package dispatch

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// gate is shut while outcomes cannot be recorded: nothing is claimed and nothing is started until the store answers again.
type gate struct {
	down   atomic.Bool
	mu     sync.Mutex
	reason string
	kick   chan struct{} // capacity 1: the gate was shut
}

func newGate() *gate { return &gate{kick: make(chan struct{}, 1)} }

// shut shuts the gate. It says whether it was open.
func (g *gate) shut(err error) bool {
	g.mu.Lock()
	g.reason = err.Error()
	g.mu.Unlock()
	if !g.down.CompareAndSwap(false, true) {
		return false
	}
	select {
	case g.kick <- struct{}{}:
	default:
	}
	return true
}

// why is the error that shut the gate; empty while it is open.
func (g *gate) why() string {
	if !g.down.Load() {
		return ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reason
}

// pingEvery is how often a store that is down is asked whether it is back.
const pingEvery = time.Second

// run opens the gate again when ping succeeds, and calls opened, until ctx ends.
func (g *gate) run(ctx context.Context, ping func(context.Context) error, opened func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.kick:
		}
		for g.down.Load() {
			timer := time.NewTimer(pingEvery)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
			if ping(ctx) == nil {
				g.down.Store(false)
				opened()
			}
		}
	}
}
