package intake

import (
	"errors"
	"sync/atomic"
)

const (
	// DefaultSpoolMemory is what the contents of all requests at once may take up in memory.
	DefaultSpoolMemory = 256 << 20
	// DefaultSpoolDisk is what they may take up on the disk.
	DefaultSpoolDisk = 8 << 30
	// roomStep is in what portions a spool asks for room: most mail asks once.
	roomStep = 16 << 10
)

// errBusy is why a content finds no room although the disk has some.
var errBusy = errors.New("the uploads that are under way have taken up what all of them may together")

// room is what the spools of all requests share.
type room struct {
	memory, disk         atomic.Int64 // taken
	mostMemory, mostDisk int64
}

// lease is what one spool has taken of a kind of room.
type lease struct {
	of    *atomic.Int64 // nil: there is no bound
	most  int64
	taken int64
}

// reach makes sure that n octets are taken. It reports whether there is room for them.
func (l *lease) reach(n int64) bool {
	if l.of == nil || n <= l.taken {
		return true
	}
	more := (n - l.taken + roomStep - 1) / roomStep * roomStep
	if l.of.Add(more) > l.most {
		l.of.Add(-more)
		return false
	}
	l.taken += more
	return true
}

// free gives everything back.
func (l *lease) free() {
	if l.of != nil {
		l.of.Add(-l.taken)
	}
	l.taken = 0
}

// spool gives an empty spool in this room.
func (r *room) spool(dir string, memory int) *Spool {
	s := NewSpool(dir, memory)
	s.inMemory, s.onDisk = lease{of: &r.memory, most: r.mostMemory}, lease{of: &r.disk, most: r.mostDisk}
	return s
}
