package ratelimit

import (
	"context"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultMaxBytes is MemoryConfig.MaxBytes if that is 0: some 90 000 keys at 50
	// requests.
	DefaultMaxBytes = 64 << 20
	// keyOverhead is what a key costs beside its name and its times: the bucket, its
	// places in the map and in the queue, with room for the map to grow.
	keyOverhead = 288
	// sweepEvery bounds, in microseconds, how long no room is looked for in all shards
	// although new keys came meanwhile.
	sweepEvery = 1_000_000
	// shards is how many locks there are: well above the number of processors.
	shards = 64
)

// MemoryConfig sets up a Memory. The zero value is ready to use.
type MemoryConfig struct {
	// MaxBytes bounds the memory of all keys together, in octets. A key reserves 8 for
	// each request that its policy allows in a window, and some 300 for itself. 0 means
	// DefaultMaxBytes.
	MaxBytes int64
	// Now is the clock. nil means time.Now. Steps back are taken as no time passed.
	Now func() time.Time
}

// Memory is a Limiter that counts in this process. It forgets a key as soon as its window
// is over. When MaxBytes is reached, new keys share one count for each policy until there
// is room again: they may be refused for each other's requests, and none gets more than
// its limit. It needs no goroutine and no Close.
type Memory struct {
	seed     maphash.Seed
	clock    func() time.Time
	start    time.Time
	maxBytes int64

	bytes     atomic.Int64 // reserved
	keys      atomic.Int64
	sharing   atomic.Int64  // policies with a shared log
	decisions atomic.Uint64 // by a shared log
	sweepAt   atomic.Int64  // before this no shard has a key to forget

	shards [shards]shard

	sharedMu sync.Mutex
	shared   map[string]*sharedLog // by policy name
}

// sharedLog is the log of all keys of a policy for which there was no room.
type sharedLog struct {
	log
	span int64
}

// MemoryStats is a look at a Memory.
type MemoryStats struct {
	// Keys is the number of keys with a count of their own, each policy's apart.
	Keys int64
	// Bytes is the memory reserved for them, at most MemoryConfig.MaxBytes.
	Bytes int64
	// Shared is how many decisions came from a count shared between keys, since the
	// start. It grows only while the memory is full.
	Shared uint64
}

var (
	_ Limiter  = (*Memory)(nil)
	_ Refunder = (*Memory)(nil)
)

// NewMemory returns an empty Memory. The error names what is wrong in cfg.
func NewMemory(cfg MemoryConfig) (*Memory, error) {
	if cfg.MaxBytes < 0 {
		return nil, fmt.Errorf("ratelimit: MaxBytes is %d; use a positive number of octets, or 0 for %d", cfg.MaxBytes, DefaultMaxBytes)
	}
	m := &Memory{
		seed:     maphash.MakeSeed(),
		clock:    cfg.Now,
		maxBytes: cfg.MaxBytes,
		shared:   make(map[string]*sharedLog),
	}
	if m.maxBytes == 0 {
		m.maxBytes = DefaultMaxBytes
	}
	if m.clock == nil {
		m.clock = time.Now
	}
	// Well back, so that no time is 0, also after a step back: a zero Receipt is none.
	m.start = m.clock().Add(-10 * MaxWindow)
	for i := range m.shards {
		m.shards[i].buckets = make(map[id]*bucket)
	}
	return m, nil
}

// Allow implements Limiter. It does not block and does not look at the context.
func (m *Memory) Allow(_ context.Context, key string, p Policy) (Decision, error) {
	if p.IsOff() {
		return Decision{Allowed: true}, nil
	}
	if err := p.usable(); err != nil {
		return Decision{}, err
	}
	name := id{p.Name, key}
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := m.now()
	m.forget(s, now)
	b := s.buckets[name]
	if b == nil {
		if b = m.newBucket(s, name, p, now); b == nil {
			return m.takeShared(p), nil
		}
		now = m.now() // the lock may have been let go
	}
	d := b.take(now, p, m.grow(b, p))
	s.queue.update(b, p)
	return d, nil
}

// Refund implements Refunder.
func (m *Memory) Refund(_ context.Context, key string, p Policy, d Decision) error {
	if !d.Allowed || d.Receipt[0] == 0 {
		return nil
	}
	if d.Shared {
		m.sharedMu.Lock()
		defer m.sharedMu.Unlock()
		if l := m.shared[p.Name]; l != nil {
			l.remove(d.Receipt[0])
		}
		return nil
	}
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.buckets[id{p.Name, key}]; b != nil {
		b.remove(d.Receipt[0])
	}
	return nil
}

// Stats returns numbers for a metric. They are each right, but not of one moment.
func (m *Memory) Stats() MemoryStats {
	return MemoryStats{Keys: m.keys.Load(), Bytes: m.bytes.Load(), Shared: m.decisions.Load()}
}

// now is in microseconds since m.start. It is read under the shard's lock, so that the
// times of a key do not go back.
func (m *Memory) now() int64 { return m.clock().Sub(m.start).Microseconds() }

func (m *Memory) shard(key string) *shard {
	return &m.shards[maphash.String(m.seed, key)%shards]
}

// reserve takes n octets, if they are left.
func (m *Memory) reserve(n int64) bool {
	for {
		used := m.bytes.Load()
		if n > m.maxBytes-used {
			return false
		}
		if m.bytes.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// newBucket returns a bucket for a new key, or nil if there is no room for it. s is locked;
// it is unlocked for a moment when the memory is full, to look for room in the others.
func (m *Memory) newBucket(s *shard, name id, p Policy, now int64) *bucket {
	cost := int64(keyOverhead + len(name.policy) + len(name.key) + 8*p.Limit)
	if !m.reserve(cost) {
		if now < m.sweepAt.Load() {
			return nil
		}
		s.mu.Unlock()
		m.sweep(now)
		s.mu.Lock()
		if b := s.buckets[name]; b != nil {
			return b // somebody else was quicker
		}
		if !m.reserve(cost) {
			return nil
		}
	}
	// The caller's string may be a part of a whole request.
	name = id{strings.Clone(name.policy), strings.Clone(name.key)}
	b := &bucket{id: name, reserved: cost, limit: p.Limit}
	m.inherit(b, p, now)
	s.buckets[name] = b
	m.keys.Add(1)
	s.queue.push(b, p)
	return b
}

// grow returns the limit that b can hold: p's, or what was reserved for b if p's grew and
// there is no room for more.
func (m *Memory) grow(b *bucket, p Policy) int {
	if more := int64(8 * (p.Limit - b.limit)); more > 0 && m.reserve(more) {
		b.reserved += more
		b.limit = p.Limit
	}
	return min(p.Limit, b.limit)
}

// forget drops the keys of a shard whose window is over. s is locked.
func (m *Memory) forget(s *shard, now int64) {
	for len(s.queue) > 0 && s.queue[0].due <= now {
		b := s.queue[0]
		if over := b.over(); over > now {
			b.due = over
			s.queue.fix()
			continue
		}
		s.queue.pop()
		delete(s.buckets, b.id)
		m.bytes.Add(-b.reserved)
		m.keys.Add(-1)
	}
}

// sweep drops the keys of all shards whose window is over, and notes when the next is. No
// lock is held by the caller.
func (m *Memory) sweep(now int64) {
	next := now + sweepEvery
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		m.forget(s, now)
		if len(s.queue) > 0 {
			next = min(next, s.queue[0].due)
		}
		s.mu.Unlock()
	}
	m.sweepAt.Store(next)
}

// takeShared decides by the log that all keys without a bucket share.
func (m *Memory) takeShared(p Policy) Decision {
	m.decisions.Add(1)
	m.sharedMu.Lock()
	defer m.sharedMu.Unlock()
	l := m.shared[p.Name]
	if l == nil {
		l = new(sharedLog)
		m.shared[strings.Clone(p.Name)] = l
		m.sharing.Add(1)
	}
	l.span = max(l.span, micros(p.Window))
	// The clock is read again under this log's own lock, for the order of its times.
	d := l.take(m.now(), p, p.Limit)
	d.Shared = true
	return d
}

// inherit gives a new bucket what its policy's shared log holds: any of these requests may
// have been this key's.
func (m *Memory) inherit(b *bucket, p Policy, now int64) {
	if m.sharing.Load() == 0 {
		return
	}
	m.sharedMu.Lock()
	defer m.sharedMu.Unlock()
	l := m.shared[p.Name]
	if l == nil {
		return
	}
	if l.n == 0 || now-l.newest() >= l.span {
		delete(m.shared, p.Name)
		m.sharing.Add(-1)
		return
	}
	for i := max(0, l.n-p.Limit); i < l.n; i++ {
		b.add(l.at(i), p.Limit)
	}
}
