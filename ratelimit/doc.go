// Package ratelimit says how often somebody may ask: never more than N requests in any
// window of length W, for each key. The window moves: it is not a bucket that refills
// and not a calendar minute, both of which let nearly 2N requests through around the
// wrong moment. Each admitted request is remembered by its time until its window is
// over; a refused request is not remembered and costs its sender nothing.
//
// [Memory] counts in this process. Package redislimit counts in Redis, for several
// processes. Both are a [Limiter] and decide alike, to the microsecond. [Middleware]
// puts a Limiter in front of any net/http handler: it asks the program's functions
// whose request it is and which [Policy] applies, sets the header fields RateLimit,
// RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers, RFC 9651), RateLimit-Limit,
// RateLimit-Remaining, RateLimit-Reset (draft 06 of the same) and Retry-After (RFC 9110
// §10.2.3), and answers 429 or 503 with a problem document (RFC 9457) or whatever the
// program renders. [ClientAddr] finds a client's address behind known proxies.
//
// It does not queue, delay or shape requests, does not know users or routes, and starts
// no goroutine. It imports the standard library only.
package ratelimit
