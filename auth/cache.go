package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

// tokenHash stands for a token in the cache, so that the cache holds no token that a memory dump would give away.
type tokenHash [sha256.Size]byte

// cached is a token found good: by which state of the key sets, and until when.
type cached struct {
	principal  Principal
	generation uint64
	notBefore  time.Time
	expires    time.Time // exp with leeway
}

// tokenCache remembers tokens found good. It holds at most twice half its size: entries go into the young half;
// when that is full it becomes the old half and what was there is forgotten, so each operation is a map access and
// a flood of good tokens cannot grow it. An entry that is used again moves to the young half.
type tokenCache struct {
	mu         sync.Mutex
	half       int
	young, old map[tokenHash]cached
}

// newTokenCache makes a cache of at most size entries, at least 2.
func newTokenCache(size int) *tokenCache {
	half := max(size/2, 1)
	return &tokenCache{half: half, young: map[tokenHash]cached{}}
}

// get returns an entry that holds at now under the given generation of keys.
func (c *tokenCache) get(h tokenHash, now time.Time, generation uint64) (Principal, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.young[h]
	if !ok {
		if e, ok = c.old[h]; !ok {
			return Principal{}, false
		}
	}
	if e.generation != generation || !now.Before(e.expires) {
		delete(c.young, h)
		delete(c.old, h)
		return Principal{}, false
	}
	if now.Before(e.notBefore) { // the clock went back
		return Principal{}, false
	}
	c.putLocked(h, e)
	return e.principal, true
}

func (c *tokenCache) put(h tokenHash, e cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.putLocked(h, e)
}

func (c *tokenCache) putLocked(h tokenHash, e cached) {
	if _, ok := c.young[h]; !ok && len(c.young) >= c.half {
		c.old, c.young = c.young, make(map[tokenHash]cached, c.half)
	}
	c.young[h] = e
}

// len counts entries, one that stands in both halves twice.
func (c *tokenCache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.young) + len(c.old)
}
