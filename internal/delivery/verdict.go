package delivery

import (
	"time"

	"github.com/google/uuid"
)

// Verdict tells dispatch what an attempt showed, for the message in numbers and for the relay.
type Verdict struct {
	// Sent, Deferred, Failed and Unknown count recipients. All are 0 if Released.
	Sent, Deferred, Failed, Unknown int
	// Released says that the message was given back untried: no attempt was counted.
	Released bool
	// Kept says that the message is a test key's and went to the inbox: it says nothing of the relay, which was not asked.
	Kept bool
	// SlowDown says that the relay asked for less: reply 421, 432, 450, 451, 452 or 454.
	SlowDown bool
	// RelayDown says that this attempt found no session to be had: the dial, TLS, the greeting,
	// EHLO, or AUTH for now, failed. One failed dial is told by one Verdict only; other messages that
	// waited for it come back Released, with RetryAfter.
	RelayDown bool
	// AuthRefused says that the relay refused the credentials or demands some (530, 534, 535, 538), so
	// that it would refuse every message. They wait: pause the relay.
	AuthRefused bool
	// ConfigRefused says that the relay's settings cannot work as they stand: its network is not
	// allowed, its certificate is not valid, it has no STARTTLS, the password cannot be unsealed. Messages
	// wait: pause the relay.
	ConfigRefused bool
	// Reason says in one line what stands behind RelayDown, AuthRefused, ConfigRefused and
	// SlowDown; never a secret.
	Reason string
	// RetryAfter is how long the relay's connections will refuse to dial again; 0: they do not.
	RetryAfter time.Duration
}

// Observation is what one Deliver came to, for metrics.
type Observation struct {
	Relay, Tenant uuid.UUID
	Verdict       Verdict
	// Phase is the farthest that was reached; empty if Verdict.Released.
	Phase string
	// Duration is that of the attempt, without the time for recording it.
	Duration time.Duration
	// Recorded says whether the outcome was recorded.
	Recorded bool
}
