package main

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// heapRoom is how far the heap may grow between two collections without regard to how little of it is in use.
	heapRoom = 28 << 20
	// heapUsual is Go's own percentage, for a heap that is not small.
	heapUsual = 100
	// heapMost bounds the percentage, so that a heap that was nearly empty and fills at once is looked at in time.
	heapMost = 600
	// heapLimit bounds what a percentage chosen a moment ago can lead to.
	heapLimit = 96 << 20
	// heapLook is how often the percentage is chosen anew.
	heapLook = time.Second
)

// roomyHeap lets the collector run seldom while little memory is in use, until ctx ends. What the service keeps is some 6 MB,
// and Go collects whenever such a heap has doubled: 30 times a second under load, each time with all stacks and all of SQLite's
// tables. Whoever sets GOGC or GOMEMLIMIT has decided for themselves.
func roomyHeap(ctx context.Context) error {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	percent := heapPercent(0)
	before, limit := debug.SetGCPercent(percent), debug.SetMemoryLimit(heapLimit)
	defer func() {
		debug.SetGCPercent(before)
		debug.SetMemoryLimit(limit)
	}()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	look := time.NewTicker(heapLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
		metrics.Read(live)
		// Each change stops the world for a moment: small ones are not worth it.
		if next := heapPercent(live[0].Value.Uint64()); next != percent && (next == heapUsual || abs(next-percent) > percent/4) {
			percent = next
			debug.SetGCPercent(percent)
			debug.SetMemoryLimit(heapBound(percent))
		}
	}
}

// heapPercent is the percentage that lets a heap of which so many bytes are in use grow to heapRoom.
func heapPercent(live uint64) int {
	if live == 0 {
		return heapMost
	}
	if live >= heapRoom/2 {
		return heapUsual
	}
	return int(min((heapRoom-live)*100/live, heapMost))
}

// heapBound is the limit beside a percentage. A heap in real use is Go's to size.
func heapBound(percent int) int64 {
	if percent == heapUsual {
		return math.MaxInt64
	}
	return heapLimit
}

func abs(n int) int { return max(n, -n) }
