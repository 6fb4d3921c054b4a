// Package delivery makes one attempt to hand a claimed message to its relay and records
// an outcome for each recipient.
//
// A [Lane] holds what one relay needs: a pool of connections, TLS settings, the retry
// schedule. [Lane.Deliver] sends over it and turns replies into outcomes: sent, deferred with
// the time of the next attempt, failed, unknown; or it gives the message back untried, because
// the relay's configuration was refused and messages wait for a person. What concerns
// the relay and not the message it tells package dispatch in a [Verdict].
//
// Under hold, and before the one further attempt after an unknown end, it has the mark "content may
// be accepted" committed before the write that can carry the last octet of the content. Where several nodes share the relays
// it asks before that write whether this node still has the right to the relay.
//
// It does not choose which message is sent or when, does not open or close a relay's
// circuit, pauses nothing, renders nothing and keeps nothing between attempts: dispatch
// calls it, package store remembers. The conversation itself, the classes of replies and the
// further transaction for recipients that were too many at once are those of packages smtp
// and smtppool (RFC 5321, RFC 1047); see there.
package delivery
