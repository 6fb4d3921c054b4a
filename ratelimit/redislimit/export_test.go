package redislimit

// SetClock makes the script use a time in microseconds instead of the server's, so that a
// test can compare decisions with a model.
func SetClock(l *Limiter, now func() int64) { l.clock = now }

// Key is the key in Redis.
func Key(prefix, key, policy string) string { return redisKey(prefix, key, policy) }
