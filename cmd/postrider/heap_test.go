package main

import (
	"context"
	"runtime/debug"
	"testing"
	"testing/synctest"
)

func TestHeapPercent(t *testing.T) {
	for _, c := range []struct {
		live    uint64
		percent int
	}{
		{0, heapMost},
		{1 << 20, heapMost},
		{7 << 20, 300},
		{heapRoom / 2, heapUsual},
		{heapRoom, heapUsual},
		{1 << 40, heapUsual},
	} {
		if got := heapPercent(c.live); got != c.percent {
			t.Errorf("%d bytes in use: %d %%, want %d", c.live, got, c.percent)
		}
	}
}

func TestRoomyHeapGivesBack(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- roomyHeap(ctx) }()
		synctest.Wait()
		within := debug.SetGCPercent(heapMost)
		cancel()
		if err := <-done; err != nil || within != heapMost {
			t.Errorf("while it runs %d %%, want %d: %v", within, heapMost, err)
		}
	})
	if after := debug.SetGCPercent(100); after != 100 {
		t.Errorf("afterwards %d %%, want what was before", after)
	}
}
