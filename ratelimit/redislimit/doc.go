// Package redislimit is the limiter of package ratelimit with its counts in Redis, so that
// several processes share them. It decides as [ratelimit.Memory] does, to the microsecond,
// by the clock of the Redis server.
//
// A request costs one round trip: a script with one key reads and writes the list of times
// of the requests in the window, 10 octets each. So it works on a cluster too, and needs
// Redis 5 or Valkey. The count is exact as long as Redis keeps what was written: a restart
// without persistence, or a failover that loses writes, begins anew. A memory policy that
// evicts keys must not be set.
//
// Each [Limiter] also counts in memory what its own process lets through. Nobody gets more
// than the limit from one process, whatever happens to Redis; a flood beyond the limit is
// refused without asking Redis; and when Redis is away, the process goes on with its own
// count at once, says so in its log and through a hook, asks again from time to time and
// comes back by itself. With Config.Refuse it counts in Redis only and fails when Redis is
// away.
//
// It starts no goroutine and does not close the client. It imports the Redis client
// go-redis and package ratelimit.
package redislimit
