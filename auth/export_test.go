package auth

// CacheLen counts what a verifier remembers; an entry in both halves counts twice.
func CacheLen(v *Verifier) int { return v.cache.len() }
